"""A Google Cloud project as its REST APIs tell of it: the paths and the JSON of the discovery documents, by one server.

Each service is served under its name. What is there is a document by its path; a test takes one away or changes it.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.preflight.checks import APIS, OPERATE, ROLES
from infra.preflight.deployment import DOORS
from schemas.messages.tick_pb2 import Tick

P, N, R = "some-project", "123456789", "europe-west1"
PROCESSOR = f"projects/{P}/locations/eu/processors/abc"
VERSION = f"{PROCESSOR}/processorVersions/pretrained-ocr-v2.0-2023-06-02"
CLIENT = f"{N}-abc.apps.googleusercontent.com"
TOPOLOGY = json.loads((Path(__file__).resolve().parents[2] / "infra" / "topology.json").read_text())
Documents = dict[str, Any]


class Project:
    """The documents, and what was asked for. `forbidden` paths are answered with 403."""

    def __init__(self) -> None:
        self.documents: Documents = {}
        self.asked: list[tuple[str, str]] = []
        self.forbidden: set[str] = set()
        self.redirect = "https://accounts.google.com/v3/signin/identifier"
        self.token_error = "invalid_grant"
        self.door_status = {"/webhook/": 405, "/connect/": 404, "/dashboard/healthz": 200}

    def remove(self, path: str) -> None:
        """Nothing is there any more."""
        del self.documents[path]

    def change(self, path: str, *names: str | int, to: Any) -> None:
        """Another value at a place in a document."""
        place = self.documents[path]
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = to

    def answer(self, method: str, url: str) -> tuple[int, Any]:
        """Status and content."""
        path = urlsplit(url).path
        self.asked.append((method, path))
        if path in self.forbidden:
            return 403, {"error": {"code": 403, "message": "Permission denied.", "status": "PERMISSION_DENIED"}}
        if path in self.door_status:
            return self.door_status[path], {}
        if path == "/oauth2/token":
            return 400, {"error": self.token_error}
        found = self.documents.get(path)
        if found is None:
            return 404, {"error": {"code": 404, "message": "Not found.", "status": "NOT_FOUND"}}
        return 200, _page(found, dict(parse_qsl(urlsplit(url).query)))


def _page(document: Any, asked: dict[str, str]) -> Any:
    """Lists come in two pages, as a long one does."""
    key = next((name for name in ("services", "functions", "jobs", "metrics") if name in document), None)
    if key is None or len(document[key]) < 2:
        return document
    half = len(document[key]) // 2
    if asked.get("pageToken") == "second":
        return {key: document[key][half:]}
    return {key: document[key][:half], "nextPageToken": "second"}


def whole_project(address: str) -> Project:
    """A project in which all is as it must be; its doors are at this https address."""
    project = Project()
    put = project.documents
    put[f"/cloudresourcemanager/v3/projects/{P}"] = {"name": f"projects/{N}", "projectId": P, "state": "ACTIVE"}
    put[f"/serviceusage/v1/projects/{P}/services"] = {
        "services": [
            {"name": f"projects/{N}/services/{api}.googleapis.com", "config": {"name": f"{api}.googleapis.com"}}
            for api in APIS
        ]
    }
    for api in ("drive", "documentai", "aiplatform"):
        put[f"/serviceusage/v1beta1/projects/{P}/services/{api}.googleapis.com/consumerQuotaMetrics"] = {
            "metrics": [
                {
                    "metric": f"{api}.googleapis.com/default",
                    "displayName": "Queries",
                    "consumerQuotaLimits": [
                        {"unit": "1/min/{project}", "quotaBuckets": [{"effectiveLimit": "1000000"}]},
                        {"unit": "1/d/{project}", "quotaBuckets": [{"effectiveLimit": "-1"}]},
                    ],
                }
            ]
        }
    put[f"/cloudresourcemanager/v3/projects/{P}:testIamPermissions"] = {"permissions": list(OPERATE)}
    _put_functions(put, address)
    secrets = {"oauth-client-secret": b"GOCSPX-secret", "token-keys": b"key"}
    for name, value in secrets.items():
        secret = f"projects/{P}/secrets/{name}"
        put[f"/secretmanager/v1/{secret}"] = {"name": f"projects/{N}/secrets/{name}", "replication": {"automatic": {}}}
        put[f"/secretmanager/v1/{secret}/versions/latest"] = {
            "name": f"projects/{N}/secrets/{name}/versions/3",
            "state": "ENABLED",
            "createTime": "2026-11-01T00:00:00Z",
        }
        put[f"/secretmanager/v1/{secret}/versions/latest:access"] = {
            "name": f"projects/{N}/secrets/{name}/versions/3",
            "payload": {"data": b64encode(value).decode()},
        }
    for model in ("gemini-embedding-001", "gemini-3.5-flash-lite"):
        put[f"/aiplatform/v1/publishers/google/models/{model}"] = {
            "name": f"publishers/google/models/{model}",
            "launchStage": "GA",
        }
    put[f"/documentai/v1/{PROCESSOR}"] = {"name": PROCESSOR, "type": "OCR_PROCESSOR", "state": "ENABLED"}
    put[f"/documentai/v1/{VERSION}"] = {"name": VERSION, "state": "DEPLOYED", "googleManaged": True}
    instance = f"/sqladmin/v1/projects/{P}/instances/drivestream"
    put[instance] = {
        "name": "drivestream",
        "state": "RUNNABLE",
        "databaseVersion": "POSTGRES_18",
        "settings": {
            "databaseFlags": [{"name": "cloudsql.iam_authentication", "value": "on"}],
            "backupConfiguration": {
                "enabled": True,
                "pointInTimeRecoveryEnabled": True,
                "transactionLogRetentionDays": 7,
            },
        },
    }
    put[f"{instance}/databases/drivestream"] = {"name": "drivestream", "instance": "drivestream", "project": P}
    database = f"projects/{P}/databases/(default)"
    put[f"/firestore/v1/{database}"] = {"name": database, "type": "FIRESTORE_NATIVE", "locationId": R}
    for group, field in TOPOLOGY["firestore"]["ttl"].items():
        path = f"{database}/collectionGroups/{group}/fields/{field}"
        put[f"/firestore/v1/{path}"] = {"name": path, "ttlConfig": {"state": "ACTIVE"}}
    _put_messages(put)
    return project


def _put_functions(put: Documents, address: str) -> None:
    environment = {
        "CONNECT_URL": f"{address}/connect",
        "WEBHOOK_URL": f"{address}/webhook",
        "DASHBOARD_URL": f"{address}/dashboard",
        "OAUTH_CLIENT_ID": CLIENT,
        "OAUTH_CLIENT_SECRET": f"projects/{P}/secrets/oauth-client-secret/versions/latest",
        "TOKEN_KEYS_SECRET": f"projects/{P}/secrets/token-keys/versions/latest",
        "DOCUMENTAI_PROCESSOR": VERSION,
        "CLOUD_SQL_INSTANCE": f"{P}:{R}:drivestream",
    }
    functions = []
    roles: dict[str, list[str]] = {}
    lanes = {"file_streamer": ("", "-backfill", "-ocr"), "ai_processor": ("", "-backfill", "-ocr")}
    for function, wanted in ROLES.items():
        account = f"{function.replace('_', '-')}@{P}.iam.gserviceaccount.com"
        for role in wanted:
            roles.setdefault(role, []).append(f"serviceAccount:{account}")
        for lane in lanes.get(function, ("",)):
            name = function.replace("_", "-") + lane
            service = f"projects/{P}/locations/{R}/services/{name}"
            functions.append(
                {
                    "name": f"projects/{P}/locations/{R}/functions/{name}",
                    "state": "ACTIVE",
                    "url": f"https://{R}-{P}.cloudfunctions.net/{name}",
                    "buildConfig": {"entryPoint": function, "runtime": "python312"},
                    "serviceConfig": {
                        "service": service,
                        "serviceAccountEmail": account,
                        "uri": f"https://{name}-xyz.a.run.app",
                        "environmentVariables": {
                            **environment,
                            "PUSH_AUDIENCE": f"https://{name}-{N}.{R}.run.app",
                        },
                    },
                }
            )
            pusher = f"serviceAccount:push-{function.replace('_', '-')}@{P}.iam.gserviceaccount.com"
            callers = ["allUsers"] if function in DOORS else [pusher]
            put[f"/run/v2/{service}:getIamPolicy"] = {"bindings": [{"role": "roles/run.invoker", "members": callers}]}
    put[f"/cloudfunctions/v2/projects/{P}/locations/{R}/functions"] = {"functions": functions}
    put[f"/cloudresourcemanager/v3/projects/{P}:getIamPolicy"] = {
        "bindings": [{"role": role, "members": members} for role, members in roles.items()]
    }


def _put_messages(put: Documents) -> None:
    agent = f"serviceAccount:service-{N}@gcp-sa-pubsub.iam.gserviceaccount.com"
    for name, topic in TOPOLOGY["topics"].items():
        path = f"projects/{P}/topics/{name}"
        schema = {"schema": f"projects/{P}/schemas/{name}", "encoding": "BINARY"}
        put[f"/pubsub/v1/{path}"] = {"name": path, **({"schemaSettings": schema} if topic["schema"] else {})}
    put[f"/pubsub/v1/projects/{P}/topics/dead-letters:getIamPolicy"] = {
        "bindings": [{"role": "roles/pubsub.publisher", "members": [agent]}]
    }
    for name, wanted in TOPOLOGY["subscriptions"].items():
        path = f"projects/{P}/subscriptions/{name}"
        deployment = (
            name if name.startswith(("file-streamer", "ai-processor")) else wanted["function"].replace("_", "-")
        )
        dead = {"deadLetterTopic": f"projects/{P}/topics/dead-letters", "maxDeliveryAttempts": 5}
        put[f"/pubsub/v1/{path}"] = {
            "name": path,
            "topic": f"projects/{P}/topics/{wanted['topic']}",
            "ackDeadlineSeconds": wanted["ack_deadline_seconds"],
            "pushConfig": {
                "pushEndpoint": f"https://{deployment}-{N}.{R}.run.app",
                "oidcToken": {"serviceAccountEmail": f"push@{P}.iam.gserviceaccount.com", "audience": "x"},
            },
            "expirationPolicy": {},
            **({"deadLetterPolicy": dead} if wanted["max_delivery_attempts"] else {}),
        }
        put[f"/pubsub/v1/{path}:getIamPolicy"] = {"bindings": [{"role": "roles/pubsub.subscriber", "members": [agent]}]}
    jobs = [
        {
            "name": f"projects/{P}/locations/{R}/jobs/{duty}",
            "state": "ENABLED",
            "schedule": wanted["cron"],
            "timeZone": "Etc/UTC",
            "pubsubTarget": {
                "topicName": f"projects/{P}/topics/ticks",
                "data": b64encode(Tick(duty=Tick.Duty.Value(duty.upper())).SerializeToString()).decode(),
            },
        }
        for duty, wanted in TOPOLOGY["schedules"].items()
    ]
    other = {"name": f"projects/{P}/locations/{R}/jobs/else", "state": "PAUSED", "httpTarget": {"uri": "https://x"}}
    put[f"/cloudscheduler/v1/projects/{P}/locations/{R}/jobs"] = {"jobs": [other, *jobs]}


class Served:
    """One server for every project of a test run: the project that it speaks of can be changed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.project = Project()
        self.bearers: set[str] = set()  # as whom it was asked


@contextmanager
def served() -> Iterator[Served]:
    """Answers of `served.project` on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # an answer in one piece: in two, each would wait for an acknowledgement

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            place.bearers.add(self.headers.get("Authorization", ""))
            if self.path.startswith("/accounts/"):
                self.send_response(302)
                self.send_header("Location", place.project.redirect)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            status, content = place.project.answer(self.command, self.path)
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        do_GET = do_POST = _answer  # noqa: N815 - the names that the library calls

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    place = Served(server.server_port)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()


def copied(project: Project) -> Project:
    """The same project, to be changed."""
    return deepcopy(project)
