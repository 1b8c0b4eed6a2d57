"""The `q` and `orderBy` of files.list: a small grammar over what a person can see of a file."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from infra.local.google.items import Item

Test = Callable[[Item], bool]

_TOKEN = re.compile(r"\s*(?:(<=|>=|!=|=|<|>|\(|\)|\{|\})|'((?:\\.|[^'\\])*)'|([A-Za-z][A-Za-z0-9_.]*))")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class BadQuery(ValueError):
    """Drive would not understand this query either."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: the query's `me`, and the id that `root` stands for."""

    email: str
    root_id: str


def parse_query(text: str, viewer: Viewer) -> Test:
    """What the query says, as a test of a file. Raises `BadQuery`."""
    if not text.strip():
        return lambda _: True
    reader = _Query(_tokens(text), viewer)
    test = reader.any_of()
    if reader.peek() is not None:
        raise BadQuery(f"unexpected {reader.peek()}")
    return test


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadQuery(f"cannot read {text[at : at + 20]!r}")
        sign, quoted, word = found.groups()
        if quoted is not None:
            tokens.append(("text", re.sub(r"\\(.)", r"\1", quoted)))
        else:
            tokens.append(("sign", sign) if sign else ("word", word))
        at = found.end()
    return tokens


class _Query:
    def __init__(self, tokens: list[tuple[str, str]], viewer: Viewer) -> None:
        self._tokens = tokens
        self._at = 0
        self._viewer = viewer

    def peek(self) -> tuple[str, str] | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def any_of(self) -> Test:
        tests = [self._all_of()]
        while self._word("or"):
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda item: any(test(item) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._word("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda item: all(test(item) for test in tests)

    def _one(self) -> Test:
        if self._word("not"):
            test = self._one()
            return lambda item: not test(item)
        if self._sign("("):
            test = self.any_of()
            if not self._sign(")"):
                raise BadQuery("a bracket is not closed")
            return test
        kind, value = self._next()
        if kind == "text":
            if not self._word("in"):
                raise BadQuery(f"expected 'in' after {value!r}")
            return self._membership(value, self._next()[1])
        return self._comparison(value)

    def _membership(self, value: str, field: str) -> Test:
        email = self._viewer.email if value == "me" else value.lower()
        if field == "parents":
            parent = self._viewer.root_id if value == "root" else value
            return lambda item: item.parent == parent
        if field == "owners":
            return lambda item: item.owner == email
        if field in ("readers", "writers"):
            return lambda item: item.owner == email or (field == "readers" and email in item.viewers)
        raise BadQuery(f"{field} takes no 'in'")

    def _comparison(self, field: str) -> Test:
        sign = self._next()[1]
        if field in ("properties", "appProperties") and sign == "has":
            while not self._sign("}"):
                self._next()
            return lambda _: False
        kind, value = self._next()
        if field == "name" and kind == "text":
            return _name(sign, value)
        if field == "mimeType" and kind == "text":
            return _mime_type(sign, value)
        if field in ("modifiedTime", "createdTime", "viewedByMeTime") and kind == "text":
            return _time(field, sign, value)
        if field in ("trashed", "starred", "sharedWithMe") and value in ("true", "false"):
            return self._flag(field, sign, value == "true")
        if field == "visibility" and kind == "text" and sign in ("=", "!="):
            return lambda _: _COMPARE[sign]("limited", value)
        if field == "shortcutDetails.targetId" and kind == "text" and sign in ("=", "!="):
            return lambda item: bool(item.target) and _COMPARE[sign](item.target, value)
        raise BadQuery(f"{field} {sign} {value!r} is not understood")

    def _flag(self, field: str, sign: str, value: bool) -> Test:
        if sign not in ("=", "!="):
            raise BadQuery(f"{field} takes no {sign}")
        wanted = value == (sign == "=")
        if field == "trashed":
            return lambda item: item.trashed == wanted
        if field == "starred":
            return lambda item: item.starred == wanted
        email = self._viewer.email
        return lambda item: (email in item.shared_with) == wanted

    def _next(self) -> tuple[str, str]:
        token = self.peek()
        if token is None:
            raise BadQuery("it ends too early")
        self._at += 1
        return token

    def _word(self, word: str) -> bool:
        return self._take("word", word)

    def _sign(self, sign: str) -> bool:
        return self._take("sign", sign)

    def _take(self, kind: str, value: str) -> bool:
        token = self.peek()
        if token is None or token[0] != kind or token[1].lower() != value:
            return False
        self._at += 1
        return True


def _name(sign: str, value: str) -> Test:
    if sign == "contains":
        # Drive matches the beginnings of words only.
        start = re.compile(r"(?:^|[\W_])" + re.escape(value), re.IGNORECASE)
        return lambda item: start.search(item.name) is not None
    if sign in ("=", "!="):
        return lambda item: _COMPARE[sign](item.name, value)
    raise BadQuery(f"name takes no {sign}")


def _mime_type(sign: str, value: str) -> Test:
    if sign == "contains":
        return lambda item: item.mime_type.startswith(value)
    if sign in ("=", "!="):
        return lambda item: _COMPARE[sign](item.mime_type, value)
    raise BadQuery(f"mimeType takes no {sign}")


def _time(field: str, sign: str, value: str) -> Test:
    compare = _COMPARE.get(sign)
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if compare is None or moment is None:
        raise BadQuery(f"{field} {sign} {value!r} is not understood")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    then = round(moment.timestamp() * 1000)
    if field == "viewedByMeTime":
        return lambda _: False
    return lambda item: compare(item.modified if field == "modifiedTime" else item.created, then)


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key of one file, comparable in its direction."""

    value: Any
    descending: bool

    def __lt__(self, other: Key) -> bool:
        return bool(other.value < self.value) if self.descending else bool(self.value < other.value)


_VALUES: dict[str, Callable[[Item], Any]] = {
    "createdTime": lambda item: item.created,
    "folder": lambda item: not item.is_folder,
    "modifiedByMeTime": lambda item: item.modified,
    "modifiedTime": lambda item: item.modified,
    "name": lambda item: item.name.casefold(),
    "name_natural": lambda item: [
        [0, int(part), ""] if part.isdigit() else [1, 0, part] for part in re.split(r"([0-9]+)", item.name.casefold())
    ],
    "quotaBytesUsed": lambda item: item.size,
    "recency": lambda item: max(item.modified, item.created),
    "sharedWithMeTime": lambda item: item.created,
    "starred": lambda item: not item.starred,
    "viewedByMeTime": lambda _: 0,
}


def parse_order(text: str) -> list[tuple[str, bool]]:
    """`name,modifiedTime desc` as fields with their direction. Raises `BadQuery`."""
    order = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, _, direction = part.partition(" ")
        if field not in _VALUES or direction.strip() not in ("", "desc", "asc"):
            raise BadQuery(f"cannot sort by {part!r}")
        order.append((field, direction.strip() == "desc"))
    return order


def sort_values(item: Item, order: Iterable[tuple[str, bool]]) -> list[Any]:
    """A file's place in an order, as JSON can hold it; the id makes it unique."""
    return [*(_VALUES[field](item) for field, _ in order), item.id]


def sort_key(values: list[Any], order: list[tuple[str, bool]]) -> tuple[Key, ...]:
    """Something to sort and to search by."""
    directions = [*(descending for _, descending in order), False]
    return tuple(Key(value, descending) for value, descending in zip(values, directions, strict=True))
