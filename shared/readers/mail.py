"""Saved mail: one message, or a mailbox of any number, message by message as it streams.

A message gives its letterhead, its text (the plain one where it has two) and its attachments, each read through the
registry like any file. Going on begins at the message, whose offset is known, and leaves out what was given of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State, Text
from shared.readers.inner import Sheltered, Streamed, in_the_open, inside, note, shown, within
from shared.readers.limits import Limits
from shared.readers.mime import Headers, Scanner, Stop, decoded, headers, unicode
from shared.readers.source import Source

_DEPTH = 20  # of parts in parts
_SUBJECT = 100  # characters of it that a place keeps
_LETTERHEAD = ("From", "To", "Cc", "Date", "Subject")
_SIGNATURES = {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
_SEALED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}


def read_mail(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """One message. Locators: the attachment, and the place in it; the message's own text has none."""
    return in_the_open(_read_mail(Sheltered(source), limits, after))


def _read_mail(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    scanner = Scanner(source.windows())
    if scanner.peek().startswith(b"From "):  # it was cut out of a mailbox
        scanner.line()
    yield from _message(scanner, Stop(), limits, after, {})


def read_mailbox(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A mailbox (mbox). Locators: the message's number and subject, the attachment, and the place in it."""
    return in_the_open(_read_mailbox(Sheltered(source), limits, after))


def _read_mailbox(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    start, number, stop = int(after.get("at", 0)), int(after.get("message", 1)), Stop(mailbox=True)
    scanner = Scanner(source.windows(start), start)
    while not scanner.ended:
        base = {"at": scanner.at, "message": number}
        while scanner.peek().startswith((b"\n", b"\r\n")):
            scanner.line()
        if scanner.peek().startswith(b"From "):
            scanner.line()
        yield from _message(scanner, stop, limits, after, base)
        _drop(scanner.until(stop))
        number, after = number + 1, {}


@dataclass(frozen=True, slots=True)
class _Letterhead:
    """The headers of a message, be it inside another."""

    headers: Headers
    place: str


class _Choice:
    """A text in several forms: the first form that says anything is taken."""

    def __init__(self) -> None:
        self.form, self.taken = 0, 0


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A part without parts, its bytes still as they travelled."""

    headers: Headers
    place: str
    raw: Iterator[bytes]
    choices: tuple[_Choice, ...]
    sealed: bool
    mailbox: bool

    @property
    def is_text(self) -> bool:
        """Whether it is something that the sender wrote into the mail itself."""
        kind = self.headers.type
        written = kind.startswith("text/") or kind in ("message/delivery-status", "message/disposition-notification")
        return written and not self.headers.attached and not self.headers.name

    def content(self) -> Iterator[bytes]:
        """Its bytes."""
        return decoded(self.raw, self.headers.encoding, mailbox=self.mailbox)

    def text(self) -> Iterator[bytes] | None:
        """Its text, or None where it is empty, or another form of the same has been taken."""
        if any(choice.taken not in (0, choice.form) for choice in self.choices):
            return None
        text = unicode(self.content(), self.headers.charset)
        first = next(text, None)
        if first is None:
            return None
        for choice in self.choices:
            choice.taken = choice.form
        return chain([first], text)


def _message(scanner: Scanner, stop: Stop, limits: Limits, after: State, base: dict[str, Any]) -> Iterator[Part]:
    """One message. `base` says in a mailbox where it begins and which it is."""
    first, inner = int(after.get("item", 0)), after.get("inner")
    head = headers(scanner, stop)
    place = shown(f"message {base['message']}: {head.text('subject')[:_SUBJECT]}").rstrip(": ") if base else ""
    items = chain([_Letterhead(head, place)], _walk(scanner, stop, head, place))
    for number, item in enumerate(items):
        if number > limits.parts:
            if number >= first:
                yield Text(
                    f"More than {limits.parts:,} parts are not read.\n", _at(place), {**base, "item": number + 1}
                )
            return
        if number < first:
            if isinstance(item, _Leaf) and item.is_text:
                item.text()  # which form of a text is taken must be known again
        elif isinstance(item, _Letterhead):
            if text := _letterhead(item.headers):
                yield Text(text, _at(item.place), {**base, "item": number + 1})
        else:
            goes_on = inner if number == first else None
            for part in _leaf(item, number, limits, goes_on):
                if isinstance(part, Skipped):
                    name = _named(item, number)
                    yield Text(note(name, part), _at(item.place, name), {**base, "item": number + 1})
                else:
                    yield replace(part, after={**base, "item": number, "inner": part.after})


def _leaf(leaf: _Leaf, number: int, limits: Limits, after: State | None) -> Iterator[Any]:
    """What a part gives, and why it gives no more."""
    if leaf.sealed:
        yield Skipped("It is encrypted.", code="encrypted")
    elif leaf.is_text:
        yield from _text(leaf, limits, after)
    elif leaf.headers.type not in _SIGNATURES:  # they hold no text, and every signed mail has one
        yield from _attachment(leaf, number, limits, after)


def _text(leaf: _Leaf, limits: Limits, after: State | None) -> Iterator[Any]:
    text = leaf.text()
    if text is None:
        return
    kind = leaf.headers.type if leaf.headers.type.startswith("text/") else "text/plain"
    for part in inside(Streamed(text, limits, mime_type=kind), limits, after, leaf.place):
        if not isinstance(part, Skipped):  # bytes and lines of what was decoded are no place in the file
            yield replace(part, locator=Locator(heading=part.locator.heading, part=part.locator.part))
        elif part.code != "no_text":
            yield part


def _attachment(leaf: _Leaf, number: int, limits: Limits, after: State | None) -> Iterator[Any]:
    """An attachment's parts, the first with its name before it: so it is found by its name too."""
    name = _named(leaf, number)
    place = _below(leaf.place, name)
    if limits.nesting < 1:
        yield Skipped("An attachment of a mail within another file is not opened.", code="nested")
        return
    source = Streamed(leaf.content(), limits, leaf.headers.name, leaf.headers.type)
    lead = None if after else f"{name}\n\n"
    for part in inside(source, limits, after, place):
        yield replace(part, text=lead + part.text) if lead and isinstance(part, Text) else part
        lead = None


def _named(leaf: _Leaf, number: int) -> str:
    if leaf.is_text:
        return "text of the mail"
    return f"attachment {shown(leaf.headers.name) or number}"


def _walk(
    scanner: Scanner,
    stop: Stop,
    head: Headers,
    place: str,
    *,
    depth: int = 0,
    choices: tuple[_Choice, ...] = (),
    sealed: bool = False,
) -> Iterator[_Letterhead | _Leaf]:
    """The parts below these headers, in order. Each leaf is to be read before the next is asked for."""
    sealed = sealed or head.type in _SEALED
    if head.boundary and depth < _DEPTH:
        inner = stop.within(head.boundary)
        choice = (_Choice(),) if head.type == "multipart/alternative" else ()
        _drop(scanner.until(inner))
        while scanner.stands_at(inner) == (head.boundary, False):
            scanner.line()
            for one in choice:
                one.form += 1
            part = headers(scanner, inner)
            yield from _walk(scanner, inner, part, place, depth=depth + 1, choices=(*choices, *choice), sealed=sealed)
        if scanner.stands_at(inner) == (head.boundary, True):
            scanner.line()
            _drop(scanner.until(stop))
    elif head.type == "message/rfc822" and head.encoding not in ("base64", "quoted-printable") and depth < _DEPTH:
        attached = headers(scanner, stop)
        subject = shown(f"attached message: {attached.text('subject')[:_SUBJECT]}").rstrip(": ")
        below = _below(place, subject)
        yield _Letterhead(attached, below)
        yield from _walk(scanner, stop, attached, below, depth=depth + 1, sealed=sealed)
    else:
        leaf = _Leaf(head, place, scanner.until(stop), choices, sealed, stop.mailbox)
        yield leaf
        _drop(leaf.raw)


def _letterhead(head: Headers) -> str:
    lines = [f"{name}: {text}\n" for name in _LETTERHEAD if (text := head.text(name.lower()))]
    return "".join([*lines, "\n"]) if lines else ""


def _at(place: str, name: str = "") -> Locator:
    return within(place, Locator(part=name or None))


def _below(place: str, name: str) -> str:
    return f"{place} > {name}" if place else name


def _drop(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        pass
