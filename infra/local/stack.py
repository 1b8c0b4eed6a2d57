"""The one-machine stack: Google's stand-ins, Postgres and the seven functions, from one folder of data.

Everything that must survive lives in the data folder: kill the process at any moment, start it again with the same
folder, and it goes on. Only addresses and time limits differ from a deployment; no function knows.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.fernet import Fernet

from infra.local import hosting
from infra.local.ai.documentai import DocumentAiServer
from infra.local.ai.vertex import VertexServer
from infra.local.errors import StackError
from infra.local.firestore.server import FirestoreServer
from infra.local.google import GoogleServer
from infra.local.google.keys import UNIVERSE
from infra.local.hosting import FUNCTIONS, ROOT, ProcessFunction, ThreadedFunction
from infra.local.postgres import PostgresError, PostgresServer
from infra.local.pubsub import topology
from infra.local.pubsub.server import PubSubServer
from infra.local.secrets import SecretManagerServer
from infra.migrate import LOGINS, prepare, upgrade

PROJECT = "drivestream-local"
PUSHER = f"pusher@{PROJECT}.iam.gserviceaccount.com"
AUDIENCE = "drivestream"
CLIENT_ID = "drivestream-local.apps.example"
SAMPLE = Path(__file__).parent / "sample_drive"


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    folder: Path = SAMPLE
    port: int = 8080
    data: Path = Path("data")
    approve: bool = False
    processes: bool = False
    drive: str = ""
    database_url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)  # settings for functions, over the local ones


class _Server(Protocol):
    def start(self, port: int = 0) -> None: ...
    def stop(self) -> None: ...


class Stack:
    """Starts everything in the order of need, and stops it the other way round."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.options = options
        self._say = say
        self._running: list[Any] = []
        self.environment: dict[str, str] = {}
        self.functions: list[ThreadedFunction | ProcessFunction] = []
        data = options.data.absolute()
        self._data = data
        self._ports_file = data / "ports.json"
        self._ports: dict[str, int] = {}
        self.pubsub: PubSubServer
        self.firestore: FirestoreServer
        self.google: GoogleServer
        self.address = f"http://127.0.0.1:{options.port}"

    def start(self) -> None:
        """Start or go on. Raises `StackError` with one sentence when something is in the way."""
        self._open_data()
        try:
            self._start_services()
            self._start_functions()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything; safe to repeat."""
        for function in reversed(self.functions):
            function.stop()
        while self._running:
            self._running.pop().stop()

    def peak_rss_mib(self) -> dict[str, float]:
        """Per function, where each has a process of its own."""
        peaks = {function.name: function.peak_rss_mib() for function in self.functions}
        return {name: peak for name, peak in peaks.items() if peak is not None}

    # The folder of data ------------------------------------------------------------------------------------------

    def _open_data(self) -> None:
        if not hosting.port_is_free(self.options.port):
            raise StackError(hosting.busy(self.options.port))
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            # As root, Postgres runs as somebody else who must be able to pass through; the secrets below are private.
            self._data.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in ("logs", "pids"):
                (self._data / name).mkdir(exist_ok=True)
        except OSError as error:
            raise StackError(
                f"The data folder {self._data} cannot be used: {error.strerror}. Choose another one with --data."
            ) from error
        hosting.end_leftovers(self._data / "pids")
        with contextlib.suppress(OSError, ValueError):
            self._ports = json.loads(self._ports_file.read_text())

    def _port(self, name: str) -> int:
        """The port of the last start where it is free, so that addresses given to others stay true."""
        port = self._ports.get(name, 0)
        if not port or port == self.options.port or not hosting.port_is_free(port):
            port = hosting.free_port()
        self._ports[name] = port
        partial = self._ports_file.with_suffix(".new")
        partial.write_text(json.dumps(self._ports))
        partial.replace(self._ports_file)
        return port

    # Services ----------------------------------------------------------------------------------------------------

    def _start_services(self) -> None:
        described = json.loads((ROOT / "infra" / "topology.json").read_text())
        ports = {name: self._port(name) for name in FUNCTIONS if name != "dashboard"}
        ports["dashboard"] = self.options.port
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}

        self._say("Starting Postgres")
        database_url = self._use_postgres() if self.options.database_url else self._start_postgres()
        self._say("Starting the local Google")
        self.google = GoogleServer(
            self.options.folder,
            self._data / "google",
            approve=self.options.approve,
            client_id=CLIENT_ID,
            client_secret=self._secret("oauth-client-secret"),
            redirect_uris=[urls["oauth_callback"] + "/callback"],
        )
        self._run("google", self.google)
        self.firestore = FirestoreServer(
            self._data / "firestore",
            indexes=described["firestore"]["indexes"],
            ttl=described["firestore"]["ttl"],
        )
        self._run("firestore", self.firestore)
        self.pubsub = PubSubServer(
            self._data / "pubsub",
            project=PROJECT,
            sign=self.google.sign,
            issuer=self.google.settings()["OAUTH_ISSUER"],
            push_concurrency={"file-streamer": 4, "file-streamer-backfill": 4, "ai-processor": 4, "change-lister": 4},
            backoff_scale=0.05,
        )
        self._run("pubsub", self.pubsub)
        vault = SecretManagerServer(self._data / "secrets", project=PROJECT)
        self._run("secretmanager", vault)
        for name in ("oauth-client-secret", "token-keys"):
            if vault.get(name) is None:
                vault.put(name, self._secret(name).encode())
        vertex, documents = VertexServer(self._data / "vertex"), DocumentAiServer(self._data / "documentai")
        self._run("vertex", vertex)
        self._run("documentai", documents)
        self.environment = {
            **self.google.settings(),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.google.service_account_file()),
            "PUBSUB_EMULATOR_HOST": self.pubsub.url,
            "FIRESTORE_EMULATOR_HOST": self.firestore.url,
            "DATABASE_URL": database_url,
            "DATABASE_CONNECTIONS": "5",
            "CONNECT_URL": urls["oauth_callback"],
            "DASHBOARD_URL": self.address,
            "WEBHOOK_URL": urls["drive_webhook"],
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": f"projects/{PROJECT}/secrets/oauth-client-secret/versions/latest",
            "TOKEN_KEYS_SECRET": f"projects/{PROJECT}/secrets/token-keys/versions/latest",
            "PUSH_SERVICE_ACCOUNT": PUSHER,
            "PUSH_AUDIENCE": AUDIENCE,
            "SECRETMANAGER_ENDPOINT": vault.url,
            "VERTEX_ENDPOINT": vertex.url,
            "VERTEX_LOCATION": "local",
            "EMBEDDING_MODEL": "lexical-hashing-001",
            "EMBEDDING_TEXTS_PER_REQUEST": "100",
            "DOCUMENTAI_ENDPOINT": documents.url,
            "DOCUMENTAI_PROCESSOR": f"projects/{PROJECT}/locations/local/processors/ocr",
            "LEASE_SECONDS": "15",
            "RETRY_BASE_SECONDS": "0.2",
        }
        if self.options.drive:
            drive = self.options.drive.rstrip("/")
            self.environment |= {"DRIVE_ENDPOINT": drive, "OAUTH_TOKEN_URL": drive + "/token"}
        self.environment |= self.options.environment
        topology.apply(
            self.pubsub.url,
            PROJECT,
            described,
            urls,
            schema_dir=ROOT / "schemas" / "messages",
            audience=AUDIENCE,
            service_account=PUSHER,
        )

    def _use_postgres(self) -> str:
        prepare(self.options.database_url)
        upgrade(self.options.database_url)
        return self.options.database_url

    def _start_postgres(self) -> str:
        server = PostgresServer(self._data / "postgres")
        try:
            server.start(self._port("postgres"))
        except PostgresError as error:
            raise StackError(str(error)) from error
        self._running.append(server)
        self._say("Bringing the database up to date")
        upgrade(server.admin_url)
        self._logins = server.url_for
        return server.url_for("drivestream_app")

    def _run(self, name: str, server: _Server) -> None:
        server.start(self._port(name))
        self._running.append(server)

    def _secret(self, name: str) -> str:
        """A secret of this data folder, made once."""
        path = self._data / "secrets" / f"{name}.made"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            partial = path.with_suffix(".new")
            with open(partial, "w", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
                file.write(Fernet.generate_key().decode())
            partial.replace(path)
        return path.read_text()

    # Functions ---------------------------------------------------------------------------------------------------

    def _start_functions(self) -> None:
        self._say("Starting the functions")
        ports = {**{name: self._ports[name] for name in FUNCTIONS if name != "dashboard"}}
        ports["dashboard"] = self.options.port
        os.environ.update(self.environment)
        (self._data / "environment").write_text(
            "".join(f"{name}={value}\n" for name, value in sorted(self.environment.items()))
        )
        (self._data / "environment").chmod(0o600)
        if self.options.processes:
            self.functions = [self._own_process(name, port) for name, port in ports.items()]
            for function in self.functions:
                function.start()
            for function in self.functions:
                assert isinstance(function, ProcessFunction)
                function.wait()
            return
        self.functions = [ThreadedFunction(name, port) for name, port in ports.items()]
        for function in self.functions:
            function.start()

    def _own_process(self, name: str, port: int) -> ProcessFunction:
        environment = dict(self.environment)
        if not self.options.database_url:
            # This function's roles and no more; the webhook has no login, here as in the cloud.
            login = f"drivestream_{name}"
            environment["DATABASE_URL"] = self._logins(login) if login in LOGINS else ""
        return ProcessFunction(name, port, environment, self._data / "logs", self._data / "pids")
