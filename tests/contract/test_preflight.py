"""Preflight tells what is wrong with a project, by its own line, and leaves every other line as it was."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient
import pytest
import requests

from infra.local.google.keys import Keys
from infra.preflight import __main__ as command
from infra.preflight.asking import BASES, Google
from infra.preflight.checks import MODELS, check_all
from infra.preflight.deployment import Deployment
from infra.preflight.lines import ERROR, OK, WARNING, Line
from shared.config import Settings
from tests.contract.google_project import (
    CLIENT,
    PROCESSOR,
    VERSION,
    N,
    P,
    Project,
    R,
    Served,
    copied,
    served,
    whole_project,
)

TODAY = date(2026, 11, 27)
DOORS = "https://drivestream.example.com"
DISCOVERY = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
FUNCTIONS = f"/cloudfunctions/v2/projects/{P}/locations/{R}/functions"
POLICY = f"/cloudresourcemanager/v3/projects/{P}:getIamPolicy"
SQL = f"/sqladmin/v1/projects/{P}/instances/drivestream"
SECRET = f"/secretmanager/v1/projects/{P}/secrets"
FIRESTORE = f"/firestore/v1/projects/{P}/databases/(default)"
PUBSUB = f"/pubsub/v1/projects/{P}"
JOBS = f"/cloudscheduler/v1/projects/{P}/locations/{R}/jobs"


class ThroughTls(requests.adapters.HTTPAdapter):
    """The doors' https addresses, answered by the stand-in: what TLS itself does is the library's business."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace(DOORS, self._url)
        return super().send(request, *args, **more)


@pytest.fixture(scope="module")
def place() -> Iterator[Served]:
    with served() as server:
        yield server


@pytest.fixture
def project(place: Served) -> Project:
    """A project in which all is well, to be broken."""
    place.project = copied(_whole())
    return place.project


@cache
def _whole() -> Project:
    return whole_project(DOORS)


def deployment(place: Served, **given: str) -> Deployment:
    authorised, plain = requests.Session(), requests.Session()
    authorised.trust_env = plain.trust_env = False
    plain.mount(DOORS, ThroughTls(place.url))
    bases = {name: f"{place.url}/{name}" for name in BASES}
    return Deployment(Google(authorised, bases, plain), P, R, {"DATABASE_URL": "postgresql://127.0.0.1:1/x", **given})


def lines(place: Served, **given: str) -> list[Line]:
    return list(check_all(deployment(place, **given), TODAY))


_LEVELS: dict[str, str] = {}


def when_all_is_well(place: Served) -> dict[str, str]:
    """The level of each line of a project in which nothing is broken."""
    if not _LEVELS:
        _LEVELS.update({line.check: line.level for line in lines(place)})
    return _LEVELS


def levels(found: list[Line], level: str) -> list[str]:
    return [line.check for line in found if line.level == level]


Break = Callable[[Project], None]


def without_function(name: str) -> Break:
    def take(project: Project) -> None:
        some = project.documents[FUNCTIONS]["functions"]
        project.documents[FUNCTIONS] = {"functions": [one for one in some if one["buildConfig"]["entryPoint"] != name]}

    return take


def function(name: str, *path: str, to: Any) -> Break:
    def change(project: Project) -> None:
        one = next(f for f in project.documents[FUNCTIONS]["functions"] if f["buildConfig"]["entryPoint"] == name)
        for step in path[:-1]:
            one = one[step]
        one[path[-1]] = to

    return change


def everywhere(name: str, to: str) -> Break:
    def change(project: Project) -> None:
        for one in project.documents[FUNCTIONS]["functions"]:
            one["serviceConfig"]["environmentVariables"][name] = to

    return change


def bound(role: str, member: str) -> Break:
    return lambda project: project.documents[POLICY]["bindings"].append({"role": role, "members": [member]})


def unbound(role: str, account: str) -> Break:
    def take(project: Project) -> None:
        for binding in project.documents[POLICY]["bindings"]:
            if binding["role"] == role:
                binding["members"] = [one for one in binding["members"] if account not in one]

    return take


def without(path: str) -> Break:
    return lambda project: project.remove(path)


