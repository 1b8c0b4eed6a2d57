"""Compile a Protobuf schema definition, and tell whether bytes obey it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory

_FILE = "schema.proto"
_SIZE = 300_000  # bytes of a definition, as Google limits it


class BadDefinition(ValueError):
    """The text is not a definition of exactly one top-level message; says why."""


class BadMessage(ValueError):
    """The bytes do not obey the schema."""


def check(definition: str, data: bytes, *, binary: bool) -> None:
    """Raise `BadMessage` unless the data is such a message, in the binary or the JSON encoding."""
    wanted = message_class(definition)
    try:
        if binary:
            wanted.FromString(data)
        else:
            json_format.Parse(data, wanted())
    except (message.DecodeError, json_format.ParseError, UnicodeDecodeError) as error:
        raise BadMessage(f"Message does not parse as {wanted.DESCRIPTOR.full_name}: {error}") from error


@lru_cache(maxsize=256)
def message_class(definition: str) -> Any:
    """The class of the definition's one top-level message. Raises `BadDefinition`."""
    files = descriptor_pb2.FileDescriptorSet.FromString(_compiled(definition)).file
    if len(files[0].message_type) != 1:
        raise BadDefinition(f"A schema defines exactly one top-level message, not {len(files[0].message_type)}.")
    # A pool of its own, since two revisions of a schema define the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(files[0].SerializeToString())
    name = ".".join(part for part in (files[0].package, files[0].message_type[0].name) if part)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _compiled(definition: str) -> bytes:
    """A serialised FileDescriptorSet."""
    # Imported on first use: it costs 0.1 s, and only topics with a schema need it.
    from grpc_tools import protoc

    if len(definition.encode()) > _SIZE:
        raise BadDefinition(f"A definition has at most {_SIZE} bytes.")
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, _FILE), Path(folder, "schema.bin")
        source.write_text(definition, encoding="utf-8")
        arguments = [f"-I{folder}", f"--descriptor_set_out={output}", _FILE]
        if protoc.main(["protoc", *arguments]) or not output.exists():
            raise BadDefinition(f"Invalid schema definition: {_complaint(arguments)}")
        return output.read_bytes()


def _complaint(arguments: list[str]) -> str:
    """What protoc has against a definition. It says so on its own stderr only, hence once more in a child."""
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stderr.strip() or "protoc failed"
