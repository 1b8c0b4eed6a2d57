"""Chunks and locators as they travel: the domain's own types to `FileChunk` messages and back."""

from __future__ import annotations

from dataclasses import fields

from schemas.messages.file_chunk_pb2 import FileChunk
from shared.domain.chunks import Chunk
from shared.domain.files import File
from shared.domain.parts import Locator

_KINDS = {"text": FileChunk.Kind.TEXT, "pages": FileChunk.Kind.PAGES, "image": FileChunk.Kind.IMAGE}
_NAMES = [spec.name for spec in fields(Locator)]


def file_chunk(chunk: Chunk, job_id: str, user_id: str, file: File) -> FileChunk:
    """The message for one chunk of one job."""
    message = FileChunk(
        job_id=job_id,
        user_id=user_id,
        file_id=file.id,
        revision=file.head_revision_id or file.content_key,
        index=chunk.index,
        kind=_KINDS[chunk.kind],
        mime_type=chunk.mime_type,
        payload=bytes(chunk.payload),
    )
    message.locator.CopyFrom(_message(chunk.locator))
    for offset, locator in chunk.marks:
        mark = message.marks.add()
        mark.offset = offset
        mark.locator.CopyFrom(_message(locator))
    return message


def locator_of(message: FileChunk.Locator) -> Locator:
    """A locator that came with a message."""
    return Locator(**{name: getattr(message, name) for name in _NAMES if message.HasField(name)})  # type: ignore[arg-type]


def _message(locator: Locator) -> FileChunk.Locator:
    return FileChunk.Locator(**locator.as_json())