def at(path: str, *names: str | int, to: Any) -> Break:
    return lambda project: project.change(path, *names, to=to)


def set_to(name: str, value: Any) -> Break:
    return lambda project: setattr(project, name, value)


def without_api(name: str) -> Break:
    def take(project: Project) -> None:
        path = f"/serviceusage/v1/projects/{P}/services"
        some = project.documents[path]["services"]
        project.documents[path] = {"services": [one for one in some if name not in one["name"]]}

    return take


def door(path: str, status: int) -> Break:
    return lambda project: project.door_status.update({path: status})


def invoker(name: str, *members: str) -> Break:
    path = f"/run/v2/projects/{P}/locations/{R}/services/{name}:getIamPolicy"
    return at(path, "bindings", to=[{"role": "roles/run.invoker", "members": list(members)}])


QUOTA = f"/serviceusage/v1beta1/projects/{P}/services/drive.googleapis.com/consumerQuotaMetrics"
REDIRECTED = "https://accounts.google.com/signin/oauth/error?authError=ChVyZWRpcmVjdF91cmlfbWlzbWF0Y2g%3D"
BROKEN: list[tuple[str, Break, set[str]]] = [
    ("the API of Drive", without_api("drive."), {"api drive"}),
    ("the API of schedules", without_api("cloudscheduler"), {"api cloudscheduler"}),
    (
        "any quota",
        at(QUOTA, "metrics", 0, "consumerQuotaLimits", 0, "quotaBuckets", 0, "effectiveLimit", to="0"),
        {"quota drive"},
    ),
    ("a whole function", function("dashboard", "state", to="FAILED"), {"function dashboard"}),
    ("one lane of a function", function("ai_processor", "state", to="DEPLOYING"), {"function ai_processor"}),
    (
        "an own identity",
        function("dashboard", "serviceConfig", "serviceAccountEmail", to=f"{N}-compute@developer.gserviceaccount.com"),
        {"identity dashboard"},
    ),
    (
        "narrow rights",
        bound("roles/editor", f"serviceAccount:drive-webhook@{P}.iam.gserviceaccount.com"),
        {"identity drive_webhook"},
    ),
    ("a role", unbound("roles/documentai.apiUser", "ai-processor"), {"identity ai_processor"}),
    ("an open door", invoker("drive-webhook"), {"callers drive_webhook"}),
    ("a closed function", invoker("file-streamer-ocr", "allUsers"), {"callers file_streamer"}),
    ("a pusher", invoker("change-lister"), {"callers change_lister"}),
    ("a way through the platform", door("/webhook/", 403), {"address drive_webhook"}),
    ("https", everywhere("WEBHOOK_URL", "http://127.0.0.1/webhook"), {"address drive_webhook"}),
    ("a client", everywhere("OAUTH_CLIENT_ID", "abc"), {"oauth client"}),
    ("a registered redirect", set_to("redirect", REDIRECTED), {"oauth redirect"}),
    ("the right secret", set_to("token_error", "invalid_client"), {"oauth secret"}),
    ("a secret", without(f"{SECRET}/token-keys"), {"secret TOKEN_KEYS_SECRET"}),
    ("a version of a secret", without(f"{SECRET}/token-keys/versions/latest"), {"secret TOKEN_KEYS_SECRET"}),
    (
        "an enabled version",
        at(f"{SECRET}/token-keys/versions/latest", "state", to="DISABLED"),
        {"secret TOKEN_KEYS_SECRET"},
    ),
    ("a value", without(f"{SECRET}/oauth-client-secret/versions/latest:access"), {"oauth secret"}),
    (
        "the model of vectors",
        without("/aiplatform/v1/publishers/google/models/gemini-embedding-001"),
        {"model of vectors"},
    ),
    (
        "the model of entities",
        without("/aiplatform/v1/publishers/google/models/gemini-3.5-flash-lite"),
        {"model of entities"},
    ),
    ("an enabled processor", at(f"/documentai/v1/{PROCESSOR}", "state", to="DISABLED"), {"documentai processor"}),
    ("a deployed version", at(f"/documentai/v1/{VERSION}", "state", to="UNDEPLOYED"), {"documentai version"}),
    ("a running database", at(SQL, "state", to="SUSPENDED"), {"database instance"}),
    ("the database in it", without(f"{SQL}/databases/drivestream"), {"database instance"}),
    ("sign-in by identity", at(SQL, "settings", "databaseFlags", to=[]), {"database sign-in"}),
    ("backups", at(SQL, "settings", "backupConfiguration", "enabled", to=False), {"database backups"}),
    (
        "a way back",
        at(SQL, "settings", "backupConfiguration", "pointInTimeRecoveryEnabled", to=False),
        {"database backups"},
    ),
    ("Firestore", without(FIRESTORE), {"firestore database"}),
    ("native mode", at(FIRESTORE, "type", to="DATASTORE_MODE"), {"firestore database"}),
    ("a TTL policy", without(f"{FIRESTORE}/collectionGroups/channels/fields/expires_at"), {"firestore ttl channels"}),
    ("a topic", without(f"{PUBSUB}/topics/ticks"), {"topic ticks"}),
    ("a schema", at(f"{PUBSUB}/topics/file-chunks", "schemaSettings", to={}), {"topic file-chunks"}),
    ("a subscription", without(f"{PUBSUB}/subscriptions/change-lister"), {"subscription change-lister"}),
    (
        "the right address",
        at(f"{PUBSUB}/subscriptions/dead-letters", "pushConfig", "pushEndpoint", to="https://elsewhere.example.com"),
        {"subscription dead-letters"},
    ),
    (
        "another's address",
        at(
            f"{PUBSUB}/subscriptions/ai-processor",
            "pushConfig",
            "pushEndpoint",
            to=f"https://dashboard-{N}.{R}.run.app",
        ),
        {"subscription ai-processor"},
    ),
    (
        "an identity of pushes",
        at(f"{PUBSUB}/subscriptions/file-streamer", "pushConfig", "oidcToken", to={}),
        {"subscription file-streamer"},
    ),
    (
        "time to answer",
        at(f"{PUBSUB}/subscriptions/file-streamer-ocr", "ackDeadlineSeconds", to=10),
        {"subscription file-streamer-ocr"},
    ),
    (
        "dead letters",
        at(f"{PUBSUB}/subscriptions/channel-renewer", "deadLetterPolicy", to={}),
        {"subscription channel-renewer"},
    ),
    (
        "Pub/Sub's right to dead letters",
        at(f"{PUBSUB}/topics/dead-letters:getIamPolicy", "bindings", to=[]),
        {"pubsub agent"},
    ),
    (
        "Pub/Sub's right to a subscription",
        at(f"{PUBSUB}/subscriptions/ai-processor-ocr:getIamPolicy", "bindings", to=[]),
        {"pubsub agent"},
    ),
    ("a running clock", at(JOBS, "jobs", 3, "state", to="PAUSED"), {"schedule reap"}),
    ("a clock", lambda project: project.documents[JOBS]["jobs"].pop(1), {"schedule renew"}),
]


