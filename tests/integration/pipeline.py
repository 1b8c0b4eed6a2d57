"""The pipeline whole: every local stand-in, a real Postgres and the real functions, in this process.

One stack serves all tests of a worker, and each test connects people of its own, so that nobody waits for a start.
Nothing is mocked: what must go wrong is injected at the wire.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urljoin

import functions_framework
import pytest
import requests
from cryptography.fernet import Fernet
from google.cloud import pubsub_v1
from google.protobuf.message import Message
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from functions.dashboard.filters import Filters
from functions.dashboard.search import question
from infra.local.ai.documentai import DocumentAiServer
from infra.local.ai.vertex import VertexServer
from infra.local.firestore.server import FirestoreServer
from infra.local.google import GoogleServer
from infra.local.google.keys import UNIVERSE
from infra.local.postgres import PostgresServer
from infra.local.pubsub import topology
from infra.local.pubsub.server import PubSubServer
from infra.local.secrets import SecretManagerServer
from schemas.messages.file_chunk_pb2 import FileChunk
from schemas.messages.sync_requested_pb2 import SyncRequested
from schemas.messages.tick_pb2 import Tick
from shared import config
from shared.adapters import documents, firestore, google_requests, publish_requests, pubsub
from shared.adapters.postgres import Database, connect_to_url
from shared.adapters.pubsub import Outbox
from shared.config import Settings
from shared.domain.names import FILE_BACKFILL, FILE_CHANGES, FILE_CHUNKS, MY_DRIVE, SYNC_REQUESTS, TICKS
from tests.contract.pdfs import number_on
from tests.integration.tallied import wrongly_counted
from tests.scratch_postgres import copy_new_database

T = TypeVar("T")
S = TypeVar("S")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "drivestream-test"
PUSHER = f"pusher@{PROJECT}.iam.gserviceaccount.com"
AUDIENCE = "drivestream"
CLIENT_ID = "drivestream-test.apps.example"
PATIENCE = 60.0  # seconds until a condition that never comes true fails its test
FUNCTIONS = (
    "oauth_callback", "drive_webhook", "change_lister", "file_streamer", "ai_processor", "channel_renewer", "dashboard",
)  # fmt: skip
TAPPED = (SYNC_REQUESTS, FILE_CHANGES, FILE_BACKFILL, FILE_CHUNKS, TICKS)
AT_REST = {"indexed", "skipped", "failed", "deleted", "folder"}
# Each table that knows whose its rows are.
PERSONAL = (
    "users", "user_google_credentials", "settings", "signin_codes", "sessions", "gdrive_files", "gdrive_jobs",
    "gdrive_chunks", "memories", "entities", "relations", "gdrive_webhooks", "file_events", "costs", "forecasts",
    "reservations", "paid_pages", "paid_vectors", "pauses", "gdrive_audit_log", "gdrive_censuses",
    "gdrive_census_findings", "idempotent_requests", "vouched_people", "tallies",
)  # fmt: skip


class _Quiet(WSGIRequestHandler):
    """The functions log their own requests."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@dataclass
class Person:
    """A test person with a Drive of their own. `user_id` is empty until they connect."""

    email: str
    folder: Path
    user_id: str = ""
    pipeline: Pipeline = field(repr=False, default=None)  # type: ignore[assignment]

    def put(self, name: str, content: str | bytes) -> str:
        """Write a file into the person's Drive; its id."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.pipeline.google.scan()
        return self.id_of(name)

    def id_of(self, name: str) -> str:
        """The Drive id of a file by its path in this person's Drive."""
        return self.pipeline.google.id_of(f"{self.folder.name}/{name}")

    def rename(self, name: str, new: str) -> None:
        """Rename or move, as a person does in Drive."""
        (self.folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).rename(self.folder / new)
        self.pipeline.google.scan()

    def remove(self, name: str) -> None:
        """Delete for good."""
        (self.folder / name).unlink()
        self.pipeline.google.scan()


