"""What the code needs of a project, read from its source: settings, services, topics, connections."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from schemas.messages.tick_pb2 import Tick
from shared.adapters.documents import Collections
from shared.config import Settings
from shared.domain import names

ROOT = Path(__file__).resolve().parents[2]
_OWN = ("functions", "shared", "schemas")
_DUTIES = [name.lower() for name in Tick.Duty.keys() if name != "DUTY_UNSPECIFIED"]  # noqa: SIM118 - no dictionary
# How a service is known by what is read or loaded for it.
_SIGNS = {
    "cloud_sql": {"CLOUD_SQL_INSTANCE"},
    "document_ai": {"DOCUMENTAI_ENDPOINT"},
    "vertex_ai": {"VERTEX_ENDPOINT"},
    "firestore": {"FIRESTORE_ENDPOINT", "google.cloud.firestore"},
}
_POOL = re.compile(r"\bDatabase\(settings\(\)")
_LOGIN = re.compile(r"\['drivestream_(\w+)', 'drivestream_\w+'\]")


@dataclass(frozen=True)
class Function:
    """What one function needs."""

    reads: frozenset[str]  # environment variables
    touches: frozenset[str]
    publishes: frozenset[str]
    pools: int  # of database connections


@dataclass(frozen=True)
class Code:
    """What all of it needs."""

    functions: dict[str, Function]
    settings: frozenset[str]
    topics: frozenset[str]
    messages: frozenset[str]  # files of schemas/messages
    duties: frozenset[str]
    collections: frozenset[str]  # of Firestore, that forget by a time
    logins: frozenset[str]  # functions that schemas/sql/roles.sql knows


def read_code() -> Code:
    """All that is needed, from the source as it is."""
    return Code(
        functions={path.parent.name: _function(path.parent.name) for path in ROOT.glob("functions/*/main.py")},
        settings=frozenset(_settings()),
        topics=frozenset(_topics().values()),
        messages=frozenset(path.name for path in ROOT.glob("schemas/messages/*.proto")),
        duties=frozenset(_DUTIES),
        collections=frozenset(Collections) - {Collections.CONNECTIONS, Collections.CURSORS},  # these stay
        logins=frozenset(_LOGIN.findall((ROOT / "schemas" / "sql" / "roles.sql").read_text())) - {"app"},
    )


def _function(name: str) -> Function:
    modules = _reached(name)
    reads = {
        node.attr.upper()
        for module in modules - {"shared.config"}
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Attribute) and node.attr.upper() in _settings()
    }
    loads = {found for module in modules for found in _imports(module)}
    own = [path.read_text() for path in (ROOT / "functions" / name).rglob("*.py")]
    words = {word for text in own for word in re.findall(r"\b[A-Z_]+\b", text)}
    return Function(
        reads=frozenset(reads),
        touches=frozenset(service for service, signs in _SIGNS.items() if signs & (reads | loads)),
        # Pub/Sub itself says dead letters; here they are only listened to.
        publishes=frozenset(topic for word, topic in _topics().items() if word in words and word != "DEAD_LETTERS"),
        pools=sum(len(_POOL.findall(text)) for text in own),
    )


@cache
def _settings() -> frozenset[str]:
    return frozenset(field.name.upper() for field in fields(Settings))


@cache
def _topics() -> dict[str, str]:
    wanted = ("SYNC_REQUESTS", "FILE_CHANGES", "FILE_BACKFILL", "FILE_CHUNKS", "TICKS", "DEAD_LETTERS")
    return {word: getattr(names, word) for word in wanted}


def _reached(function: str) -> frozenset[str]:
    """Our modules that a function loads, now or on first use."""
    waiting, seen = [f"functions.{function}.main"], set[str]()
    while waiting:
        name = waiting.pop()
        while name and (name.split(".")[0] not in _OWN or _file(name) is None):  # a name inside a module
            name = name.rpartition(".")[0]
        while name and name not in seen:  # loading a module loads its packages
            seen.add(name)
            waiting += _imports(name)
            name = name.rpartition(".")[0]
    return frozenset(module for module in seen if _file(module))


def _imports(module: str) -> frozenset[str]:
    return frozenset(_imports_in(_tree(module)))


def _imports_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports_in(child)


@cache
def _tree(module: str) -> ast.Module:
    path = _file(module)
    return ast.parse(path.read_text()) if path else ast.Module([], [])


def _file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