def test_a_project_in_which_all_is_well_has_no_red_line(place: Served, project: Project) -> None:
    """A check that is never green is believed by nobody."""
    found = lines(place)

    assert levels(found, ERROR) == []
    assert levels(found, WARNING) == ["database schema"]  # not reached from here
    assert len({line.check for line in found}) == len(found) > 80


@pytest.mark.parametrize(("what", "break_it", "red"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_is_missing_turns_its_own_line_red_and_no_other(
    place: Served, project: Project, what: str, break_it: Break, red: set[str]
) -> None:
    """An operator mends what the line says; a line that is red for something else's sake sends them astray."""
    before = when_all_is_well(place)
    break_it(project)

    found = lines(place)

    assert set(levels(found, ERROR)) == red
    assert all(line.do for line in found if line.level != OK)
    assert {line.check: line.level for line in found if line.check not in red} == {
        check: level for check, level in before.items() if check not in red
    }


def test_a_function_that_is_not_deployed_shows_in_the_lines_that_are_about_it(place: Served, project: Project) -> None:
    """Nothing of it can be right, and everything else still is."""
    without_function("channel_renewer")(project)

    red = levels(lines(place), ERROR)

    pushed = {"subscription channel-renewer", "subscription dead-letters"}
    assert set(red) == {f"{what} channel_renewer" for what in ("function", "identity", "callers")} | pushed


def test_what_may_not_be_looked_at_is_said_and_hides_nothing_else(place: Served, project: Project) -> None:
    """Who may not see the policy still learns that a topic is missing."""
    project.forbidden.add(SQL)
    project.remove(f"{PUBSUB}/topics/ticks")

    found = lines(place)

    about = {"database instance", "database sign-in", "database backups", "topic ticks"}
    assert set(levels(found, ERROR)) == about
    assert "Permission denied." in next(line.said for line in found if line.check == "database backups")


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (everywhere("EMBEDDING_MODEL", "text-embedding-005"), "model of vectors"),
        (everywhere("OAUTH_CLIENT_ID", CLIENT.replace(N, "987")), "oauth client"),
        (
            at(f"/documentai/v1/{VERSION}", "deprecationInfo", to={"deprecationTime": "2027-01-01T00:00:00Z"}),
            "documentai version",
        ),
        (
            at(f"{FIRESTORE}/collectionGroups/quota/fields/expires_at", "ttlConfig", "state", to="CREATING"),
            "firestore ttl quota",
        ),
        (
            at(f"{PUBSUB}/subscriptions/ai-processor", "expirationPolicy", to={"ttl": "2678400s"}),
            "subscription ai-processor",
        ),
        (at(JOBS, "jobs", 2, "schedule", to="0 0 * * *"), "schedule sweep"),
        (at(f"/cloudresourcemanager/v3/projects/{P}:testIamPermissions", "permissions", to=[]), "operator"),
    ],
)
def test_what_works_for_now_is_a_warning(place: Served, project: Project, change: Break, check: str) -> None:
    """It must be seen in time, and stop nobody."""
    project.documents["/aiplatform/v1/publishers/google/models/text-embedding-005"] = {"name": "x"}
    change(project)

    found = list(check_all(deployment(place), date(2027, 1, 15)))

    assert levels(found, ERROR) == []
    assert set(levels(found, WARNING)) == {check, "database schema"}


