"""The OpenAPI 3.1 document, made of the dashboard's routes and of `models`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from functions.dashboard.api import FILTERS, SORTS
from functions.dashboard.filters import FAMILIES
from functions.dashboard.history import LOGS
from functions.dashboard.main import ROUTES
from functions.dashboard.routes import ONCE, Route
from infra.openapi import models
from shared.domain.entities import KINDS, NAME_CHARACTERS

FILE = Path(__file__).resolve().parents[2] / "functions" / "dashboard" / "openapi.json"
Json = dict[str, Any]

ID: Json = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"}
ORDINAL: Json = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
MOMENT: Json = {"type": "string", "format": "date-time"}


def _limit(most: int, default: int) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": most, "default": default}


def _choice(values: Iterable[str]) -> Json:
    return {"type": "string", "enum": list(values)}


def _words(pattern: str, **more: Any) -> Json:
    """A string of this form; an empty one is none."""
    return {"type": "string", "pattern": f"^({pattern})?$", **more}


def _cursor(of: str) -> tuple[str, Json, str]:
    return ("cursor", {"type": "string", "format": f"{of}-cursor"}, "where the last page ended: its `next_cursor`")


# What a parameter says. Cursors and folders are formats of ours: which there are is found out by asking.
STATE = ("state", _choice(["", *FILTERS]), "only files in this state")
SINCE = {"anyOf": [{"const": ""}, MOMENT]}
SORT = ("sort", _choice(["", *SORTS]), "in which order; `state`: the newest change of state first")
DAY = {"anyOf": [{"const": ""}, {"type": "string", "format": "date"}, MOMENT]}
NARROWED = (
    ("type", _words(f"({'|'.join(FAMILIES)})(,({'|'.join(FAMILIES)})){{0,20}}"), "kinds, with commas between"),
    ("folder", {"type": "string", "format": "folder"}, "the id of a folder of the person; everything below it"),
    ("owner", _words("me|[A-Za-z0-9.+-]{1,60}@[A-Za-z0-9.-]{1,60}"), "an e-mail address, or `me`"),
    ("from", DAY, "a day, or a moment with its zone: modified then or later"),
    ("to", DAY, "a day, the last one included, or a moment"),
    ("drive", _words("[A-Za-z0-9_-]{1,128}"), "the id of a shared drive, or `my-drive`"),
    (
        "entity",
        _words(f"({'|'.join(KINDS)}):[^\\s\\x00]([^\\x00]{{0,198}}[^\\s\\x00])?"),
        "`kind:name` of what is named",
    ),
)
PLACE = (
    ("file_id", ID, "the file of the passage"),
    ("index", {**ORDINAL, "default": 0}, "its chunk"),
    ("ordinal", {**ORDINAL, "default": 0}, "its place in the chunk"),
)


@dataclass(frozen=True)
class Operation:
    """One door: what it is for, what it takes and what it answers."""

    summary: str
    answer: type[BaseModel] | None
    status: int = 200
    query: tuple[tuple[str, Json, str], ...] = ()
    required: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)
    media: str = "application/json"
    who: str = "person"  # or everybody, or service


_OTHER_ORDER = {422: "The cursor goes on in another order."}
_NO_FILE = {404: "The person has no such file."}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/api/status"): Operation(
        "How far it is", models.Status, query=(("since", SINCE, "counts what was done since then"),)
    ),
    ("GET", "/api/files"): Operation(
        "A page of files",
        models.Files,
        query=(STATE, SORT, _cursor("files"), ("limit", _limit(200, 50), "files of a page")),
        refusals=_OTHER_ORDER,
    ),
    ("GET", "/api/files/{file_id}"): Operation("Everything about one file", models.FileInFull, refusals=_NO_FILE),
    ("GET", "/api/files/{file_id}/passages"): Operation(
        "What was read in a file",
        models.Passages,
        query=(_cursor("passages"), ("limit", _limit(200, 50), "passages of a page")),
        refusals=_NO_FILE,
    ),
    ("GET", "/api/activity"): Operation(
        "What happened to files",
        models.Activity,
        query=(_cursor("activity"), ("limit", _limit(200, 50), "events of a page")),
    ),
    ("GET", "/api/audit"): Operation(
        "What was done in the person's name",
        models.Audit,
        query=(
            _cursor("audit"),
            ("limit", _limit(200, 50), "entries of a page"),
            ("file_id", _words(ID["pattern"][1:-1]), "of one file"),
        ),
    ),
    ("GET", "/api/export/{log}/{form}"): Operation(
        "A whole log as a file",
        None,
        media="text/csv, application/json",
        refusals={404: "There is no such log."},
    ),
    ("GET", "/api/freshness"): Operation("How long changes took into search", models.FreshnessDays),
    ("GET", "/api/folders"): Operation(
        "The folders in a folder, or the outermost ones",
        models.Folders,
        query=(("parent", _words(ID["pattern"][1:-1]), "the folder they are in"),),
    ),
    ("GET", "/api/health"): Operation("Whether everything is well, part by part", models.Checks),
    ("POST", "/api/files/{file_id}/retry"): Operation(
        "Look at a file again", models.Asked, 202, refusals={**_NO_FILE, 409: "A folder has no text of its own."}
    ),
    ("GET", "/api/jobs/{job_id}"): Operation(
        "The reading of one revision", models.Job, refusals={404: "There is no such job."}
    ),
    ("GET", "/api/search"): Operation(
        "Search by words and by meaning",
        models.Found,
        query=(
            ("q", {"type": "string", "minLength": 1, "maxLength": 500}, "what is looked for"),
            ("limit", _limit(50, 10), "how many results"),
            *NARROWED,
        ),
        required=("q",),
        refusals={422: "The time to search in ends before it begins."},
    ),
    ("GET", "/api/search/similar"): Operation(
        "More like one place",
        models.Similar,
        query=(*PLACE, ("limit", _limit(50, 10), "how many results")),
        required=("file_id",),
        refusals={404: "There is no such passage."},
    ),
    ("GET", "/api/entities"): Operation(
        "Who and what is named",
        models.Entities,
        query=(
            ("kind", _choice(["", *KINDS]), "only of this kind"),
            ("q", {"type": "string", "maxLength": NAME_CHARACTERS}, "a part of the name"),
            _cursor("entities"),
            ("limit", _limit(100, 50), "entities of a page"),
        ),
    ),
    ("GET", "/api/costs"): Operation("What it costs", models.Costs),
    ("GET", "/api/forecast"): Operation("What reading will take, beside what it took", models.Forecast),
    ("POST", "/api/start"): Operation("Begin to read", models.Started, 202),
    ("GET", "/api/settings"): Operation("What the person has chosen", models.Settings),
    ("PUT", "/api/settings"): Operation(
        "Choose folders and caps",
        models.Settings,
        202,
        body=models.ChangeSettings,
        refusals={412: "They are not those of `If-Match` any more.", 413: "The request is too large."},
    ),
    ("GET", "/api/events"): Operation(
        "The status as it changes, as server-sent events", None, media="text/event-stream"
    ),
    ("GET", "/api/openapi.json"): Operation("This document", None, who="everybody"),
    ("POST", "/api/connect"): Operation(
        "Where the consent begins", models.ConnectLink, who="everybody", refusals={303: "A browser is sent there."}
    ),
    ("POST", "/api/disconnect"): Operation("Disconnect and erase everything", models.Receipt, 202),
    ("POST", "/api/connections"): Operation(
        "A link by which a person of another dashboard connects",
        models.DriveConnection,
        201,
        body=models.DriveConnectionRequest,
        who="service",
        refusals={413: "The request is too large."},
    ),
    ("GET", "/api/drive/files"): Operation(
        "The same files as `/api/files`, in the form of another dashboard",
        models.DriveFiles,
        query=(STATE, SORT, _cursor("files"), ("limit", _limit(200, 50), "files of a page")),
        refusals=_OTHER_ORDER,
    ),
    ("GET", "/api/drive/job"): Operation("How far the reading of the Drive is", models.DriveJobStatus),
    ("GET", "/healthz"): Operation(
        "Whether it is well", models.Health, who="everybody", refusals={503: "The database does not answer."}
    ),
}


def document() -> Json:
    """The whole document."""
    _, defined = models_json_schema(
        [(one, "serialization") for one in _models()], by_alias=True, ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Json] = {}
    for route in ROUTES:
        asked = OPERATIONS.get((route.method, route.path))
        if asked is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, asked)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Drivestream",
            "version": "1",
            "description": "What Drivestream knows of one person's Google Drive. A page of a browser asks with its "
            "session's cookie; another dashboard's service account with Google's id token for this address, and with "
            "`Drivestream-Person`. Answers carry an ETag: ask again with `If-None-Match`. `retry` and "
            "`disconnect` with an `Idempotency-Key` are done once, however often they are sent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": defined["$defs"],
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
                "service": {"type": "http", "scheme": "bearer", "bearerFormat": "Google id token"},
            },
        },
    }


def written() -> str:
    """The document as it is kept."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _models() -> list[type[BaseModel]]:
    used = [one for asked in OPERATIONS.values() for one in (asked.answer, asked.body) if one is not None]
    return list(dict.fromkeys([models.Problem, *used]))