class Pipeline:
    """Everything that runs, and what a test does with it."""

    place: str | None = None  # the folder for everything that is kept meanwhile

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="drivestream-pipeline-", dir=self.place))
        self.root.chmod(0o711)  # as root, Postgres is somebody else
        self.drive = self.root / "drive"
        self.drive.mkdir()
        self._people: list[Person] = []
        self._teams: dict[str, tuple[Person, ...]] = {}
        self._numbers = count(1)
        self._write_layout()
        self._doors: dict[str, BaseWSGIServer] = {}
        self._modules: list[ModuleType] = []
        self._running: list[Any] = []
        self._before = dict(os.environ)
        forget_clients()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        data = self.root / "data"
        data.mkdir(mode=0o711)
        described = json.loads((ROOT / "infra" / "topology.json").read_text())
        for name in FUNCTIONS:
            app = functions_framework.create_app(name, str(ROOT / "functions" / name / "main.py"), "http")
            self._modules.append(sys.modules["main"])  # the name under which the framework loads each
            door = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
            door.daemon_threads = True  # type: ignore[attr-defined]
            self._doors[name] = door
            threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        copy_new_database(data / "postgres")
        self.postgres = self._run(PostgresServer(data / "postgres", durable=False))
        self.client_secret = client_secret = f"GOCSPX-{secrets.token_urlsafe(24)}"
        callback = [self.url("oauth_callback") + "/callback"]
        self.google = self._run(
            GoogleServer(
                self.drive,
                data / "google",
                approve=True,
                client_id=CLIENT_ID,
                client_secret=client_secret,
                redirect_uris=callback,
            )
        )
        firestore_terms = described["firestore"]
        self.firestore = self._run(
            FirestoreServer(
                data / "firestore",
                indexes=firestore_terms["indexes"],
                ttl=firestore_terms["ttl"],
                clock=self.google.faults.now,
            )
        )
        self.pubsub = self._run(
            PubSubServer(
                data / "pubsub", project=PROJECT, sign=self.google.sign, issuer=self.google.url, backoff_scale=0.005
            )
        )
        self.vault = self._run(SecretManagerServer(data / "secrets", project=PROJECT))
        self.vault.put("oauth-client-secret", client_secret.encode())
        self.token_key = Fernet.generate_key()
        self.vault.put("token-keys", self.token_key)
        self.vertex = self._run(VertexServer(data / "vertex"))
        self.documents = self._run(DocumentAiServer(data / "documents"))
        os.environ.update(self._environment())
        config.settings.cache_clear()
        topology.apply(
            self.pubsub.url,
            PROJECT,
            described,
            {name: self.url(name) for name in FUNCTIONS if name != "dashboard"},
            schema_dir=ROOT / "schemas" / "messages",
            audience=AUDIENCE,
            service_account=PUSHER,
        )
        self._admin = connect_to_url(self.postgres.admin_url)
        self._subscriber = pubsub_v1.SubscriberClient()
        for topic in TAPPED:
            self._subscriber.create_subscription(
                name=f"projects/{PROJECT}/subscriptions/tap-{topic}", topic=f"projects/{PROJECT}/topics/{topic}"
            )

    def _run(self, server: S) -> S:
        server.start()  # type: ignore[attr-defined]
        self._running.append(server)
        return server

    def _environment(self) -> dict[str, str]:
        return {
            **self.google.settings(),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.google.service_account_file()),
            "PUBSUB_EMULATOR_HOST": self.pubsub.url,
            "PUBSUB_ENDPOINT": self.pubsub.rest_url,
            "FIRESTORE_EMULATOR_HOST": self.firestore.url,
            "FIRESTORE_ENDPOINT": self.firestore.rest_url,
            "DATABASE_URL": self.postgres.url_for("drivestream_app"),
            "CONNECT_URL": self.url("oauth_callback"),
            "DASHBOARD_URL": self.url("dashboard"),
            "FIRST_SYNC": "start",
            "WEBHOOK_URL": "",  # nobody is notified, so that a test decides itself when somebody looks
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": f"projects/{PROJECT}/secrets/oauth-client-secret/versions/latest",
            "TOKEN_KEYS_SECRET": f"projects/{PROJECT}/secrets/token-keys/versions/latest",
            "PUSH_SERVICE_ACCOUNT": PUSHER,
            "PUSH_AUDIENCE": AUDIENCE,
            "SECRETMANAGER_ENDPOINT": self.vault.url,
            "VERTEX_ENDPOINT": self.vertex.url,
            "VERTEX_LOCATION": "local",
            "EMBEDDING_MODEL": "lexical-hashing-001",
            "EMBEDDING_TEXTS_PER_REQUEST": "100",
            "DOCUMENTAI_ENDPOINT": self.documents.url,
            "DOCUMENTAI_PROCESSOR": f"projects/{PROJECT}/locations/local/processors/ocr/processorVersions/local",
            "RETRY_BASE_SECONDS": "0.02",
        }

    def stop(self) -> None:
        """Stop everything and leave the process as it was."""
        for door in self._doors.values():
            door.shutdown()
            door.server_close()
        if hasattr(self, "_subscriber"):
            self._subscriber.close()
            self._admin.close()
        forget_clients()
        while self._running:
            self._running.pop().stop()
        for name in set(os.environ) - set(self._before):
            del os.environ[name]
        os.environ.update(self._before)
        shutil.rmtree(self.root, ignore_errors=True)

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """The database is stopped, and started anew with all that it had."""
        port = self.postgres.port
        self._admin.close()
        self.postgres.stop()
        try:
            yield
        finally:
            self.postgres.start(port)
            self._admin = connect_to_url(self.postgres.admin_url)

    def heal(self) -> None:
        """No faults, nothing on its way, and nothing remembered of it."""
        self.google.faults.heal()
        self.pubsub.faults.clear()
        self.vertex.faults.clear()
        self.documents.faults.clear()
        self.firestore.faults.delay("Commit", 0.0)
        self.sql("DELETE FROM pressure")

    def retire(self) -> None:
        """Let the caretaker do nothing more for those who are here: what it does for everybody, it would do for the
        hundred people of all tests before."""
        self.sql("UPDATE users SET status = 'reconnect_needed' WHERE status = 'active'")

    # Settings ---------------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What the functions read now."""
        return config.settings()

    @contextmanager
    def setting(self, **values: object) -> Iterator[None]:
        """Other settings for a while, such as LEASE_SECONDS=1."""
        before = {name: os.environ.get(name) for name in values}
        os.environ.update({name: str(value) for name, value in values.items()})
        self._start_functions_anew()
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
            self._start_functions_anew()

    def _start_functions_anew(self) -> None:
        """Forget what the functions made of their settings, as a new instance has."""
        config.settings.cache_clear()
        for module in self._modules:
            for made in vars(module).values():
                if getattr(made, "__module__", "") == module.__name__ and hasattr(made, "cache_clear"):
                    if made.cache_info().currsize and isinstance(made(), Database):
                        made().close()
                    made.cache_clear()

    # People -----------------------------------------------------------------------------------------------------------

    def person(self, files: Mapping[str, str | bytes] | None = None, *, connect: bool = True) -> Person:
        """Somebody new with these files, connected and read to the end."""
        name = f"p{next(self._numbers)}"
        person = Person(f"{name}@example.com", self.drive / name, pipeline=self)
        person.folder.mkdir()
        self._people.append(person)
        self._write_layout()
        for path, content in (files or {}).items():
            (person.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (person.folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        self.google.scan()
        if connect:
            self.connect(person)
            self.settle()
        return person

    def connect(self, person: Person) -> requests.Response:
        """Walk through the consent as a browser does, up to the dashboard's door."""
        with browser() as session:
            begin = session.get(
                self.url("oauth_callback") + "/connect", params={"login_hint": person.email}, allow_redirects=False
            )
            consent = session.get(begin.headers["Location"], allow_redirects=False)
            address = urljoin(begin.headers["Location"], consent.headers["Location"])
            answer = session.get(address, allow_redirects=False)
        found = self.sql(f"SELECT user_id FROM users WHERE email = '{person.email}' AND status <> 'erasing'")
        person.user_id = str(found[0][0]) if found else ""
        return answer

    def share(self, owner: Person, name: str, *others: Person) -> str:
        """Share a file with others; its id."""
        file_id = owner.id_of(name)
        self.google.share(file_id, *(other.email for other in others))
        self.google.scan()
        return file_id

    def team(self, name: str, *members: Person, files: Mapping[str, str] | None = None) -> None:
        """A shared drive of these people: a new one, or with other members than before."""
        (self.drive / name).mkdir(exist_ok=True)
        for path, content in (files or {}).items():
            (self.drive / name / path).write_text(content)
        self._teams[name] = members
        self._write_layout()
        self.google.scan()

    def _write_layout(self) -> None:
        people = [{"email": one.email, "name": one.email, "folder": one.folder.name} for one in self._people]
        people = people or [{"email": "nobody@example.com", "name": "Nobody", "folder": "nobody"}]
        drives = [
            {"name": name, "folder": name, "members": [one.email for one in members]}
            for name, members in self._teams.items()
        ]
        (self.drive / ".drive.json.new").write_text(json.dumps({"people": people, "shared_drives": drives}))
        (self.drive / ".drive.json.new").replace(self.drive / ".drive.json")

    # Messages ---------------------------------------------------------------------------------------------------------

    def say(self, topic: str, message: Message) -> None:
        """Publish a message as a function does."""
        outbox = Outbox(self.settings)
        outbox.publish(topic, message)
        outbox.confirm()

    def sync(self, person: Person, reason: str = "TICK", corpus: str = MY_DRIVE) -> None:
        """Have a corpus read, and wait for the end of everything that follows."""
        self.google.scan()
        self.say(
            SYNC_REQUESTS,
            SyncRequested(user_id=person.user_id, corpus=corpus, reason=SyncRequested.Reason.Value(reason)),
        )
        self.settle()

    def tick(self, duty: str, user_id: str = "") -> None:
        """Let one duty of the caretaker be due, and wait for the end of everything that follows."""
        self.say(TICKS, Tick(duty=Tick.Duty.Value(duty.upper()), user_id=user_id))
        self.settle()

    def push(
        self, function: str, message: Message | bytes, *, attributes: Mapping[str, str] | None = None, attempt: int = 1
    ) -> requests.Response:
        """Deliver one message to a function directly, as Pub/Sub pushes it."""
        body = self.envelope(function, message, attributes=attributes, attempt=attempt)
        return self.post(function, json=body, headers={"Authorization": f"Bearer {self.push_token()}"})

    @staticmethod
    def envelope(
        function: str, message: Message | bytes, *, attributes: Mapping[str, str] | None = None, attempt: int = 1
    ) -> dict[str, Any]:
        """The body of such a push."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        return {
            "message": {
                "data": base64.b64encode(data).decode(),
                "attributes": dict(attributes or {}),
                "messageId": "1",
            },
            "subscription": f"projects/{PROJECT}/subscriptions/{function.replace('_', '-')}",
            "deliveryAttempt": attempt,
        }

    def post(self, function: str, **request: Any) -> requests.Response:
        """Any request to a function."""
        with browser() as session:
            return session.request(
                request.pop("method", "POST"), self.url(function) + request.pop("path", "/"), **request
            )

    def push_token(self, **claims: object) -> str:
        """The token that Pub/Sub's pushes bear."""
        return self.google.sign({"aud": AUDIENCE, "sub": "1", "email": PUSHER, "email_verified": True, **claims})

    def messages(self, topic: str, person: Person, message_type: Callable[[], Message]) -> list[Any]:
        """Everything said to a topic about a person since the last look, in order."""
        found: list[Any] = []
        name = f"projects/{PROJECT}/subscriptions/tap-{topic}"
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a flag that says just what is wanted here
                answer = self._subscriber.pull(subscription=name, max_messages=1000, return_immediately=True)
            if not answer.received_messages:
                return [one for one in found if one.user_id == person.user_id]
            for received in answer.received_messages:
                message = message_type()
                message.ParseFromString(received.message.data)
                found.append(message)
            self._subscriber.acknowledge(
                subscription=name, ack_ids=[received.ack_id for received in answer.received_messages]
            )

    def hold_lanes(self, subscription: str) -> None:
        """Deliver nothing to a function's subscription, nor to those of its other lanes, until they are released."""
        for name in self._lanes(subscription):
            self.pubsub.faults.hold(name)

    def release_lanes(self, subscription: str) -> None:
        """Deliver again."""
        for name in self._lanes(subscription):
            self.pubsub.faults.release(name)

    def _lanes(self, subscription: str) -> list[str]:
        return [name for name in self.pubsub.backlog() if name == subscription or name.startswith(f"{subscription}-")]

    def settle(self) -> None:
        """Wait until no message is on its way: every push has been answered for good. Whatever happened, what is
        counted as it changes is what is there."""
        wait_for(lambda: not self.backlog(), lambda: f"still on their way: {self.backlog()}")
        assert not wrongly_counted(self.sql)

    def backlog(self) -> dict[str, int]:
        """Unacknowledged messages of the functions' subscriptions that are not held."""
        return {
            name: left
            for name, left in self.pubsub.backlog().items()
            if left and not name.startswith("tap-") and not self.pubsub.faults.of(name).hold
        }

    # What came of it --------------------------------------------------------------------------------------------------

    def sql(self, statement: str) -> list[list[Any]]:
        """Run SQL as the administrator, from outside of all that is tested."""
        return self._admin.execute_simple(statement).rows or []

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection of one's own, for another thread or a transaction."""
        connection = connect_to_url(self.postgres.admin_url)
        try:
            yield connection
        finally:
            connection.close()

    def speaking_as(self, role: str) -> Database:
        """The database as a function sees it: `reader`, `worker` or `caretaker`."""
        return Database(self.settings, f"drivestream_{role}")

    def files(self, person: Person) -> dict[str, dict[str, Any]]:
        """Every file row of a person by name."""
        columns = (
            "name", "file_id", "state", "reason_code", "reason", "next_try", "truncated_at", "content_key",
            "wanted_job", "current_job", "visible_job", "indexed_at", "version",
        )  # fmt: skip
        rows = self.sql(f"SELECT {', '.join(columns)} FROM gdrive_files WHERE user_id = '{person.user_id}'")
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        return {row["name"]: row for row in found}

    def states(self, person: Person) -> dict[str, str]:
        """The state of every file by name."""
        return {name: row["state"] for name, row in self.files(person).items() if row["state"] != "folder"}

    def text(self, person: Person, name: str) -> str:
        """What search can find of a file: its visible passages, in order."""
        rows = self.sql(
            "SELECT m.passage FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id"
            f" WHERE f.user_id = '{person.user_id}' AND f.name = '{name}' ORDER BY m.index, m.ordinal"
        )
        return "\n".join(row[0] for row in rows)

    def passages(self, person: Person) -> list[list[Any]]:
        """The visible rows that two equal runs have in common."""
        return self.sql(
            "SELECT f.name, m.index, m.ordinal, m.passage, m.locator::text, md5(m.embedding::text), m.model"
            " FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id"
            f" WHERE f.user_id = '{person.user_id}' ORDER BY 1, 2, 3"
        )

    def search(self, person: Person, query: str) -> list[dict[str, Any]]:
        """What the dashboard would show."""
        with self.speaking_as("reader").transaction(person.user_id) as tx:
            asked = question(query, None, self.settings.embedding_model, 20, Filters())
            found = tx.rows("search", **asked)
            names = {
                row["file_id"]: row["name"] for row in tx.rows("files_by_id", file_ids=[r["file_id"] for r in found])
            }
        return [{**row, "name": names.get(row["file_id"])} for row in found]

    def count(self, table: str, person: Person, more: str = "true") -> int:
        """Rows of a person."""
        return int(self.sql(f"SELECT count(*) FROM {table} WHERE user_id = '{person.user_id}' AND {more}")[0][0])

    def count_all(self, tables: Iterable[str] = PERSONAL) -> dict[str, int]:
        """Everybody's rows, table by table."""
        return {table: int(self.sql(f"SELECT count(*) FROM {table}")[0][0]) for table in tables}

    def audit(self, person: Person, name: str = "%") -> list[dict[str, Any]]:
        """What the audit log says of readings of content, the oldest first; of one file by its name."""
        columns = ("file_id", "revision", "bytes", "why", "outcome")
        rows = self.sql(
            f"SELECT {', '.join('a.' + column for column in columns)} FROM gdrive_audit_log a"
            " LEFT JOIN gdrive_files f ON f.user_id = a.user_id AND f.file_id = a.file_id"
            f" WHERE a.user_id = '{person.user_id}' AND a.action = 'read' AND coalesce(f.name, '') LIKE '{name}'"
            " ORDER BY a.entry_id"
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def reads(self, person: Person) -> int:
        """How many times content was read."""
        return self.count("gdrive_audit_log", person, "action = 'read'")

    def documents_of(self, person: Person) -> dict[str, Any]:
        """Every Firestore document that knows the person, by path."""
        return {path: fields for path, fields in self.documents_all().items() if person.user_id in f"{path} {fields}"}

    def documents_all(self) -> dict[str, Any]:
        """Every Firestore document by path."""
        found: dict[str, Any] = {}
        for collection in firestore.client(self.settings).collections():
            found |= {f"{collection.id}/{snapshot.id}": snapshot.to_dict() for snapshot in collection.stream()}
        return found

    def everything(self) -> tuple[Any, ...]:
        """All that a request could change: rows, documents, and messages."""
        rows = [self.sql(f"SELECT count(*), max(xmin::text::bigint) FROM {table}") for table in (*PERSONAL, "receipts")]
        return rows, self.documents_all(), dict(self.pubsub.backlog())

    def url(self, function: str) -> str:
        """Where a function answers."""
        return f"http://127.0.0.1:{self._doors[function].server_port}"


@contextmanager
def browser() -> Iterator[requests.Session]:
    """An HTTP client that ignores this machine's proxies and is closed at the end."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def wait_for(condition: Callable[[], T], otherwise: Callable[[], str] = lambda: "it never came true") -> T:
    """The first true answer. Fails after a time that only a fault can take."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(0.01)


def with_chunks(pipeline: Pipeline, files: Mapping[str, str | bytes]) -> tuple[Person, list[FileChunk]]:
    """Somebody whose files are read, and whose chunks nobody has understood yet: they are held."""
    pipeline.messages(FILE_CHUNKS, Person("", pipeline.drive), FileChunk)
    pipeline.hold_lanes("ai-processor")
    person = pipeline.person(files)
    return person, pipeline.messages(FILE_CHUNKS, person, FileChunk)


def go_on(pipeline: Pipeline) -> None:
    """Deliver what was held, and wait for the end of it."""
    pipeline.release_lanes("ai-processor")
    pipeline.settle()


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def long_text(word: str, size: int) -> str:
    """About `size` bytes of numbered sentences, every one with the word."""
    sentence = f"{word} {{}} follows the one before it, and says nothing else than {word}.\n"
    each = len(sentence.format("0000000"))
    return "".join(
        sentence.format(f"{number:07}") + ("\n" if number % 8 == 7 else "") for number in range(size // each)
    )


def forget_clients() -> None:
    """Clients of the process that know the addresses of another stack."""
    for kept in (firestore._clients, pubsub._clients):
        for client in kept.values():
            (getattr(client, "stop", None) or client.close)()
        kept.clear()
    for made in (documents._requests, publish_requests._requests, google_requests.default_credentials):
        made.cache_clear()
    config.settings.cache_clear()


@pytest.fixture
def stripes(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Document AI reads the numbers on pages of `scan_pdf`: nobody waits for letters to be recognised."""
    monkeypatch.setattr(pipeline.documents, "_recognise", lambda page: f"This is page number {number_on(page)}.")


@cache
def _running() -> Pipeline:
    return Pipeline()


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The one stack of this worker, without faults. It ends with the session."""
    first = not _running.cache_info().currsize
    made = _running()
    if first:
        request.config.add_cleanup(made.stop)
    made.heal()
    made.retire()
    yield made
    made.heal()
    made.settle()
