"""The dashboard as it is served, on a real Postgres, with people and files that a test puts there by SQL."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import functions_framework
import google.auth
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1
from google.protobuf.message import Message
from werkzeug.serving import WSGIRequestHandler, make_server

from infra.local.ai.lexical import embed
from infra.local.ai.vertex import VertexServer
from infra.local.postgres import PostgresServer
from infra.local.pubsub import PubSubServer, topology
from infra.migrate import prepare
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.tick_pb2 import Tick
from shared.adapters import pubsub
from shared.adapters.postgres import connect_to_url
from shared.config import Settings, settings
from shared.domain.terms import extra_terms
from tests.scratch_postgres import scratch_postgres

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "dashboard-test"
MODEL = "lexical-hashing-001"
CONNECT = "http://127.0.0.1:9"  # nobody is there: a browser that is sent there has left us
_numbers = count(1)

Passage = str | tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in."""

    user_id: UUID
    email: str
    session: str


@dataclass
class World:
    """A served dashboard and what is behind it."""

    url: str
    admin: Any  # a connection of somebody whom no policy holds
    vertex: VertexServer
    subscriber: Any
    _http: requests.Session = field(default_factory=requests.Session)

    def sql(self, statement: str, *values: Any) -> list[list[Any]]:
        """Run a statement as the administrator, at once."""
        cursor = self.admin.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []

    def ask(self, method: str, path: str, person: Person | None = None, **more: Any) -> requests.Response:
        """One request, redirects not followed, as a program would make it."""
        cookies = {"session": person.session} if person else {}
        more.setdefault("timeout", 30)
        self._http.cookies.clear()  # who asks is said each time
        return self._http.request(method, self.url + path, cookies=cookies, allow_redirects=False, **more)

    def get(self, path: str, person: Person | None = None, **more: Any) -> requests.Response:
        return self.ask("GET", path, person, **more)

    def page(self, path: str, person: Person | None = None) -> requests.Response:
        """The same as a browser asks for it."""
        return self.get(path, person, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    # People and files -----------------------------------------------------------------------------------------------

    def code_for(self, user_id: UUID, seconds: float = 60.0) -> str:
        """A one-time code as the consent door gives it."""
        code = secrets.token_urlsafe(32)
        self.sql(
            "INSERT INTO signin_codes VALUES (%s, %s, app_now() + make_interval(secs => %s))",
            _hash(code), user_id, seconds,
        )  # fmt: skip
        return code

    def person(self, name: str = "ada") -> Person:
        """Somebody new, signed in through the door."""
        email = f"{name}{next(_numbers)}@example.com"
        [[user_id]] = self.sql(
            "INSERT INTO users (google_sub, email, name) VALUES (%s, %s, %s) RETURNING user_id",
            uuid4().hex,
            email,
            name,
        )
        answer = self.get(f"/signin?code={self.code_for(user_id)}")
        assert answer.status_code == 303, answer.text
        return Person(user_id, email, answer.cookies["session"])

    def file(self, person: Person, name: str, passages: Sequence[Passage] = (), **columns: Any) -> str:
        """A file with one passage for each text; columns of `gdrive_files` say the rest. Returns its id."""
        file_id, job_id = columns.pop("file_id", None) or f"file{next(_numbers):06}", uuid4()
        row = {
            "user_id": person.user_id,
            "file_id": file_id,
            "name": name,
            "mime_type": "text/plain",
            "size": 1234,
            "state": "indexed" if passages else "queued",
            "web_view_link": f"https://drive.google.com/file/d/{file_id}/view",
            "wanted_job": job_id if passages else None,
            "current_job": job_id if passages else None,
            **columns,
        }
        if row["state"] == "indexed":
            row.setdefault("indexed_at", self.sql("SELECT app_now()")[0][0])
        names = ", ".join(row)
        marks = ", ".join(["%s"] * len(row))
        self.sql(f"INSERT INTO gdrive_files ({names}) VALUES ({marks})", *row.values())
        if passages:
            self._passages(person, file_id, job_id, passages)
        return str(file_id)

    def _passages(self, person: Person, file_id: str, job_id: UUID, passages: Sequence[Passage]) -> None:
        self.sql(
            "INSERT INTO gdrive_jobs (job_id, user_id, file_id, content_key, pipeline_version, state, expected_chunks, "
            "finished_chunks, bytes_read) VALUES (%s, %s, %s, %s, '1', 'finished', 1, 1, 4321)",
            job_id, person.user_id, file_id, f"sha256:{job_id}",
        )  # fmt: skip
        self.sql(
            "INSERT INTO gdrive_chunks (job_id, index, user_id, kind, passages) VALUES (%s, 0, %s, 'text', %s)",
            job_id, person.user_id, len(passages),
        )  # fmt: skip
        for ordinal, passage in enumerate(passages):
            text, locator = passage if isinstance(passage, tuple) else (passage, {"line_first": ordinal + 1})
            vector = "[" + ",".join(map(str, embed(text, 768))) + "]"
            self.sql(
                "INSERT INTO memories (job_id, index, ordinal, user_id, file_id, passage, terms, locator, hash, model, "
                "embedding) VALUES (%s, 0, %s, %s, %s, %s, %s, CAST(%s AS jsonb), %s, %s, CAST(%s AS halfvec))",
                job_id, ordinal, person.user_id, file_id, text, extra_terms(text), json.dumps(locator), _hash(text),
                MODEL, vector,
            )  # fmt: skip

    def names(self, file_id: str, *entities: tuple[str, str], passage: int = 0) -> None:
        """Entities (kind, name) of a file's passage, where they stand in it."""
        for kind, name in entities:
            self.sql(
                "INSERT INTO entities SELECT job_id, index, ordinal, user_id, file_id, %s, %s, "
                "position(%s IN passage) - 1, position(%s IN passage) - 1 + length(%s) "
                "FROM memories WHERE file_id = %s AND ordinal = %s",
                kind, name, name, name, name, file_id, passage,
            )  # fmt: skip

    def relates(self, file_id: str, subject: str, predicate: str, target: str) -> None:
        """A relation of two of a file's entities."""
        self.sql(
            "INSERT INTO relations SELECT s.job_id, s.index, s.ordinal, s.user_id, s.file_id, %s, s.kind, s.starts, "
            "s.ends, o.kind, o.starts, o.ends FROM entities s JOIN entities o USING (job_id, index, ordinal) "
            "WHERE s.file_id = %s AND s.name = %s AND o.name = %s",
            predicate, file_id, subject, target,
        )  # fmt: skip

    def remembers(self, person: Person, file_id: str, *events: str) -> None:
        """Events of a file and readings of it, and what they cost."""
        for event in events or ("announced", "seen", "read", "understood"):
            self.sql(
                "INSERT INTO file_events (user_id, file_id, event, detail) VALUES (%s, %s, %s, 'as a test says')",
                person.user_id, file_id, event,
            )  # fmt: skip
        for why in ("changed", "asked"):
            self.sql(
                "INSERT INTO gdrive_audit_log (user_id, action, file_id, revision, bytes, why, outcome) "
                "VALUES (%s, 'read', %s, '1', 1234, %s, 'ok')",
                person.user_id, file_id, why,
            )  # fmt: skip
        self.sql(
            "INSERT INTO costs (user_id, file_id, drive_units, drive_bytes, ocr_pages, embedded_tokens) "
            "VALUES (%s, %s, 205, 1234, 3, 456) ON CONFLICT DO NOTHING",
            person.user_id, file_id,
        )  # fmt: skip

    # Messages -------------------------------------------------------------------------------------------------------

    def said(self, subscription: str) -> list[Message]:
        """What was published and not looked at yet: `file-streamer` takes FileChanged, `channel-renewer` Tick."""
        kinds: dict[str, Any] = {"file-streamer": FileChanged, "channel-renewer": Tick}
        path = f"projects/{PROJECT}/subscriptions/{subscription}"
        with pytest.warns(DeprecationWarning, match="return_immediately"):
            answer = self.subscriber.pull(
                request={"subscription": path, "max_messages": 100, "return_immediately": True}, timeout=10
            )
        if answer.received_messages:
            ids = [received.ack_id for received in answer.received_messages]
            self.subscriber.acknowledge(request={"subscription": path, "ack_ids": ids})
        return [kinds[subscription].FromString(received.message.data) for received in answer.received_messages]


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """The function logs its own requests."""


@contextmanager
def serve(postgres: PostgresServer, folder: Path, **more: str) -> Iterator[World]:
    """A dashboard on a database of its own, with `more` settings. Everything is put back afterwards."""
    name = f"dashboard_{next(_numbers)}_{uuid4().hex[:6]}"
    maintenance = connect_to_url(postgres.url_for("postgres", "postgres"))
    maintenance.execute_simple(f"CREATE DATABASE {name} TEMPLATE drivestream")
    admin_url = postgres.url_for("postgres", name)
    prepare(admin_url)
    vertex, broker = VertexServer(), PubSubServer(folder / "pubsub", project=PROJECT)
    vertex.start()
    broker.start()
    source = str(ROOT / "functions" / "dashboard" / "main.py")
    app = functions_framework.create_app("dashboard", source, "http")
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    url = f"http://127.0.0.1:{server.server_port}"
    environment = {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "DATABASE_URL": postgres.url_for("drivestream_dashboard", name),
        "DASHBOARD_URL": url,
        "CONNECT_URL": CONNECT,
        "VERTEX_ENDPOINT": vertex.url,
        "EMBEDDING_MODEL": MODEL,
        "PUBSUB_EMULATOR_HOST": broker.url,
        "RETRY_BASE_SECONDS": "0.05",
        **more,
    }
    described = json.loads((ROOT / "infra" / "topology.json").read_text())
    topology.apply(
        broker.url, PROJECT, described, {}, schema_dir=ROOT / "schemas" / "messages", audience="", service_account=""
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        # Another stack of tests may run in this process: nothing of where it points may be left.
        pointers = {field.name.upper() for field in fields(Settings)} | {"GOOGLE_CLOUD_UNIVERSE_DOMAIN"}
        for key in pointers | {"GOOGLE_APPLICATION_CREDENTIALS", "FIRESTORE_EMULATOR_HOST"}:
            patch.delenv(key, raising=False)
        for key, value in environment.items():
            patch.setenv(key, value)
        patch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), PROJECT))  # type: ignore[no-untyped-call]
        _forget()
        thread.start()
        subscriber = pubsub_v1.SubscriberClient()
        admin = connect_to_url(admin_url)
        admin.autocommit = True
        world = World(url, admin, vertex, subscriber)
        world._http.trust_env = False
        try:
            yield world
        finally:
            admin.close()
            world._http.close()
            subscriber.close()
            server.shutdown()
            thread.join()
            server.server_close()
            vertex.stop()
            broker.stop()
            maintenance.execute_simple(f"DROP DATABASE {name} WITH (FORCE)")
            maintenance.close()
            _forget()


@contextmanager
def dashboard_alone() -> Iterator[World]:
    """A dashboard with a Postgres of its own, for a program that asks as fast as it can: no bound, and no log."""
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_postgres() as postgres,
        serve(postgres, Path(folder), REQUESTS_PER_MINUTE="0", SEARCHES_PER_MINUTE="0") as world,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        yield world


def _forget() -> None:
    """What a process keeps: its settings and its clients."""
    settings.cache_clear()
    pubsub._clients.clear()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
