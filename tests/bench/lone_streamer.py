"""The real `file_streamer` in a process of its own, under the deployed server, and all that it talks to.

Postgres is real, the other services are the stand-ins of `./dev local`; they run in this process and below it, never
in the streamer's. Nobody subscribes to the chunks unless somebody listens: what is published is confirmed and gone.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from cryptography.fernet import Fernet

from infra.local.firestore.server import FirestoreServer
from infra.local.google import GoogleServer
from infra.local.google.keys import UNIVERSE
from infra.local.hosting import ROOT, ProcessFunction, free_port
from infra.local.postgres import PostgresServer
from infra.local.pubsub import topology
from infra.local.pubsub.server import PubSubServer
from infra.local.secrets import SecretManagerServer
from infra.migrate import upgrade
from schemas.messages.file_changed_pb2 import FileChanged
from shared import config
from shared.adapters.edge import open_connection
from shared.adapters.postgres import Database, Transaction, connect_to_url
from shared.adapters.sealing import Seal
from shared.domain.names import FILE_CHANGES
from tests.bench.made_drive import Made, MadeDrive

PROJECT = "drivestream-bench"
_PUSHER = f"pusher@{PROJECT}.iam.gserviceaccount.com"
_AUDIENCE = "drivestream"
_SOMEBODY = "somebody@example.com"
_FOR_EVER = "1000000"
_MOMENT = 0.5
_PATIENCE = 60.0
_LIVES = 1000  # more than any file here needs; a life that does not get on would hand over for ever


class Surroundings:
    """Everything but the streamer, and one connected person. `surroundings` makes one."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self._place = place
        self._stack = stack
        self._described = json.loads((ROOT / "infra" / "topology.json").read_text())
        self.drive = stack.enter_context(MadeDrive())
        self._postgres = self._run(PostgresServer(place / "postgres"))
        upgrade(self._postgres.admin_url)
        self._google = self._run(self._google_server())
        terms = self._described["firestore"]
        self._firestore = self._run(FirestoreServer(place / "firestore", indexes=terms["indexes"], ttl=terms["ttl"]))
        self._pubsub = self._run(PubSubServer(place / "pubsub", project=PROJECT))
        self._vault = self._run(SecretManagerServer(place / "secrets", project=PROJECT))
        self._vault.put("oauth-client-secret", b"local-client-secret")
        self._keys = Fernet.generate_key()
        self._vault.put("token-keys", self._keys)
        os.environ.update(self._environment())
        config.settings.cache_clear()
        silent = {**self._described, "subscriptions": {}}
        topology.apply(
            self._pubsub.url, PROJECT, silent, {}, schema_dir=ROOT / "schemas/messages", audience="", service_account=""
        )
        from google.cloud import pubsub_v1

        self._subscriber = stack.enter_context(pubsub_v1.SubscriberClient())
        self._changes = self.subscribe(FILE_CHANGES)
        self._admin = connect_to_url(self._postgres.admin_url)
        stack.callback(self._admin.close)
        self.user_id = self._connect()

    def _run(self, server: Any) -> Any:
        server.start()
        self._stack.callback(server.stop)
        return server

    def _google_server(self) -> GoogleServer:
        """Only signs and gives tokens: the files are the made Drive's."""
        folder = self._place / "drive"
        (folder / "somebody").mkdir(parents=True)
        people = [{"email": _SOMEBODY, "name": "Somebody", "folder": "somebody"}]
        (folder / ".drive.json").write_text(json.dumps({"people": people}))
        return GoogleServer(folder, self._place / "google")

    def _environment(self) -> dict[str, str]:
        return {
            **self._google.settings(),
            "DRIVE_ENDPOINT": self.drive.url,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._google.service_account_file()),
            "PUBSUB_EMULATOR_HOST": self._pubsub.url,
            "FIRESTORE_EMULATOR_HOST": self._firestore.url,
            "FIRESTORE_ENDPOINT": self._firestore.rest_url,
            "DATABASE_URL": self._postgres.url_for("drivestream_app"),
            "OAUTH_CLIENT_SECRET": f"projects/{PROJECT}/secrets/oauth-client-secret/versions/latest",
            "TOKEN_KEYS_SECRET": f"projects/{PROJECT}/secrets/token-keys/versions/latest",
            "PUSH_SERVICE_ACCOUNT": _PUSHER,
            "PUSH_AUDIENCE": _AUDIENCE,
            "SECRETMANAGER_ENDPOINT": self._vault.url,
            "RETRY_BASE_SECONDS": "0.1",
        }

    def _connect(self) -> str:
        """A person with a grant, as the consent leaves one."""
        database = Database(config.settings(), "drivestream_worker")
        self._stack.callback(database.close)
        person = {"sub": secrets.token_hex(8), "email": _SOMEBODY, "full_name": "Somebody"}
        row = database.run_transaction(None, lambda tx: tx.row("connect_person", **person))
        assert row is not None
        user_id = str(row["user_id"])
        sealed = Seal(lambda: self._keys).seal(user_id, self._google.grant(_SOMEBODY)["refresh_token"])

        def story(tx: Transaction) -> None:
            tx.row("save_grant", sealed=sealed, scopes=["drive.readonly"])
            tx.row("reactivate_person")

        database.run_transaction(user_id, story)
        open_connection(config.settings(), user_id)
        return user_id

    def subscribe(self, topic: str) -> str:
        """Keep what is said to a topic from now on; the name to pull it by."""
        name = f"projects/{PROJECT}/subscriptions/bench-{topic}"
        self._subscriber.create_subscription(name=name, topic=f"projects/{PROJECT}/topics/{topic}")
        return name

    def unsubscribe(self, subscription: str) -> None:
        """Nobody listens any more; what was kept is forgotten."""
        self._subscriber.delete_subscription(subscription=subscription)

    def pull(self, subscription: str) -> list[bytes]:
        """The messages that are there, or come within a moment; nobody gets them again."""
        from google.api_core.exceptions import DeadlineExceeded

        try:
            answer = self._subscriber.pull(subscription=subscription, max_messages=16, timeout=_MOMENT)
        except DeadlineExceeded:
            return []
        got = answer.received_messages
        if got:
            self._subscriber.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in got])
        return [one.message.data for one in got]

    def job(self, file_id: str) -> dict[str, Any]:
        """What Postgres knows of the reading of a file: its state and reason, and those of its job."""
        columns = ("state", "reason", "truncated_at", "epoch", "expected_chunks", "bytes_read", "integrity")
        rows = self._admin.execute_simple(
            "SELECT j.state, coalesce(f.reason, j.reason), f.truncated_at, j.epoch, j.expected_chunks, j.bytes_read,"
            " j.integrity FROM gdrive_files f JOIN gdrive_jobs j ON j.job_id = f.wanted_job AND j.user_id = f.user_id"
            f" WHERE f.file_id = '{file_id}'"
        ).rows
        return dict(zip(columns, rows[0], strict=True)) if rows else {}

    @contextmanager
    def streamer(self, **settings: object) -> Iterator[Streamer]:
        """A fresh process of the function while the block runs. Its bounds of time and of text are out of the way
        unless `settings` say otherwise."""
        lifted = {"LIFE_SECONDS": _FOR_EVER, "TEXT_BYTES": str(10**12), "INFLATED_BYTES": str(10**12)}
        environment = {**self._environment(), **lifted, **{name: str(value) for name, value in settings.items()}}
        function = ProcessFunction("file_streamer", free_port(), environment, self._place, self._place)
        function.start()
        try:
            function.wait()
            yield Streamer(self, function)
        finally:
            function.stop()

    def push(self, port: int, changed: FileChanged) -> None:
        """Deliver one message as Pub/Sub pushes it, and wait for the end of its work."""
        claims = {"aud": _AUDIENCE, "sub": "1", "email": _PUSHER, "email_verified": True}
        body = {
            "message": {"data": base64.b64encode(changed.SerializeToString()).decode(), "messageId": "1"},
            "subscription": f"projects/{PROJECT}/subscriptions/file-streamer",
            "deliveryAttempt": 1,
        }
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {self._google.sign(claims)}"}
            try:
                answer = session.post(f"http://127.0.0.1:{port}/", json=body, headers=headers)
            except requests.ConnectionError as gone:
                raise RuntimeError(f"The streamer has ended: {self._last_words()}") from gone
        if answer.status_code != 204:
            raise RuntimeError(f"The streamer answered {answer.status_code}: {self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join((self._place / "file_streamer.log").read_text().splitlines()[-20:])

    def handed_over(self) -> FileChanged:
        """What the streamer has said to itself: the message that its next life begins with."""
        deadline = time.monotonic() + _PATIENCE
        while not (said := self.pull(self._changes)):
            if time.monotonic() > deadline:
                raise RuntimeError("A life ended before its file, and said nothing to the next one.")
        return FileChanged.FromString(said[0])


class Streamer:
    """One process of the function."""

    def __init__(self, around: Surroundings, function: ProcessFunction) -> None:
        self._around = around
        self._function = function

    @property
    def pid(self) -> int:
        """The number of the server's first process, above all others."""
        assert self._function._process is not None
        return self._function._process.pid

    def read(self, file: Made) -> dict[str, Any]:
        """Read a file to its end, by as many lives as that takes, and say what became of it."""
        file_id = self._around.drive.put(file)
        changed = FileChanged(user_id=self._around.user_id, file_id=file_id, reason=FileChanged.Reason.CHANGED)
        job: dict[str, Any] = {}
        for lives in range(1, _LIVES + 1):
            self._around.push(self._function.port, changed)
            job = self._around.job(file_id)
            if job.get("state") != "streaming":
                self._around.drive.remove(file_id)
                return {**job, "lives": lives}
            changed = self._around.handed_over()
        raise RuntimeError(f"{file.name} was not read by {_LIVES} lives: {job}")


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Everything that the streamer talks to, while the block runs."""
    place = Path(tempfile.mkdtemp(prefix="drivestream-bench-"))
    place.chmod(0o711)  # as root, Postgres is somebody else
    try:
        with ExitStack() as stack:
            yield Surroundings(place, stack)
    finally:
        shutil.rmtree(place, ignore_errors=True)
