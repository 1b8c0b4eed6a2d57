"""Field masks: `fields=nextPageToken,files(id,owners/emailAddress)`, checked against the discovery document."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient

Mask = dict[str, "Mask"]
EVERYTHING: Mask = {"*": {}}


class BadMask(ValueError):
    """The mask cannot be read, or names a field that the answer does not have."""


@cache
def discovery() -> dict[str, Any]:
    """Drive v3's discovery document, as it ships with Google's client library."""
    path = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "drive.v3.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def parse_mask(text: str, schema: str) -> Mask:
    """The mask as nested dicts; `*` stands for every field. Raises `BadMask`."""
    reader = _Reader(text.replace(" ", ""))
    mask = reader.selection()
    if not reader.done():
        raise BadMask(f"Invalid field selection {text}")
    _check(mask, {"$ref": schema}, "")
    return mask


def apply_mask(value: Any, mask: Mask) -> Any:
    """Only what the mask selects; an empty mask selects all."""
    if isinstance(value, list):
        return [apply_mask(one, mask) for one in value]
    if not mask or not isinstance(value, dict):
        return value
    every = mask.get("*")
    chosen = {}
    for name, inner in value.items():
        if name in mask:
            chosen[name] = apply_mask(inner, mask[name])
        elif every is not None:
            chosen[name] = apply_mask(inner, every)
    return chosen


def selects(mask: Mask, *path: str) -> bool:
    """Whether a field, given from the outside in, is part of what the mask selects."""
    for name in path:
        if not mask:
            return True
        if name not in mask and "*" not in mask:
            return False
        mask = mask[name] if name in mask else mask["*"]
    return True


def below(mask: Mask, name: str) -> Mask:
    """The part of a mask that applies inside one field."""
    if not mask:
        return {}
    return mask[name] if name in mask else mask.get("*", {})


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def done(self) -> bool:
        return self._at == len(self._text)

    def selection(self) -> Mask:
        mask: Mask = {}
        while True:
            self._field(mask)
            if not self._take(","):
                return mask

    def _field(self, mask: Mask) -> None:
        name = self._name()
        if self._take("/"):
            self._field(_open(mask, name))
        elif self._take("("):
            inner = self.selection()
            if not self._take(")"):
                raise BadMask(f"Invalid field selection {self._text}")
            _merge(_open(mask, name), inner)
        else:
            mask[name] = {}

    def _name(self) -> str:
        start = self._at
        while self._at < len(self._text) and (self._text[self._at].isalnum() or self._text[self._at] in "*_-$"):
            self._at += 1
        if start == self._at:
            raise BadMask(f"Invalid field selection {self._text}")
        return self._text[start : self._at]

    def _take(self, character: str) -> bool:
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False


def _open(mask: Mask, name: str) -> Mask:
    """The mask inside a field that is about to be narrowed."""
    inner = mask.get(name)
    if inner is None:
        inner = mask[name] = {}
    return inner


def _merge(mask: Mask, more: Mask) -> None:
    for name, inner in more.items():
        if name in mask and mask[name] and inner:
            _merge(mask[name], inner)
        else:
            mask[name] = inner


def _check(mask: Mask, schema: dict[str, Any], where: str) -> None:
    while "$ref" in schema or "items" in schema:
        schema = discovery()["schemas"][schema["$ref"]] if "$ref" in schema else schema["items"]
    known = schema.get("properties")
    for name, inner in mask.items():
        if name == "*":
            for one in (known or {}).values() if inner else ():
                _check(inner, one, where)
        elif known is not None and name in known:
            _check(inner, known[name], f"{where}{name}/")
        elif "additionalProperties" not in schema:
            raise BadMask(f"Invalid field selection {name}")