def test_settings_in_a_file_count_before_anything_is_deployed(place: Served, project: Project) -> None:
    """An operator checks the OAuth client and the model before the first deployment."""
    project.documents[FUNCTIONS] = {"functions": []}

    found = lines(place, OAUTH_CLIENT_ID=CLIENT, CONNECT_URL=f"{DOORS}/connect", EMBEDDING_MODEL="gemini-embedding-001")

    green = levels(found, OK)
    assert {"oauth client", "oauth redirect", "model of vectors", "topic ticks"} <= set(green)
    assert "function dashboard" in levels(found, ERROR)


@pytest.mark.parametrize("model", [Settings("p").embedding_model, Settings("p").entity_model])
def test_the_models_that_are_set_are_in_the_table_of_retirements(model: str) -> None:
    """The table is by hand: a model that is not in it would retire unseen."""
    known = json.loads(MODELS.read_text())

    assert date.fromisoformat(known["retire"][model]) > date.fromisoformat(known["looked_up"])


def test_the_report_has_a_line_for_each_check_and_one_for_the_sum(
    place: Served, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipeline reads the exit code, a person the lines, a program the JSON."""
    well = command.report(deployment(place), as_json=False)
    capsys.readouterr()
    project.remove(f"{PUBSUB}/topics/ticks")

    ill = command.report(deployment(place), as_json=True)

    *said, total, last = capsys.readouterr().out.splitlines()
    answer = json.loads(last)
    assert (well, ill) == (0, 1)
    assert "error    topic ticks: not there. To do: terraform apply, in infra/terraform" in said
    assert len(said) == len(answer["lines"])
    assert total.endswith(f"{answer['error']} error")


def test_the_command_asks_with_the_credentials_of_whoever_calls_it(
    place: Served,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole way: application-default credentials, plain authorised requests, the report."""
    key = Keys(tmp_path, time.time).service_account(f"{place.url}/token")
    (tmp_path / "key.json").write_text(json.dumps(key))
    (tmp_path / "settings").write_text("DATABASE_URL=postgresql://127.0.0.1:1/x\n")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    for name in ("CONNECT_URL", "WEBHOOK_URL", "DASHBOARD_URL"):
        everywhere(name, "http://127.0.0.1:1/door")(project)

    words = [
        "--project",
        P,
        "--region",
        R,
        "--endpoints",
        place.url,
        "--settings",
        str(tmp_path / "settings"),
        "--json",
    ]
    code = command.main(words)

    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 1
    assert {line["check"] for line in answer["lines"] if line["level"] == ERROR} == {
        f"address {name}" for name in ("oauth_callback", "drive_webhook", "dashboard")
    }
    assert any(said.startswith("Bearer ey") for said in place.bearers)  # signed by the account's own key


def test_without_credentials_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback of a library tells an operator nothing."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")

    code = command.main(["--project", P])

    assert code == 1
    assert capsys.readouterr().err == command.NOBODY + "\n"