def _operation(route: Route, asked: Operation) -> Json:
    made: Json = {
        "operationId": route.story.__module__.rpartition(".")[2] + "_" + route.story.__name__,
        "summary": asked.summary,
        "parameters": [*_of_path(route), *_of_query(asked), *_of_headers(route, asked)],
        "responses": _responses(route, asked),
        "security": {"person": [{"session": []}, {"service": []}], "service": [{"service": []}], "everybody": []}[
            asked.who
        ],
    }
    if asked.body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _named(asked.body)}}}
    return made


def _of_path(route: Route) -> list[Json]:
    schemas = {
        "file_id": ID,
        "job_id": {"type": "string", "format": "uuid"},
        "log": _choice(LOGS),
        "form": _choice(["csv", "json"]),
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": schemas[name]}
        for name in schemas
        if f"{{{name}}}" in route.path
    ]


def _of_query(asked: Operation) -> list[Json]:
    return [
        {"name": name, "in": "query", "description": about, "required": name in asked.required, "schema": schema}
        for name, schema, about in asked.query
    ]


def _of_headers(route: Route, asked: Operation) -> list[Json]:
    found = []
    if asked.who != "everybody" and asked.who != "service":
        found.append(("Drivestream-Person", "^[!-~]{1,128}$", "whom a service means"))
    if route.path in ONCE:
        found.append(("Idempotency-Key", "^[!-~]{1,255}$", "one answer, however often this is sent"))
    return [
        {"name": name, "in": "header", "description": about, "schema": {"type": "string", "pattern": pattern}}
        for name, pattern, about in found
    ]


