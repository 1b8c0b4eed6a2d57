"""The named queries of `schemas/sql/queries`, read once per process and only when the first of them is asked for.

A file holds any number of these; a colon before a word is a parameter:

    -- name: record_chunk
    -- A chunk delivered twice is one row.
    INSERT INTO gdrive_chunks (job_id, index) VALUES (CAST(:job_id AS uuid), :index) ON CONFLICT DO NOTHING;
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from pg8000.native import to_statement

_NAME = re.compile(r"^--[ \t]*name:[ \t]*(\w+)[ \t]*$", re.MULTILINE)


class QueryFileError(Exception):
    """A query file is not written as it must be; the message names the file and the query."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement as Postgres wants it: `$1` for the first of `parameters`."""

    name: str
    why: str
    sql: str
    parameters: tuple[str, ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The given parameters in the statement's order. Raises `TypeError` if they are not exactly the wanted ones."""
        if given.keys() != set(self.parameters):
            raise TypeError(
                f"The query {self.name} takes ({', '.join(self.parameters)}), not ({', '.join(sorted(given))})."
            )
        return [given[name] for name in self.parameters]


def query(name: str) -> Query:
    """The query of this name. Raises `KeyError` that suggests the names nearest to it."""
    found = all_queries().get(name)
    if found is None:
        near = get_close_matches(name, all_queries(), n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise KeyError(f"There is no query named {name!r} in schemas/sql/queries.{hint}")
    return found


@cache
def all_queries() -> dict[str, Query]:
    """Every named query, by name."""
    folder = files("schemas").joinpath("sql", "queries")
    sources = [(entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir()]
    return parse_queries((name, text) for name, text in sorted(sources) if name.endswith(".sql"))


def parse_queries(sources: Iterable[tuple[str, str]]) -> dict[str, Query]:
    """Queries of (file name, text) pairs. Raises `QueryFileError` for SQL without a name or a name used twice."""
    found: dict[str, Query] = {}
    for file, text in sources:
        preface, *pairs = _NAME.split(text)
        if _without_comments(preface).strip():
            raise QueryFileError(f"{file} has SQL before its first `-- name:` line.")
        for name, body in zip(pairs[::2], pairs[1::2], strict=True):
            if name in found:
                raise QueryFileError(f"{file} names the query {name} a second time.")
            found[name] = _parse(file, name, body)
    return found


def _parse(file: str, name: str, body: str) -> Query:
    comment, statement = [], body.strip().splitlines()
    while statement and statement[0].lstrip().startswith("--"):
        comment.append(statement.pop(0).lstrip("- ").rstrip())
    sql = "\n".join(statement).strip().removesuffix(";")
    if not comment or not sql:
        raise QueryFileError(f"The query {name} in {file} needs a sentence that says why, and a statement.")
    numbered, make_values = to_statement(sql)
    wanted: defaultdict[str, None] = defaultdict(lambda: None)
    make_values(wanted)  # asks for each parameter, in the order of the numbers
    return Query(name, " ".join(comment), numbered, tuple(wanted))


def _without_comments(text: str) -> str:
    return re.sub(r"--.*", "", text)