# The stand-in is held to Google's own documents ---------------------------------------------------------------------


DOCUMENTS = {
    "serviceusage": ("serviceusage.v1", "serviceusage.v1beta1"),
    "cloudresourcemanager": ("cloudresourcemanager.v3",),
    "cloudfunctions": ("cloudfunctions.v2",),
    "run": ("run.v2",),
    "pubsub": ("pubsub.v1",),
    "firestore": ("firestore.v1",),
    "sqladmin": ("sqladmin.v1",),
    "secretmanager": ("secretmanager.v1",),
    "cloudscheduler": ("cloudscheduler.v1",),
    "documentai": ("documentai.v1",),
    "aiplatform": ("aiplatform.v1",),
}


def test_every_question_and_answer_is_one_of_googles_discovery_documents(place: Served, project: Project) -> None:
    """A stand-in that speaks otherwise than Google proves nothing."""
    lines(place)

    asked = {(method, path) for method, path in project.asked if path.split("/")[1] in DOCUMENTS}
    faults = []
    for method, path in sorted(asked):
        _, service, rest = path.split("/", 2)
        known = next(filter(None, (_method(name, method, rest) for name in DOCUMENTS[service])), None)
        if known is None:
            faults.append(f"{method} {path} is no method of {service}")
        elif path in project.documents:
            faults += _wrong(project.documents[path], known[1], known[0], path)

    assert faults == []
    assert {path.split("/")[1] for _, path in asked} == set(DOCUMENTS)


@cache
def _methods(name: str) -> list[tuple[str, re.Pattern[str], str, dict[str, Any]]]:
    document = json.loads((DISCOVERY / f"{name}.json").read_text())
    found = []

    def walk(part: dict[str, Any]) -> None:
        for one in part.get("methods", {}).values():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(one.get("flatPath") or one["path"]))
            found.append((one["httpMethod"], re.compile(pattern), one["response"]["$ref"], document["schemas"]))
        for resource in part.get("resources", {}).values():
            walk(resource)

    walk(document)
    return found


def _method(name: str, method: str, path: str) -> tuple[dict[str, Any], str] | None:
    for verb, pattern, answer, schemas in _methods(name):
        if verb == method and pattern.fullmatch(path):
            return schemas, answer
    return None


def _wrong(value: Any, schema: str, schemas: dict[str, Any], where: str) -> Iterator[str]:
    """Members of an answer that its schema does not have, or has as something else."""
    properties = schemas[schema].get("properties", {})
    for name, part in value.items():
        if name not in properties:
            yield f"{where}: {schema} has no {name}"
            continue
        yield from _wrong_part(part, properties[name], schemas, f"{where}/{name}")


def _wrong_part(part: Any, said: dict[str, Any], schemas: dict[str, Any], where: str) -> Iterator[str]:
    if "$ref" in said:
        yield from _wrong(part, said["$ref"], schemas, where)
    elif said.get("type") == "array":
        for one in part:
            yield from _wrong_part(one, said["items"], schemas, where)
    elif "enum" in said and part not in said["enum"]:
        yield f"{where}: {part} is none of its values"
    elif {"string": str, "integer": int, "boolean": bool, "object": dict}[said["type"]] is not type(part):
        yield f"{where}: {part!r} is no {said['type']}"