def _responses(route: Route, asked: Operation) -> Json:
    schema: Json = _named(asked.answer) if asked.answer is not None else {}
    media = {"schema": schema} if schema else {}
    good: Json = {"description": asked.summary, "content": dict.fromkeys(asked.media.split(", "), media)}
    said = {400: "Something that was asked cannot be.", 429: "Too fast.", 503: "Not now."}
    if asked.who != "everybody":
        said |= {401: "Nobody is signed in.", 403: "Not by this caller, or from another site's page."}
    if route.path in ONCE:
        said |= {409: "It is being answered already.", 422: "The key was used for another request."}
    if route.method == "GET" and "application/json" in asked.media:
        said[304] = "The caller has it already."
    said |= dict(asked.refusals)
    problem = {"application/problem+json": {"schema": _named(models.Problem)}}
    responses: Json = {str(asked.status): good}
    for status, about in sorted(said.items()):
        responses[str(status)] = {"description": about, **({"content": problem} if status >= 400 else {})}
    if "{" in route.path:  # of a path that is none, the server itself says so
        responses["404"]["content"] = {**problem, "text/html": {}}
    if (route.method, route.path) == ("GET", "/healthz"):
        responses["503"]["content"] = {"application/json": {"schema": schema}}
    return responses


def _named(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
