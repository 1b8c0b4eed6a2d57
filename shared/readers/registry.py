"""The door to all readers: what kind of file is this, who reads it, and where does reading end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from shared.domain.errors import Skipped
from shared.domain.parts import Part, State, Text, Truncated
from shared.readers import kinds
from shared.readers.archive import Archive, broken
from shared.readers.formats import FORMATS, Format
from shared.readers.limits import Limits, amount
from shared.readers.source import Opened, Source

# No beginning of such a file is worth keeping.
_HOSTILE = {"zip_bomb", "dtd", "too_deep", "tag_too_long", "too_many_names"}
# What a text proves to be by its words; a name that says otherwise may know better: a page of source code.
_BY_WORDS = {"html", "svg", "card", "mailbox", "mail"}
_OLD = {"ole", "doc", "ppt", "msg"}
BY_KIND = {row.kind: row for row in FORMATS}
_BY_EXTENSION = {extension: row for row in FORMATS for extension in row.extensions.split()}
_BY_TYPE = {mime_type.lower(): row for row in FORMATS for mime_type in row.mime_types.split()}


def read(source: Source, limits: Limits | None = None, after: State | None = None) -> Iterator[Part]:
    """The parts of a file, from its beginning or behind the part whose `after` this is.

    Raises `Skipped` with a sentence for a person where no text can be had. Where a bound or damage ends a file that
    has given some text already, the last part is `Truncated` with that sentence instead. A file that proves hostile
    is `Skipped` even then: what it gave before is not to be kept.
    """
    limits = limits or Limits()
    if after:
        if after.get("done"):
            return
        row = BY_KIND[str(after["kind"])]
        yield from _bounded(row, source, limits, after)
        return
    if source.mime_type.startswith("application/vnd.google-apps."):
        raise _refused(by_type(source.mime_type) or BY_KIND["native"])
    if source.size == 0:
        raise _empty()
    named = by_name(source.name)
    expected = {row.needs for row in (named, by_type(source.mime_type)) if row}
    opened = Opened(source, seek_first=bool(expected) and expected <= {"seek", "child"})
    with closing(opened):
        if not opened.head:
            raise _empty()
        row = choose(opened, limits, named)
        if row.read is None:
            raise _refused(row)
        yield from _bounded(row, opened, limits, {})


def choose(opened: Opened, limits: Limits, named: Format | None) -> Format:
    """The row for a file whose beginning has been seen."""
    stated = by_type(opened.mime_type)
    kind = kinds.by_content(opened.head)
    if kind == "zip":
        kind = _zip_kind(opened, limits)
    elif kind == "ole":
        kind = kinds.of_ole(_ole_directory(opened), named.kind if named else None)
    if kind and not (kind in _BY_WORDS and named and named.needs == "stream"):
        if kind == "binary":  # its name may at least say what nobody can read
            named = next((row for row in (named, stated) if row and row.kind not in _OLD), None)
            if named and named.needs in ("seek", "child"):
                raise broken(f"it is named like a {named.title} and does not begin like one")
            return named if named and named.read is None else BY_KIND["binary"]
        unread = named if kind in ("zip", "ole", "tiff", "video") and named and named.read is None else None
        return unread or BY_KIND[kind]
    for row in (named, stated):  # text, by all signs: who says what kind?
        if row and row.needs == "stream" and row.kind != "rtf":  # its beginning would have shown it
            return row
    # Many programs write a table as text, as XML or as a web page, and call it .xls.
    if named and named.needs in ("seek", "child") and named.kind != "xls" and stated in (None, named):
        raise broken(f"it is named like a {named.title} and does not begin like one")
    return BY_KIND["text"]


def by_name(name: str) -> Format | None:
    """The row that a file's extension names, or its whole name, as of a Makefile."""
    _, dot, extension = name.lower().strip().rpartition(".")
    row = _BY_EXTENSION.get(extension) if dot else None
    if row is None and extension in ("makefile", "dockerfile", "readme", "license", "changelog", "authors", "copying"):
        row = _BY_EXTENSION[extension]
    return row


def by_type(mime_type: str) -> Format | None:
    """The row for a stated type, its family if need be."""
    plain = mime_type.split(";")[0].strip().lower()
    family = plain.split("/")[0]
    if plain.startswith("application/vnd.google-apps."):
        return _BY_TYPE.get(plain, BY_KIND["native"])
    return _BY_TYPE.get(plain) or _BY_TYPE.get(f"{family}/*") or (BY_KIND["text"] if family == "text" else None)


def _zip_kind(opened: Opened, limits: Limits) -> str:
    with closing(Archive(opened.seekable(), limits)) as archive:
        types, mimetype = (
            archive.held(name) if name in archive.names and archive.size(name) < limits.ratio_from else b""
            for name in ("[Content_Types].xml", "mimetype")
        )
        return kinds.of_zip(archive.names, types, mimetype)


def _ole_directory(opened: Opened) -> bytes:
    """The first entries of an old Office document's directory: they name its main stream."""
    shift, first = struct.unpack_from("<30xH16xI", opened.head.ljust(52, b"\0"))
    at = (first + 1) << min(shift, 12)
    if at + 4096 <= len(opened.head):
        return opened.head[at : at + 4096]
    with closing(opened.seekable()) as file:
        file.seek(at)
        return file.read(4096) or b""


def _bounded(row: Format, source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A reader's parts, each with the state that `read` goes on from, up to the bound of text."""
    if row.read is None:
        raise _refused(row)
    kind, told = row.kind, int(after.get("told", 0))
    done = {"kind": kind, "done": True}
    inner = {name: value for name, value in after.items() if name not in ("kind", "told")}
    try:
        for part in row.read(source, limits, inner):
            if isinstance(part, Truncated):
                yield Truncated(part.reason, done)
                return
            if not isinstance(part, Text):
                told = max(told, 1)
                yield _with(part, {**part.after, "kind": kind, "told": told})
                continue
            text = part.text
            if not told and text.isspace():
                continue
            told += len(text) if text.isascii() else len(text.encode())
            if told > limits.text_bytes:
                yield Truncated(f"Only the first {amount(limits.text_bytes)} of its text are read.", done)
                return
            yield Text(text, part.locator, {**part.after, "kind": kind, "told": told})
    except Skipped as fault:
        if not told or fault.code in _HOSTILE:
            raise
        yield Truncated(fault.reason, done)
        return
    if not told:
        raise Skipped("There is no text in the file.", code="no_text")


def _with(part: Part, after: State) -> Part:
    return replace(part, after=after)


def _refused(row: Format) -> Skipped:
    return Skipped(row.how, code=row.code)


def _empty() -> Skipped:
    return Skipped("The file is empty.", code="empty")
