"""The methods of `google.firestore.v1.Firestore`, one by one. `Listen`, `Write` and pipelines are not served."""

from __future__ import annotations

import base64
import binascii
import secrets
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.protobuf import empty_pb2
from google.rpc import status_pb2

from infra.local.firestore import aggregations, indexes, queries
from infra.local.firestore.database import Database, Reader
from infra.local.firestore.indexes import Index
from infra.local.firestore.messages import Document, StructuredQuery, Write, WriteResult, to_micros, to_timestamp, wire
from infra.local.firestore.paths import check_document, check_id, check_parent, name_key
from infra.local.firestore.queries import Query, masked
from infra.local.firestore.refusals import Refused, invalid, not_found
from infra.local.firestore.transactions import check_read_time
from infra.local.firestore.writes import name_of

MAX_REQUEST_BYTES = 10 * 1024 * 1024
DEFAULT_PAGE = 300
AUTO_ID = string.ascii_letters + string.digits

BeginTransactionResponse = wire("BeginTransactionResponse")
BatchGetDocumentsResponse = wire("BatchGetDocumentsResponse")
BatchWriteResponse = wire("BatchWriteResponse")
CommitResponse = wire("CommitResponse")
ListCollectionIdsResponse = wire("ListCollectionIdsResponse")
ListDocumentsResponse = wire("ListDocumentsResponse")
RunAggregationQueryResponse = wire("RunAggregationQueryResponse")
RunQueryResponse = wire("RunQueryResponse")


class Service:
    """Answers requests (plain protobuf messages) from the database; raises `Refused`."""

    def __init__(self, database: Database, declared: Sequence[Index]) -> None:
        self._database = database
        self._store = database.store
        self._transactions = database.transactions
        self._indexes = declared

    # Writing

    def commit(self, request: Any) -> Any:
        """All writes or none, under a transaction if the request names one."""
        _check_size(request)
        transaction = self._transactions.find(request.transaction) if request.transaction else None
        try:
            done = self._database.commit(request.writes, transaction)
        finally:
            if transaction is not None:
                self._transactions.close(transaction.id)
        return CommitResponse(write_results=done.results, commit_time=to_timestamp(done.at))

    def batch_write(self, request: Any) -> Any:
        """Each write for itself; none stands in another's way."""
        _check_size(request)
        names = [name_of(write) for write in request.writes]
        if len(set(names)) < len(names):
            raise invalid("A document can be written once only in a BatchWrite.")
        response = BatchWriteResponse()
        for write in request.writes:
            result, status = self._write_alone(write)
            response.write_results.append(result)
            response.status.append(status)
        return response

    def _write_alone(self, write: Write) -> tuple[WriteResult, status_pb2.Status]:
        try:
            return self._database.commit([write]).results[0], status_pb2.Status()
        except Refused as refused:
            code: int = refused.status.value[0]
            return WriteResult(), status_pb2.Status(code=code, message=refused.message)

    def create_document(self, request: Any) -> Any:
        """A new document, under the given id or a random one."""
        check_parent(request.parent)
        check_id(request.collection_id)
        own = request.document_id or "".join(secrets.choice(AUTO_ID) for _ in range(20))
        write = Write(update=request.document)
        write.update.name = f"{request.parent}/{request.collection_id}/{own}"
        write.current_document.exists = False
        return self._write_one(write, request)

    def update_document(self, request: Any) -> Any:
        """The document as given, or only the fields of the mask."""
        write = Write(update=request.document)
        if request.HasField("update_mask"):
            write.update_mask.CopyFrom(request.update_mask)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        return self._write_one(write, request)

    def _write_one(self, write: Write, request: Any) -> Document:
        _check_size(request)
        with self._store.lock:
            done = self._database.commit([write])
            document = self._store.get(write.update.name, done.at)
        if document is None:
            raise not_found(f"Document not found: {write.update.name}")
        return masked(document, request.mask if request.HasField("mask") else None)

    def delete_document(self, request: Any) -> Any:
        """No document of that name, whether there was one or not."""
        write = Write(delete=request.name)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        self._database.commit([write])
        return empty_pb2.Empty()

    # Transactions

    def begin_transaction(self, request: Any) -> Any:
        """A transaction for reads of one moment."""
        return BeginTransactionResponse(transaction=self._transactions.begin(request.options).id)

    def rollback(self, request: Any) -> Any:
        """Forget the transaction."""
        self._transactions.close(request.transaction)
        return empty_pb2.Empty()

    def _reader(self, request: Any) -> Reader:
        match request.WhichOneof("consistency_selector"):
            case "transaction":
                return Reader(self._transactions.find(request.transaction))
            case "new_transaction":
                return Reader(self._transactions.begin(request.new_transaction))
            case "read_time":
                return Reader(read_time=check_read_time(self._store, to_micros(request.read_time)))
        return Reader(read_time=self._store.now())

    # Reading by name

    def get_document(self, request: Any) -> Any:
        """One document, or NOT_FOUND."""
        check_document(request.name)
        document = self._database.get(request.name, self._reader(request)).document
        if document is None:
            raise not_found(f"Document not found: {request.name}")
        return masked(document, request.mask if request.HasField("mask") else None)

    def batch_get_documents(self, request: Any) -> Iterator[Any]:
        """Each named document, found or missing, all of one moment."""
        for name in request.documents:
            check_document(name)
        reader = self._reader(request)
        if reader.transaction is not None and request.HasField("new_transaction"):
            yield BatchGetDocumentsResponse(transaction=reader.transaction.id)
        mask = request.mask if request.HasField("mask") else None
        # In order of names, so that two transactions never wait for each other in a circle within one call.
        for name in sorted(set(request.documents)):
            read = self._database.get(name, reader)
            answer = {"missing": name} if read.document is None else {"found": masked(read.document, mask)}
            yield BatchGetDocumentsResponse(**answer, read_time=to_timestamp(read.at))

    def list_collection_ids(self, request: Any) -> Any:
        """The ids of the collections directly below a document or the root."""
        check_parent(request.parent)
        depth = request.parent.count("/") + 1
        at = self._plain_moment(request)
        found = {name.split("/")[depth] for name in self._store.names_below(request.parent, at)}
        ids, token = _page(found, request)
        return ListCollectionIdsResponse(collection_ids=ids, next_page_token=token)

    def _plain_moment(self, request: Any) -> int:
        if request.HasField("read_time"):
            return check_read_time(self._store, to_micros(request.read_time))
        return self._store.now()

    def list_documents(self, request: Any) -> Any:
        """One page of a collection, with the missing parents of other documents if asked for."""
        check_parent(request.parent)
        if request.order_by not in {"", "__name__"}:
            raise invalid("The local Firestore lists documents by their name only.")
        answer = self._database.query(queries.parse(request.parent, _listing(request)), self._reader(request))
        by_name = {document.name: document for document in answer.documents}
        if request.show_missing:
            by_name = self._missing(request, answer.at) | by_name
        page, token = _page(by_name, request)
        mask = request.mask if request.HasField("mask") else None
        return ListDocumentsResponse(documents=[masked(by_name[name], mask) for name in page], next_page_token=token)

    def _missing(self, request: Any, at: int) -> dict[str, Document]:
        path = f"{request.parent}/{request.collection_id}" if request.collection_id else request.parent
        depth = request.parent.count("/") + 3
        parents = {"/".join(name.split("/")[:depth]) for name in self._store.names_below(path, at)}
        return {name: Document(name=name) for name in parents}

    # Queries

    def run_query(self, request: Any) -> Iterator[Any]:
        """The documents that a structured query finds, one message each."""
        query = self._parsed(request.parent, request.structured_query)
        reader = self._reader(request)
        if reader.transaction is not None and request.HasField("new_transaction"):
            yield RunQueryResponse(transaction=reader.transaction.id)
        answer = self._database.query(query, reader)
        read_time = to_timestamp(answer.at)
        if answer.skipped or not answer.documents:
            yield RunQueryResponse(read_time=read_time, skipped_results=answer.skipped)
        for document in answer.documents:
            yield RunQueryResponse(document=queries.selected(query, document), read_time=read_time)

    def run_aggregation_query(self, request: Any) -> Iterator[Any]:
        """Count, sum and average over what a structured query finds."""
        aggregation = request.structured_aggregation_query
        fields = aggregations.fields(aggregation.aggregations)
        query = self._parsed(request.parent, aggregation.structured_query, fields)
        reader = self._reader(request)
        if reader.transaction is not None and request.HasField("new_transaction"):
            yield RunAggregationQueryResponse(transaction=reader.transaction.id)
        answer = self._database.query(query, reader)
        result = aggregations.aggregate(aggregation.aggregations, answer.documents)
        yield RunAggregationQueryResponse(result=result, read_time=to_timestamp(answer.at))

    def _parsed(self, parent: str, message: StructuredQuery, aggregated: Sequence[Any] = ()) -> Query:
        check_parent(parent)
        query = queries.parse(parent, message)
        indexes.check(query, self._indexes, aggregated)
        return query


