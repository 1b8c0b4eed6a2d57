"""The one-machine stack: Google's stand-ins, Postgres and the seven functions, from one folder of data.

Everything that must survive lives in the data folder: kill the process at any moment, start it again with the same
folder, and it goes on. Only addresses and time limits differ from a deployment; no function knows.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.local import hosting, ports
from infra.local.data_folder import DataFolder
from infra.local.errors import StackError, Stopped
from infra.local.hosting import FUNCTIONS, ROOT, ProcessFunction, ThreadedFunction
from infra.local.options import SAMPLE as SAMPLE
from infra.local.options import Options as Options

if TYPE_CHECKING:
    from infra.local.firestore.server import FirestoreServer
    from infra.local.google import GoogleServer
    from infra.local.oauth_client import OAuthClient
    from infra.local.postgres import PostgresServer
    from infra.local.pubsub.server import PubSubServer

PROJECT = "drivestream-local"
PUSHER = f"pusher@{PROJECT}.iam.gserviceaccount.com"
AUDIENCE = "drivestream"
CLIENT_ID = "drivestream-local.apps.example"
GOOGLE_SECRET = "google-client-secret"  # noqa: S105 - its name
# The settings that say where Drive and sign-in are.
GOOGLES = (
    "DRIVE_ENDPOINT",
    "OAUTH_AUTHORIZE_URL",
    "OAUTH_TOKEN_URL",
    "OAUTH_REVOKE_URL",
    "OAUTH_CERTS_URL",
    "OAUTH_ISSUER",
)
SERVICES = (
    "postgres", "google", "firestore", "firestore_rest", "pubsub", "pubsub_rest", "secretmanager", "vertex",
    "documentai", "telemetry",
)  # fmt: skip
# How many pushes a function has under way. More than this only makes two cores take turns.
PUSHES = {
    "change-lister": 4,
    "file-streamer": 4, "file-streamer-backfill": 3, "file-streamer-ocr": 1,
    "ai-processor": 4, "ai-processor-backfill": 3, "ai-processor-ocr": 1,
}  # fmt: skip
_GARBAGE_SECONDS = 60.0


class Stack:
    """Starts everything in the order of need, and stops it the other way round."""

    def __init__(self, options: Options, say: Callable[[str], None], stopping: threading.Event | None = None) -> None:
        self.options = options
        self.data = DataFolder(options.data)
        self.address = f"http://127.0.0.1:{options.port}"
        self.environment: dict[str, str] = {}
        self.functions: list[ThreadedFunction | ProcessFunction] = []
        self.google: GoogleServer
        self.firestore: FirestoreServer
        self.pubsub: PubSubServer
        self._say = say
        self._stopping = stopping or threading.Event()
        self._running: list[Any] = []
        self._postgres: PostgresServer | None = None
        self._ports: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        self._garbage_due = 0.0

    def start(self) -> None:
        """Start or go on, from the main thread. Raises `StackError` with one sentence when something is in the way,
        and `Stopped` when it is told to stop meanwhile."""
        try:
            self.data.open()
            self.data.belong_to(self.options.google.id if self.options.google else "")
            hosting.end_leftovers(self.data.pids)
            ports.require(self.options.port)
            self._require_door()
            self._ports = self._choose_ports()
            self._start_services()
            self._say_what_is_where()
            self._step("Starting the functions")
            self._start_functions()
        except BaseException:
            self.stop()
            raise
        self._threads = [thread for thread in threading.enumerate() if _must_live(thread)]
        self._garbage_due = time.monotonic() + _GARBAGE_SECONDS

    def stop(self) -> None:
        """Stop everything; safe to repeat."""
        self._threads = []
        for function in self.functions:
            function.ask_to_stop()
        with ThreadPoolExecutor(len(FUNCTIONS)) as at_once:
            for stopped in [at_once.submit(function.stop) for function in self.functions]:
                stopped.result()
        while self._running:
            self._running.pop().stop()
        self.data.close()

    def tend(self) -> None:
        """What must be done now and then while it runs. Raises `StackError` when a part of it has died."""
        troubles = [trouble for function in self.functions if (trouble := function.trouble())]
        if self._postgres is not None and not self._postgres.alive():
            troubles.append(f"Postgres ended unexpectedly; its last words are in {self.data.path}/postgres.")
        troubles += [f"The local stand-in {thread.name} ended." for thread in self._threads if not thread.is_alive()]
        if troubles:
            raise StackError(f"{troubles[0]} Start again with the same command: it goes on and loses nothing.")
        if time.monotonic() >= self._garbage_due:
            self._garbage_due = time.monotonic() + _GARBAGE_SECONDS
            self.firestore.collect_garbage()

    def peak_rss_mib(self) -> dict[str, float]:
        """Per function, where each has a process of its own."""
        peaks = {function.name: function.peak_rss_mib() for function in self.functions}
        return {name: peak for name, peak in peaks.items() if peak is not None}

    def _choose_ports(self) -> dict[str, int]:
        fixed = {"dashboard": self.options.port}
        if self.options.google and self.options.google.port:
            fixed["oauth_callback"] = self.options.google.port
        names = [name for name in (*SERVICES, *FUNCTIONS) if name not in fixed]
        return {**self.data.choose_ports(*names, taken=fixed.values()), **fixed}

    def _require_door(self) -> None:
        port = self.options.google.port if self.options.google else 0
        if port and not ports.is_free(port):
            raise StackError(
                f"Port {port}, to which this OAuth client has people sent back, cannot be used: stop the program that "
                "has it, or register a redirect URI with another port."
            )

    def _say_what_is_where(self) -> None:
        if not self.options.google:
            return
        sign_in, drive = (urlsplit(self.environment[name]).netloc for name in ("OAUTH_AUTHORIZE_URL", "DRIVE_ENDPOINT"))
        self._say(
            f"Sign-in is at {sign_in} and the Drive at {drive}. Nothing there can push to this machine, so changes are "
            f"looked for every {self.options.sweep_seconds:g} s."
        )
        self._say(
            "Every other service of Google's is a stand-in on this machine, the AI services too: search matches words, "
            "not meaning."
        )

    def _step(self, line: str) -> None:
        if self._stopping.is_set():
            raise Stopped
        self._say(line)

    # Services ----------------------------------------------------------------------------------------------------

    def _start_services(self) -> None:
        """Postgres is another program, so the rest is imported and started beside it."""
        self._step("Starting Postgres and the stand-ins for Google's services")
        with ThreadPoolExecutor(1, "stand-ins") as beside:
            stand_ins = beside.submit(self._start_stand_ins)
            database_url = self._use_postgres() if self.options.database_url else self._start_postgres()
        stand_ins.result()
        if self._stopping.is_set():
            raise Stopped
        self.environment = self._environment(database_url)
        self._apply_topology()

    def _start_stand_ins(self) -> None:
        from infra.local.firestore.server import FirestoreServer
        from infra.local.google import GoogleServer
        from infra.local.google.layout import LayoutError
        from infra.local.pubsub.server import PubSubServer

        described = _topology()["firestore"]
        path = self.data.path
        client_secret = self.data.secret("oauth-client-secret")
        self.google = GoogleServer(
            self._served_folder(),
            path / "google",
            approve=self.options.approve,
            client_id=CLIENT_ID,
            client_secret=client_secret,
            redirect_uris=[self._url("oauth_callback") + "/callback"],
            # Nobody edits a folder under a run that ends by itself; looking often would only slow it down.
            scan_seconds=3.0 if self.options.once else 0.5,
            hidden=[path],  # where somebody keeps the data in the folder itself
        )
        try:
            self._run("google", self.google)
        except LayoutError as error:
            raise StackError(f"{str(error).rstrip('.')}. Correct it, or give another --folder.") from error
        self.firestore = FirestoreServer(path / "firestore", indexes=described["indexes"], ttl=described["ttl"])
        self._run("firestore", self.firestore, self._ports["firestore_rest"])
        self.pubsub = PubSubServer(
            path / "pubsub",
            project=PROJECT,
            sign=self.google.sign,
            issuer=self.google.settings()["PUSH_ISSUER"],
            push_concurrency=PUSHES,
            backoff_scale=0.05,
        )
        self._run("pubsub", self.pubsub, self._ports["pubsub_rest"])
        self._start_vault_and_models()
        if not self.options.processes:
            self._load_functions()

    def _start_vault_and_models(self) -> None:
        from infra.local.ai.documentai import DocumentAiServer
        from infra.local.ai.vertex import VertexServer
        from infra.local.secrets import SecretManagerServer

        vault = SecretManagerServer(self.data.path / "secrets", project=PROJECT)
        self._run("secretmanager", vault)
        for name in ("oauth-client-secret", "token-keys"):
            if vault.get(name) is None:
                vault.put(name, self.data.secret(name).encode())
        if self.options.google:
            vault.put(GOOGLE_SECRET, self.options.google.secret.encode())
        self._run("vertex", VertexServer(self.data.path / "vertex"))
        self._run("documentai", DocumentAiServer(self.data.path / "documentai"))
        if self.options.trace:
            from infra.local.telemetry import TelemetryServer

            self._run("telemetry", TelemetryServer(self.data.path / "telemetry"))

    def _served_folder(self) -> Any:
        if not self.options.drive and not self.options.google:
            return self.options.folder
        # The Drive is elsewhere; the local Google only signs what Pub/Sub pushes.
        empty = self.data.path / "google" / "no-drive"
        empty.mkdir(exist_ok=True)
        return empty

    def _start_postgres(self) -> str:
        from infra.local.postgres import PostgresError, PostgresServer
        from infra.migrate import MigrationError, upgrade

        server = PostgresServer(self.data.path / "postgres")
        try:
            server.start(self._ports["postgres"])
            self._running.insert(0, server)  # it ends last, whoever was started before
            self._postgres = server
            upgrade(server.admin_url)
        except (PostgresError, MigrationError) as error:
            raise StackError(str(error)) from error
        return server.url_for("drivestream_app")

    def _use_postgres(self) -> str:
        from infra.migrate import prepare, upgrade

        try:
            prepare(self.options.database_url)
            upgrade(self.options.database_url)
        except Exception as error:
            # Anything may be wrong with somebody else's database; the first line of what it says is for the person.
            said = error.args[0].get("M") if error.args and isinstance(error.args[0], dict) else error
            raise StackError(f"The database given by --database cannot be used: {said}.") from error
        return self.options.database_url

    def _run(self, name: str, server: Any, *more_ports: int) -> None:
        server.start(self._ports[name], *more_ports)
        self._running.append(server)

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    # What the functions are told ----------------------------------------------------------------------------------

    def _environment(self, database_url: str) -> dict[str, str]:
        from infra.local.google.keys import UNIVERSE

        secret = f"projects/{PROJECT}/secrets/{{}}/versions/latest".format
        environment = {
            **self.google.settings(),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": UNIVERSE,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.google.service_account_file()),
            "PUBSUB_EMULATOR_HOST": self.pubsub.url,
            "PUBSUB_ENDPOINT": self.pubsub.rest_url,
            "FIRESTORE_EMULATOR_HOST": self.firestore.url,
            "FIRESTORE_ENDPOINT": self.firestore.rest_url,
            "DATABASE_URL": database_url,
            "DATABASE_CONNECTIONS": "5",
            "CONNECT_URL": self._url("oauth_callback"),
            "DASHBOARD_URL": self.address,
            "WEBHOOK_URL": self._url("drive_webhook"),
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": secret("oauth-client-secret"),
            "TOKEN_KEYS_SECRET": secret("token-keys"),
            "PUSH_SERVICE_ACCOUNT": PUSHER,
            "PUSH_AUDIENCE": AUDIENCE,
            "SECRETMANAGER_ENDPOINT": self._url("secretmanager"),
            "VERTEX_ENDPOINT": self._url("vertex"),
            "VERTEX_LOCATION": "local",
            "EMBEDDING_MODEL": "lexical-hashing-001",
            "EMBEDDING_TEXTS_PER_REQUEST": "100",
            "DOCUMENTAI_ENDPOINT": self._url("documentai"),
            "DOCUMENTAI_PROCESSOR": f"projects/{PROJECT}/locations/local/processors/ocr/processorVersions/local",
            "SWEEP_SECONDS": str(self.options.sweep_seconds),
            "FIRST_SYNC": os.environ.get("FIRST_SYNC") or ("ask" if self._asks_first else "start"),
            "LEASE_SECONDS": os.environ.get("LEASE_SECONDS", "15"),  # after a kill, so long nobody goes on
            "RETRY_BASE_SECONDS": "0.2",
        }
        if self.options.drive:
            environment |= {
                "DRIVE_ENDPOINT": self.options.drive,
                "OAUTH_TOKEN_URL": self.options.drive + "/token",
                "OAUTH_REVOKE_URL": self.options.drive + "/revoke",
            }
        if self.options.trace:
            environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = self._url("telemetry") + "/v1/traces"
            environment["OTEL_TRACES_SAMPLER_ARG"] = "1"
        if self.options.google:
            environment |= {**real_google(self.options.google), "OAUTH_CLIENT_SECRET": secret(GOOGLE_SECRET)}
        return environment | dict(self.options.environment)

    @property
    def _asks_first(self) -> bool:
        """Whether somebody sits in front of a browser who can be asked."""
        return not (self.options.approve or self.options.once or self.options.drive)

    def _apply_topology(self) -> None:
        from infra.local.pubsub import topology

        topology.apply(
            self.pubsub.url,
            PROJECT,
            _topology(),
            {name: self._url(name) for name in FUNCTIONS},
            schema_dir=ROOT / "schemas" / "messages",
            audience=AUDIENCE,
            service_account=PUSHER,
        )

    # Functions ---------------------------------------------------------------------------------------------------

    def _load_functions(self) -> None:
        loaded = [ThreadedFunction(name, self._ports[name]) for name in FUNCTIONS]
        for function in loaded:
            function.load()
        self.functions = [*loaded]

    def _start_functions(self) -> None:
        os.environ.update(self.environment)
        lines = [f"{name}={value}\n" for name, value in sorted(self.environment.items())]
        self.data.write_private("environment", "".join(lines))  # for `./dev function`
        if self.options.processes:
            self.functions = [self._own_process(name) for name in FUNCTIONS]
        for function in self.functions:
            function.start()
        for function in self.functions:
            function.wait()

    def _own_process(self, name: str) -> ProcessFunction:
        environment = dict(self.environment)
        if self._postgres is not None:
            from infra.migrate import LOGINS

            # This function's roles and no more; the webhook has no login, here as in the cloud.
            login = f"drivestream_{name}"
            environment["DATABASE_URL"] = self._postgres.url_for(login) if login in LOGINS else ""
        return ProcessFunction(name, self._ports[name], environment, self.data.logs, self.data.pids)


def real_google(client: OAuthClient) -> dict[str, str]:
    """What is different for a Google that is far away, knows us by a client of its own, and cannot push to us."""
    from shared.config import SettingsError, read_settings

    try:
        config = read_settings({**os.environ, "GOOGLE_CLOUD_PROJECT": PROJECT})
    except SettingsError as error:
        raise StackError(str(error)) from error
    return {
        **{name: getattr(config, name.lower()) for name in GOOGLES},
        **client.addresses,
        "OAUTH_CLIENT_ID": client.id,
        "WEBHOOK_URL": "",
        "LEASE_SECONDS": "60",  # one answer from far away may take longer than the local lease
        "RETRY_BASE_SECONDS": str(config.retry_base_seconds),
        **({"CONNECT_URL": client.door} if client.door else {}),
    }


def _topology() -> Mapping[str, Any]:
    described: Mapping[str, Any] = json.loads((ROOT / "infra" / "topology.json").read_text())
    return described


def _must_live(thread: threading.Thread) -> bool:
    """Threads without which a stand-in is dead although this process lives."""
    name = thread.name
    return name in ("pubsub-push", "drive-scan", "drive-push") or (name.startswith("http-") and name[5:].isdigit())
