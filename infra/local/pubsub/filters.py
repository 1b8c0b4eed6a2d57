"""The filter language of subscriptions: `attributes.k = "v"`, `!=`, `attributes:k`, `hasPrefix(...)`, AND, OR, NOT."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

Matches = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(!=|[=:().,-])|([A-Za-z_][\w-]*))')


class BadFilter(ValueError):
    """The text is not a filter; says where it stops being one."""


@lru_cache(maxsize=1024)
def parse(text: str) -> Matches:
    """A predicate over a message's attributes. An empty filter matches all. Raises `BadFilter`."""
    if not text.strip():
        return _all
    parser = _Parser(_tokens(text))
    matches = parser.expression()
    parser.end()
    return matches


def _tokens(text: str) -> list[str]:
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadFilter(f"unexpected character at {at} of the filter: {text[at : at + 10]!r}")
        tokens.append(found.group(1) or found.group(2) or found.group(3))
        at = found.end()
    return tokens


def _all(_: Mapping[str, str]) -> bool:
    return True


class _Parser:
    """Recursive descent. As in Google's grammar, AND and OR do not mix without parentheses."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if not token or (wanted and token not in wanted):
            raise BadFilter(f"filter: expected {' or '.join(wanted) or 'more'}, found {token or 'the end'!r}")
        self._at += 1
        return token

    def end(self) -> None:
        if self._peek():
            raise BadFilter(f"filter: unexpected {self._peek()!r}")

    def expression(self) -> Matches:
        terms, operator = [self._term()], self._peek()
        if operator in ("AND", "OR"):
            while self._peek() == operator:
                self._take()
                terms.append(self._term())
        together = any if operator == "OR" else all
        return lambda attributes: together(term(attributes) for term in terms)

    def _term(self) -> Matches:
        if self._peek() in ("NOT", "-"):
            self._take()
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if self._peek() == "(":
            self._take()
            inner = self.expression()
            self._take(")")
            return inner
        return self._prefix() if self._peek() == "hasPrefix" else self._comparison()

    def _prefix(self) -> Matches:
        self._take("hasPrefix")
        self._take("(")
        self._take("attributes")
        self._take(".")
        key = self._key()
        self._take(",")
        start = self._text()
        self._take(")")
        return lambda attributes: key in attributes and attributes[key].startswith(start)

    def _comparison(self) -> Matches:
        self._take("attributes")
        if self._take(".", ":") == ":":
            key = self._key()
            return lambda attributes: key in attributes
        key = self._key()
        operator = self._take("=", "!=")
        value = self._text()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _key(self) -> str:
        token = self._take()
        if token.startswith('"'):
            return _unquoted(token)
        if not re.fullmatch(r"[\w-]+", token):
            raise BadFilter(f"filter: {token!r} is not the name of an attribute")
        return token

    def _text(self) -> str:
        token = self._take()
        if not token.startswith('"'):
            raise BadFilter(f"filter: {token!r} must stand in double quotes")
        return _unquoted(token)


def _unquoted(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError as error:
        raise BadFilter(f"filter: {token} is not a quoted text") from error
