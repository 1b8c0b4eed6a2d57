"""google.pubsub.v1.SchemaService: Protobuf schemas. Only the newest revision of a schema is kept."""

from __future__ import annotations

import secrets
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from infra.local.pubsub import definitions
from infra.local.pubsub.broker import Broker
from infra.local.pubsub.catalog import SCHEMAS, Catalog
from infra.local.pubsub.wire import Pb, bad, not_here, service, unary

_Schema, _List = types.Schema.pb(), types.ListSchemasResponse.pb()
_BASIC = int(types.SchemaView.BASIC)


class SchemaService:
    """One method for each call of the service."""

    def __init__(self, broker: Broker, catalog: Catalog) -> None:
        self._lock = broker.changed
        self._catalog = catalog

    def create(self, request: Pb) -> Pb:
        schema = _Schema()
        schema.CopyFrom(request.schema)
        schema.name = f"{request.parent}/schemas/{request.schema_id}"
        if self._catalog.find(SCHEMAS, schema.name) is None:  # an existing one need not be compiled to be refused
            _compile(schema)
        with self._lock:
            return self._catalog.add(SCHEMAS, _revised(schema))

    def commit(self, request: Pb) -> Pb:
        """A new revision takes the place of the one before. Unlike Google's, the old one is gone."""
        with self._lock:
            self._catalog.get(SCHEMAS, request.name)
        schema = _Schema()
        schema.CopyFrom(request.schema)
        schema.name = request.name
        _compile(schema)
        with self._lock:
            return self._catalog.put(SCHEMAS, _revised(schema))

    def get(self, request: Pb) -> Pb:
        schema = self._catalog.get(SCHEMAS, request.name)
        return _without_definition(schema) if request.view == _BASIC else schema

    def list(self, request: Pb) -> Pb:
        found, token = self._catalog.page(SCHEMAS, request.parent, request.page_size, request.page_token)
        full = request.view == int(types.SchemaView.FULL)
        return _List(schemas=found if full else [_without_definition(one) for one in found], next_page_token=token)

    def delete(self, request: Pb) -> Pb:
        with self._lock:
            self._catalog.remove(SCHEMAS, request.name)
        return Empty()

    def validate_schema(self, request: Pb) -> Pb:
        _compile(request.schema)
        return types.ValidateSchemaResponse.pb()()

    def validate_message(self, request: Pb) -> Pb:
        schema = self._catalog.get(SCHEMAS, request.name) if request.name else request.schema
        _compile(schema)
        check(schema, request.message, request.encoding)
        return types.ValidateMessageResponse.pb()()

    def handler(self) -> Any:
        return service(
            "SchemaService",
            {
                "CreateSchema": unary(self.create, types.CreateSchemaRequest, types.Schema),
                "CommitSchema": unary(self.commit, types.CommitSchemaRequest, types.Schema),
                "GetSchema": unary(self.get, types.GetSchemaRequest, types.Schema),
                "ListSchemas": unary(self.list, types.ListSchemasRequest, types.ListSchemasResponse),
                "DeleteSchema": unary(self.delete, types.DeleteSchemaRequest, Empty),
                "ValidateSchema": unary(
                    self.validate_schema, types.ValidateSchemaRequest, types.ValidateSchemaResponse
                ),
                "ValidateMessage": unary(
                    self.validate_message, types.ValidateMessageRequest, types.ValidateMessageResponse
                ),
            },
        )


def check(schema: Pb, data: bytes, encoding: int) -> None:
    """Refuse data that does not obey the schema."""
    if encoding not in (int(types.Encoding.BINARY), int(types.Encoding.JSON)):
        raise bad("The encoding must be BINARY or JSON.")
    try:
        definitions.check(schema.definition, data, binary=encoding == int(types.Encoding.BINARY))
    except definitions.BadMessage as error:
        raise bad(f"{error} (schema={schema.name})") from error


def _compile(schema: Pb) -> None:
    if schema.type_ != int(types.Schema.Type.PROTOCOL_BUFFER):
        raise not_here("Schemas other than PROTOCOL_BUFFER are")
    try:
        definitions.message_class(schema.definition)
    except definitions.BadDefinition as error:
        raise bad(str(error)) from error


def _revised(schema: Pb) -> Pb:
    schema.revision_id = secrets.token_hex(4)
    schema.revision_create_time.GetCurrentTime()
    return schema


def _without_definition(schema: Pb) -> Pb:
    basic = _Schema()
    basic.CopyFrom(schema)
    basic.definition = ""
    return basic
