"""Terraform's files as data, without Terraform: what is declared, and by which maps."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "terraform"


class Unreadable(Exception):
    """A file is no HCL; the message names it and the place."""


@dataclass
class Configuration:
    """All files of a folder: resources by type and name, and the rest by name."""

    resources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    locals: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The resources of one type by name."""
        return {name: body for (found, name), body in self.resources.items() if found == kind}


def read_configuration(folder: Path = FOLDER) -> Configuration:
    """Everything that a folder declares; files that are as they were are not parsed again. Raises `Unreadable`."""
    return copy.deepcopy(_parsed(tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.tf")))))


@cache
def _parsed(files: tuple[tuple[Path, int], ...]) -> Configuration:
    import hcl2
    from lark.exceptions import LarkError

    found = Configuration()
    for path, _ in files:
        try:
            parsed = hcl2.loads(path.read_text(encoding="utf-8"))
        except LarkError as error:
            raise Unreadable(f"{path.name}: {str(error).splitlines()[0]}") from error
        for block in parsed.get("resource", []):
            for kind, named in _items(block):
                found.resources.update({(kind, name): body for name, body in _items(named)})
        for block in parsed.get("locals", []):
            found.locals.update(_items(block))
        for place, into in (("variable", found.variables), ("output", found.outputs)):
            for block in parsed.get(place, []):
                into.update(_items(block))
    return found


def strings(value: Any) -> Iterator[str]:
    """Every string inside a parsed value, expressions too."""
    if isinstance(value, str):
        yield value.strip('"')
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def keys_of_object(expression: str) -> set[str]:
    """The keys in capitals of an object that stands inside an expression."""
    return set(re.findall(r"\b([A-Z][A-Z0-9_]+) = ", expression))


def _items(block: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((key.strip('"'), value) for key, value in block.items() if not key.startswith("__"))
