"""Calendars and address books: each event, task or contact is one text, as a person would note it down.

Both are lists of `NAME;PARAMETER=VALUE:value` lines between BEGIN and END; a line that begins with a blank goes on with
the one before it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shared.domain.parts import Part, State, Text
from shared.readers.gather import Block, clean, cut_at, gather
from shared.readers.limits import MIB, Limits
from shared.readers.mime import as_text, words
from shared.readers.source import Source
from shared.readers.text import read_lines

_MOST = MIB  # characters of one card; what is longer is a photo, or no card
_HEADING = 200
_END = re.compile(r"^END:(?:VCARD|VEVENT|VTODO|VJOURNAL)[ \t]*(?:\r?\n|\r)", re.MULTILINE | re.IGNORECASE)
_FOLDED = re.compile(r"(?:\r?\n|\r)[ \t]")
_LINE_END = re.compile(r"\r?\n|\r")
_LINE = re.compile(r"(?:[\w-]+\.)?(?P<name>[\w-]+)(?P<parameters>(?:;(?:\"[^\"]*\"|[^:;\"])*)*):(?P<value>.*)")
# Contacts of before 2000: a value of quoted-printable goes on where a line ends with an equals sign.
_OLD = re.compile(
    r"^[^:\n]*;(?:ENCODING=)?QUOTED-PRINTABLE[^:\n]*:(?:[^\n]*=[ \t]*\r?\n)*[^\n]*", re.MULTILINE | re.IGNORECASE
)
_SOFT = re.compile(r"=[ \t]*(?:\r?\n|\r)[ \t]?")
_ESCAPED = re.compile(r"\\(.)")
_PARTS = re.compile(r"(?<!\\);")
_LISTS = {"adr", "n", "org"}
_TIME = re.compile(r"^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(?:\d\d)?(Z?))?$")
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_BINARY = re.compile(r"encoding=(?:b|base64)\b|;base64\b", re.IGNORECASE)
_CALLED = re.compile(r";CN=(?:\"([^\"]+)\"|([^;:\"]+))", re.IGNORECASE)
_MAILTO = re.compile(r"^mailto:", re.IGNORECASE)
_BASE64 = re.compile(r"^[A-Za-z0-9+/=]{40,}$")
_ASIDE = {"VTIMEZONE", "VALARM"}
# What machines say to each other, and pictures.
_SILENT = {
    "version", "prodid", "uid", "dtstamp", "sequence", "rev", "created", "last-modified", "method",
    "calscale", "transp", "class", "trigger", "action", "tzid", "tzoffsetfrom", "tzoffsetto", "photo", "logo", "sound",
    "key", "profile", "acknowledged",
}  # fmt: skip
_NAMES = {
    "": "", "summary": "", "fn": "", "dtstart": "Start", "dtend": "End", "org": "Organisation", "tel": "Telephone",
    "email": "Mail", "adr": "Address", "bday": "Birthday", "n": "Name", "due": "Due", "url": "Link",
    "x-wr-calname": "Calendar",
}  # fmt: skip


def read_cards(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A calendar or an address book. Locators: lines, and the event's or the contact's name."""
    before = {name: value for name, value in after.items() if name != "piece"}
    goes_on = after
    for part in read_lines(source, limits, before, Cards()):
        assert isinstance(part, Text)
        heading, text = told(part.text)
        place = replace(part.locator, heading=heading or None)
        yield from gather([Block(text, place, part.after)] if text else [], goes_on)
        goes_on = part.after


class Cards:
    """Cuts behind each card."""

    def cut(self, text: str, start: int, *, final: bool) -> int:
        found = _END.search(text, start)
        if found and (final or found.end() < len(text)) and found.end() - start <= _MOST:
            return found.end()
        if len(text) - start > _MOST:
            return cut_at(text, start, start + _MOST)
        return len(text) if final else -1

    def place(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}


def told(card: str) -> tuple[str, str]:
    """What a card is about, and all it says, a line for each thing."""
    card = _OLD.sub(lambda found: _SOFT.sub("", found[0]), card)
    heading, lines, aside = "", list[str](), ""
    for line in _LINE_END.split(_FOLDED.sub("", card)):
        found = _LINE.fullmatch(line)
        name, value = (found["name"].lower(), found["value"]) if found else ("", line.strip())
        if name in ("begin", "end"):
            if not aside and name == "begin" and value.strip().upper() in _ASIDE:
                aside = value.strip().upper()
            elif aside and name == "end" and value.strip().upper() == aside:
                aside = ""
        elif not aside and name not in _SILENT:
            value = _value(name, found["parameters"], value) if found else _BASE64.sub("", value)
            label = _NAMES.get(name, name.removeprefix("x-").replace("-", " ").capitalize())
            if name in ("summary", "fn") and not heading:
                heading = " ".join(value.split())
            elif value:
                lines.append(f"{label}: {value}" if label else value)
    lines = [heading, *lines] if heading else lines
    return clean(heading)[:_HEADING], clean("\n".join(lines)) + "\n\n" if lines else ""


def _value(name: str, parameters: str, value: str) -> str:
    """A value as a person writes it; nothing for bytes of pictures."""
    if "QUOTED-PRINTABLE" in parameters.upper():
        charset = _CHARSET.search(parameters)
        value = as_text(binascii.a2b_qp(value.encode("utf-8", "surrogateescape")), charset[1] if charset else "utf-8")
    elif _BINARY.search(parameters):
        return ""
    if name in _LISTS:
        value = ", ".join(step.strip() for step in _PARTS.split(value) if step.strip())
    value = words(_ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)).strip()
    if moment := _TIME.match(value):
        year, month, day, hour, minute, zone = moment.groups()
        value = f"{year}-{month}-{day}" + (f" {hour}:{minute}{' UTC' if zone else ''}" if hour else "")
    value = _MAILTO.sub("", value)
    called = _CALLED.search(parameters)
    return f"{called[1] or called[2]} <{value}>" if called else value