METHODS: dict[str, tuple[str, bool]] = {
    # method: (request, whether the answer is a stream)
    "Commit": ("CommitRequest", False),
    "BatchWrite": ("BatchWriteRequest", False),
    "CreateDocument": ("CreateDocumentRequest", False),
    "UpdateDocument": ("UpdateDocumentRequest", False),
    "DeleteDocument": ("DeleteDocumentRequest", False),
    "BeginTransaction": ("BeginTransactionRequest", False),
    "Rollback": ("RollbackRequest", False),
    "GetDocument": ("GetDocumentRequest", False),
    "ListCollectionIds": ("ListCollectionIdsRequest", False),
    "ListDocuments": ("ListDocumentsRequest", False),
    "BatchGetDocuments": ("BatchGetDocumentsRequest", True),
    "RunQuery": ("RunQueryRequest", True),
    "RunAggregationQuery": ("RunAggregationQueryRequest", True),
}


def _check_size(request: Any) -> None:
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.")


def _listing(request: Any) -> StructuredQuery:
    query = StructuredQuery()
    query.from_.add(collection_id=request.collection_id)
    return query


def _page(names: Iterable[str], request: Any) -> tuple[list[str], str]:
    """The names after the page token, at most a page of them, and the next token.

    A token says after which name a page begins, so what comes and goes between two pages does no harm.
    """
    if request.page_size < 0:
        raise invalid("The page size must not be negative.")
    ordered = sorted(names, key=name_key)
    if request.page_token:
        last = name_key(_from_token(request.page_token))
        ordered = [name for name in ordered if name_key(name) > last]
    size = request.page_size or DEFAULT_PAGE
    page = ordered[:size]
    return page, base64.urlsafe_b64encode(page[-1].encode()).decode() if len(ordered) > size else ""


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("Invalid page token.") from error
