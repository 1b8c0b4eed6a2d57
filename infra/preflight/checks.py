"""Every check of a project, in the order in which things depend on each other. None hides another."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from google.protobuf.message import DecodeError
from pg8000.dbapi import Connection

from infra.migrate import migrations
from infra.preflight.asking import Trouble
from infra.preflight.deployment import DOORS, Deployment, members
from infra.preflight.lines import Found, Line, error, line, ok, warning
from schemas.messages.tick_pb2 import Tick
from shared.adapters.pgqueries import query
from shared.adapters.postgres import connect
from shared.config import SettingsError, read_settings
from shared.domain.errors import Unavailable

APIS = (
    "aiplatform", "artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler",
    "documentai", "drive", "firestore", "iam", "logging", "monitoring", "pubsub", "run", "secretmanager", "sqladmin",
)  # fmt: skip
LIMITED = ("drive", "documentai", "aiplatform")
# What each function's identity needs in the whole project; rights to one topic or secret are given there.
_SQL = ("roles/cloudsql.client", "roles/cloudsql.instanceUser")
_FIRESTORE = "roles/datastore.user"
ROLES = {
    "oauth_callback": (_FIRESTORE, *_SQL),
    "drive_webhook": (_FIRESTORE,),
    "change_lister": (_FIRESTORE, *_SQL),
    "file_streamer": (_FIRESTORE, *_SQL),
    "ai_processor": ("roles/documentai.apiUser", "roles/aiplatform.user", *_SQL),
    "channel_renewer": (_FIRESTORE, *_SQL),
    "dashboard": ("roles/aiplatform.user", *_SQL),
}
BROAD = ("roles/owner", "roles/editor")
# What ./dev replay, rotate and resync do in your name.
OPERATE = (
    "pubsub.topics.publish", "secretmanager.versions.add", "secretmanager.versions.access",
    "cloudsql.instances.connect", "cloudsql.instances.login", "datastore.entities.list",
)  # fmt: skip
EVERYBODY = {"allUsers", "allAuthenticatedUsers"}
SOON = timedelta(days=90)
MODELS = Path(__file__).with_name("models.json")


def check_all(of: Deployment, today: date | None = None) -> Iterator[Line]:
    """A line for each check."""
    day = today or datetime.now(UTC).date()
    yield line("project", lambda: ok(f"{of.project} has the number {of.number}"))
    yield from (line(f"api {name}", partial(_api, of, name)) for name in APIS)
    yield from (line(f"quota {name}", partial(_quota, of, name)) for name in LIMITED)
    yield line("operator", partial(_operator, of))
    yield from (line(f"function {name}", partial(_function, of, name)) for name in ROLES)
    yield from (line(f"identity {name}", partial(_identity, of, name)) for name in ROLES)
    yield from (line(f"callers {name}", partial(_callers, of, name)) for name in ROLES)
    yield line("address oauth_callback", partial(_address, of, "CONNECT_URL", "/", (200, 404)))
    yield line("address drive_webhook", partial(_address, of, "WEBHOOK_URL", "/", (405,)))
    yield line("address dashboard", partial(_address, of, "DASHBOARD_URL", "/healthz", (200,)))
    yield line("oauth client", partial(_oauth_client, of))
    yield line("oauth redirect", partial(_oauth_redirect, of))
    yield line("oauth secret", partial(_oauth_secret, of))
    yield line("secret OAUTH_CLIENT_SECRET", partial(_secret, of, "OAUTH_CLIENT_SECRET"))
    yield line("secret TOKEN_KEYS_SECRET", partial(_secret, of, "TOKEN_KEYS_SECRET"))
    yield line("model of vectors", partial(_model, of, "EMBEDDING_MODEL", day))
    yield line("model of entities", partial(_model, of, "ENTITY_MODEL", day))
    yield line("documentai processor", partial(_processor, of))
    yield line("documentai version", partial(_processor_version, of, day))
    yield line("database instance", partial(_database, of))
    yield line("database sign-in", partial(_database_flag, of))
    yield line("database backups", partial(_backups, of))
    yield line("database schema", partial(_schema, of))
    yield line("firestore database", partial(_firestore, of))
    yield from (
        line(f"firestore ttl {group}", partial(_ttl, of, group, name))
        for group, name in of.topology["firestore"]["ttl"].items()
    )
    yield from (line(f"topic {name}", partial(_topic, of, name)) for name in of.topology["topics"])
    yield from (line(f"subscription {name}", partial(_subscription, of, name)) for name in of.topology["subscriptions"])
    yield line("pubsub agent", partial(_agent, of))
    yield from (line(f"schedule {duty}", partial(_schedule, of, duty)) for duty in of.topology["schedules"])


# The project ----------------------------------------------------------------------------------------------------------


def _api(of: Deployment, name: str) -> Found:
    wanted = f"{name}.googleapis.com"
    enabled = of.google.every(
        "serviceusage", f"/v1/projects/{of.project}/services", "services", filter="state:ENABLED", pageSize="200"
    )
    if any(one.get("config", {}).get("name") == wanted or one["name"].endswith(f"/{wanted}") for one in enabled):
        return ok("enabled")
    return error("not enabled", f"gcloud services enable {wanted} --project {of.project}")


def _quota(of: Deployment, name: str) -> Found:
    path = f"/v1beta1/projects/{of.project}/services/{name}.googleapis.com/consumerQuotaMetrics"
    limits = [
        (limit["unit"], int(bucket.get("effectiveLimit", 0)), metric.get("displayName", metric["metric"]))
        for metric in of.google.every("serviceusage", path, "metrics")
        for limit in metric.get("consumerQuotaLimits", [])
        for bucket in limit.get("quotaBuckets", [])
    ]
    if not limits:
        return warning("no limit is listed", f"look under IAM and admin, Quotas, for {name}.googleapis.com")
    nothing = sorted({said for _, limit, said in limits if limit == 0})
    if nothing:
        return error(f"nothing is left by {', '.join(nothing)}", "raise it under IAM and admin, Quotas")
    least = min((limit for unit, limit, _ in limits if limit > 0 and "/min/" in unit), default=None)
    return ok(f"{len(limits)} limits" + (f", the least of a minute is {least:,}" if least else ""))


def _operator(of: Deployment) -> Found:
    asked = {"permissions": list(OPERATE)}
    path = f"/v3/projects/{of.project}:testIamPermissions"
    allowed = (of.google.post("cloudresourcemanager", path, asked) or {}).get("permissions", [])
    missing = [name for name in OPERATE if name not in allowed]
    if missing:
        return warning(
            f"you lack {', '.join(missing)}", "./dev replay, rotate and resync need them: see docs/operations.md"
        )
    return ok("you may do what ./dev replay, rotate and resync do")


# Functions ------------------------------------------------------------------------------------------------------------


def _function(of: Deployment, name: str) -> Found:
    deployed = of.functions.get(name, [])
    if not deployed:
        return error("not deployed", "terraform apply, in infra/terraform")
    resting = [f"{_short(one)} is {one.get('state')}" for one in deployed if one.get("state") != "ACTIVE"]
    if resting:
        return error(", ".join(resting), "read what its last build says: gcloud functions describe")
    return ok(f"active: {', '.join(sorted(map(_short, deployed)))}")


def _identity(of: Deployment, name: str) -> Found:
    accounts = {one.get("serviceConfig", {}).get("serviceAccountEmail", "") for one in _deployed(of, name)}
    policy = of.policy
    for account in sorted(accounts):
        if not account or account.endswith("-compute@developer.gserviceaccount.com"):
            return error("runs as the default identity of the project", "give it its own: terraform apply")
        member = f"serviceAccount:{account}"
        broad = [role for role in BROAD if member in policy.get(role, set())]
        if broad:
            return error(f"{account} has {', '.join(broad)}", "take it away: a stolen token would open everything")
        missing = [role for role in ROLES[name] if member not in policy.get(role, set())]
        if missing:
            return error(f"{account} lacks {', '.join(missing)}", "terraform apply, in infra/terraform")
    return ok(f"{', '.join(sorted(accounts))} with its roles")


def _callers(of: Deployment, name: str) -> Found:
    for one in _deployed(of, name):
        service = one.get("serviceConfig", {}).get("service", "")
        policy = members(of.google.get("run", f"/v2/{service}:getIamPolicy"))
        callers = policy.get("roles/run.invoker", set())
        public = bool(callers & EVERYBODY)
        if name in DOORS and not public:
            return error(f"{_short(one)} may not be called by Drive and browsers", "give allUsers roles/run.invoker")
        if name not in DOORS and public:
            return error(f"{_short(one)} may be called by everybody", "take roles/run.invoker from allUsers")
        if name not in DOORS and not callers:
            return error(f"{_short(one)} may not be called by Pub/Sub", "give its pusher roles/run.invoker")
    return ok("everybody" if name in DOORS else "Pub/Sub's identity only")


def _address(of: Deployment, setting: str, path: str, expected: tuple[int, ...]) -> Found:
    address = of.setting(setting)
    parts = urlsplit(address)
    if parts.scheme != "https":
        return error(f"{address} is not https", f"{setting} must be an https address: Drive and Google refuse others")
    status = of.google.public("GET", address.rstrip("/") + path).status_code
    if status in (401, 403):
        return error(f"{address} answers {status}", "the platform keeps callers out: see the line of its callers")
    if status not in expected:
        return warning(f"{address} answers {status} where {expected[0]} is expected", "look at the function's log")
    return ok(f"{address} answers")


# OAuth ----------------------------------------------------------------------------------------------------------------


def _oauth_client(of: Deployment) -> Found:
    client = of.setting("OAUTH_CLIENT_ID")
    if not client.endswith(".apps.googleusercontent.com"):
        return error(f"{client} is no OAuth client's id", "copy it from the console: Credentials")
    if client.partition("-")[0] != of.number:
        return warning(
            f"{client} is a client of another project", "its consent screen and its Drive quota are the other project's"
        )
    return ok(client)


def _oauth_redirect(of: Deployment) -> Found:
    redirect = of.setting("CONNECT_URL").rstrip("/") + "/callback"
    asked = {
        "client_id": of.setting("OAUTH_CLIENT_ID"),
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": "openid https://www.googleapis.com/auth/drive.readonly",
    }
    answer = of.google.public("GET", "/o/oauth2/v2/auth?" + urlencode(asked), "accounts")
    where = answer.headers.get("Location", "")
    if "/oauth/error" in where or answer.status_code >= 400:
        return error(f"Google refuses {redirect} for this client{_why(where)}", "add it to the client's redirect URIs")
    return ok(f"Google takes {redirect}")


def _why(where: str) -> str:
    """What an error page of Google's is about, as far as its address says."""
    said = dict(part.partition("=")[::2] for part in urlsplit(where).query.split("&")).get("authError", "")
    try:
        words = base64.urlsafe_b64decode(unquote(said) + "===").decode("latin-1")
    except ValueError:
        return ""
    known = ("redirect_uri_mismatch", "invalid_client", "deleted_client", "org_internal", "access_denied")
    return next((f": {word}" for word in known if word in words), "")


def _oauth_secret(of: Deployment) -> Found:
    """A refresh with a token that is none: Google looks at the client first."""
    secret = _value(of, of.setting("OAUTH_CLIENT_SECRET"))
    form = {
        "client_id": of.setting("OAUTH_CLIENT_ID"),
        "client_secret": secret.decode("utf-8", "replace").strip(),
        "grant_type": "refresh_token",
        "refresh_token": "preflight",
    }
    answer = of.google.public("POST", "/token", "oauth2", data=form)
    try:
        said = answer.json().get("error")
    except ValueError:
        said = answer.status_code
    if said == "invalid_grant":
        return ok("Google takes the client and its secret")
    return error(f"Google says {said}", "add the secret of this client as a new version of its secret")


# Secrets and models ---------------------------------------------------------------------------------------------------


def _secret(of: Deployment, setting: str) -> Found:
    name = of.setting(setting)
    secret = name.partition("/versions/")[0]
    if of.google.get("secretmanager", f"/v1/{secret}") is None:
        return error(f"there is no {secret}", "terraform apply, in infra/terraform")
    version = of.google.get("secretmanager", f"/v1/{name}")
    if version is None:
        return error(
            f"{secret} has no version", f"gcloud secrets versions add {secret.rpartition('/')[2]} --data-file=-"
        )
    if version.get("state") != "ENABLED":
        return error(f"{version['name']} is {version.get('state')}", "enable it, or add another version")
    return ok(f"{version['name']} is enabled")


def _value(of: Deployment, name: str) -> bytes:
    answer = of.google.get("secretmanager", f"/v1/{name}:access")
    if answer is None:
        raise Trouble(f"there is no {name}", "add a version of the secret")
    return base64.b64decode(answer["payload"]["data"])


def _model(of: Deployment, setting: str, today: date) -> Found:
    model = of.setting(setting)
    known = json.loads(MODELS.read_text())
    if of.google.get("aiplatform", f"/v1/publishers/google/models/{model}") is None:
        return error(f"{model} is not there, or no longer", f"set {setting} to a model that is")
    ends = known["retire"].get(model)
    if ends is None:
        return warning(f"{model} is there; when it retires is not known here", f"look it up: {known['source']}")
    said = f"{model} is there until {ends} at least, looked up on {known['looked_up']}"
    if date.fromisoformat(ends) <= today + SOON:
        return warning(said, f"choose its successor for {setting} now: new vectors take as long as a first sync")
    return ok(said)


def _processor(of: Deployment) -> Found:
    name = of.setting("DOCUMENTAI_PROCESSOR").partition("/processorVersions/")[0]
    found = of.google.get("documentai", f"/v1/{name}")
    if found is None:
        return error(f"there is no {name}", "terraform apply, in infra/terraform")
    if found.get("state") != "ENABLED":
        return error(f"{name} is {found.get('state')}", "enable the processor in the console")
    return ok(f"{found.get('type', 'processor')} enabled")


def _processor_version(of: Deployment, today: date) -> Found:
    name = of.setting("DOCUMENTAI_PROCESSOR")
    if "/processorVersions/" not in name:
        return error(f"{name} names no version", "name one: the default version changes, and with it what is read")
    found = of.google.get("documentai", f"/v1/{name}")
    if found is None:
        return error(f"there is no {name}", "choose a version that the processor has")
    if found.get("state") != "DEPLOYED":
        return error(f"{name.rpartition('/')[2]} is {found.get('state')}", "deploy it, or choose another version")
    ends = found.get("deprecationInfo", {}).get("deprecationTime", "")
    if ends and date.fromisoformat(ends[:10]) <= today + SOON:
        return warning(f"{name.rpartition('/')[2]} ends on {ends[:10]}", "choose another version")
    return ok(f"{name.rpartition('/')[2]} is deployed")


# Stores ---------------------------------------------------------------------------------------------------------------


def _database(of: Deployment) -> Found:
    found = _instance(of)
    if found.get("state") != "RUNNABLE":
        return error(f"{found['name']} is {found.get('state')}", "wait, or look at it in the console")
    database = of.setting("CLOUD_SQL_DATABASE")
    if of.google.get("sqladmin", f"{_instance_path(of)}/databases/{database}") is None:
        return error(f"{found['name']} has no database {database}", "terraform apply, in infra/terraform")
    return ok(f"{found['name']} runs {found.get('databaseVersion')}")


def _database_flag(of: Deployment) -> Found:
    flags = {flag["name"]: flag.get("value") for flag in _instance(of).get("settings", {}).get("databaseFlags", [])}
    if flags.get("cloudsql.iam_authentication") != "on":
        return error("functions cannot sign in", "set the flag cloudsql.iam_authentication to on")
    return ok("functions sign in by their identity")


def _backups(of: Deployment) -> Found:
    kept = _instance(of).get("settings", {}).get("backupConfiguration", {})
    if not kept.get("enabled"):
        return error("there are no backups", "terraform apply, in infra/terraform")
    if not kept.get("pointInTimeRecoveryEnabled"):
        return error("there is no way back to a moment", "switch on point-in-time recovery")
    return ok(f"daily, and to any moment of {kept.get('transactionLogRetentionDays', 7)} days")


def _schema(of: Deployment) -> Found:
    """Reached as the settings say; a private address can be reached from its network only."""
    newest = migrations()[-1].number
    try:
        names = ("CLOUD_SQL_INSTANCE", "CLOUD_SQL_DATABASE")
        wanted = {name: of.setting(name) for name in names} if not of.given.get("DATABASE_URL") else {}
        config = read_settings({"GOOGLE_CLOUD_PROJECT": of.project, **wanted, **of.given})
        connection = connect(config)
    except (Unavailable, SettingsError, OSError, ValueError) as away:
        return warning(
            f"not reached from here: {getattr(away, 'reason', away)}",
            "its address is private: ask again from its network, as the job of docs/operations.md does",
        )
    try:
        version, made = _first(connection, "pgvector_standing") or (None, False)
        if version is None:
            return error("pgvector is not there", "run the migrations: python -m infra.migrate")
        if not made:
            return error("there are no tables", "run the migrations: python -m infra.migrate")
        at = (_first(connection, "migration_standing") or ("none",))[0]
    finally:
        connection.close()
    if at != newest:
        return error(f"at migration {at}, the newest is {newest}", "run the migrations: python -m infra.migrate")
    return ok(f"pgvector {version}, migration {newest}")


def _first(connection: Connection, name: str) -> list[Any] | None:
    rows = connection.execute_simple(query(name).sql).rows
    return rows[0] if rows else None


def _instance_path(of: Deployment) -> str:
    return f"/v1/projects/{of.project}/instances/{of.setting('CLOUD_SQL_INSTANCE').rpartition(':')[2]}"


def _instance(of: Deployment) -> dict[str, Any]:
    found = of.google.get("sqladmin", _instance_path(of))
    if found is None:
        raise Trouble(f"there is no instance {of.setting('CLOUD_SQL_INSTANCE')}", "terraform apply, in infra/terraform")
    return found


def _firestore(of: Deployment) -> Found:
    found = of.google.get("firestore", f"/v1/projects/{of.project}/databases/(default)")
    if found is None:
        return error("there is none", "terraform apply, in infra/terraform")
    if found.get("type") != "FIRESTORE_NATIVE":
        return error(f"it is in {found.get('type')}", "make it in native mode; a mode cannot be changed where data is")
    return ok(f"native, in {found.get('locationId')}")


def _ttl(of: Deployment, group: str, name: str) -> Found:
    path = f"/v1/projects/{of.project}/databases/(default)/collectionGroups/{group}/fields/{name}"
    state = (of.google.get("firestore", path) or {}).get("ttlConfig", {}).get("state")
    if state == "ACTIVE":
        return ok("what is over is collected")
    if state == "CREATING":
        return warning("being made", "nothing: it takes minutes")
    return error(
        "garbage is kept for ever" if state is None else f"the policy is {state}",
        f"gcloud firestore fields ttls update {name} --collection-group={group} --enable-ttl",
    )


# Messages -------------------------------------------------------------------------------------------------------------


def _topic(of: Deployment, name: str) -> Found:
    found = of.google.get("pubsub", f"/v1/projects/{of.project}/topics/{name}")
    if found is None:
        return error("not there", "terraform apply, in infra/terraform")
    if of.topology["topics"][name]["schema"] is None:
        return ok("there")
    settings = found.get("schemaSettings", {})
    if not settings.get("schema") or settings["schema"] == "_deleted-schema_":
        return error("has no schema: the broker would take anything", "terraform apply, in infra/terraform")
    if settings.get("encoding") != "BINARY":
        return error(f"its schema is for {settings.get('encoding')}", "set its encoding to BINARY")
    return ok(f"there, with {settings['schema'].rpartition('/')[2]}")


def _subscription(of: Deployment, name: str) -> Found:
    wanted = of.topology["subscriptions"][name]
    found = of.google.get("pubsub", f"/v1/projects/{of.project}/subscriptions/{name}")
    if found is None:
        return error("not there", "terraform apply, in infra/terraform")
    if not str(found.get("topic", "")).endswith(f"/topics/{wanted['topic']}"):
        return error(f"reads {found.get('topic')}", f"it must read {wanted['topic']}: terraform apply")
    push = found.get("pushConfig", {})
    addresses = {
        str(address).rstrip("/")
        for one in _deployed(of, wanted["function"])
        for address in (one.get("serviceConfig", {}).get("uri"), one.get("url"), _audience(one))
        if address
    }
    if str(push.get("pushEndpoint", "")).rstrip("/") not in addresses:
        said = push.get("pushEndpoint") or "nobody"
        return error(f"pushes to {said}", f"it must push to {wanted['function']}: terraform apply")
    if not push.get("oidcToken", {}).get("serviceAccountEmail"):
        return error("pushes without saying who it is", "set the OIDC token of its push")
    if found.get("ackDeadlineSeconds") != wanted["ack_deadline_seconds"]:
        return error(
            f"waits {found.get('ackDeadlineSeconds')} s for an answer",
            f"set its deadline to {wanted['ack_deadline_seconds']} s: work would be delivered twice",
        )
    if wanted["max_delivery_attempts"] and not found.get("deadLetterPolicy", {}).get("deadLetterTopic"):
        return error("has no dead letters: what cannot be done is tried for ever", "terraform apply")
    if found.get("expirationPolicy", {"ttl": "2678400s"}).get("ttl"):
        return warning("is deleted when nothing comes for a while", "let it never expire: terraform apply")
    return ok(f"pushes to {wanted['function']}")


def _audience(one: dict[str, Any]) -> str:
    """The address that a function is told to be, which is one of several that lead to it."""
    return str(one.get("serviceConfig", {}).get("environmentVariables", {}).get("PUSH_AUDIENCE", ""))


def _agent(of: Deployment) -> Found:
    """Pub/Sub itself moves dead letters, in the name of its own account."""
    agent = f"serviceAccount:service-{of.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

    def has(role: str, path: str) -> bool:
        own = members(of.google.get("pubsub", f"/v1/projects/{of.project}/{path}:getIamPolicy"))
        return agent in own.get(role, set()) | of.policy.get(role, set())

    missing = [] if has("roles/pubsub.publisher", "topics/dead-letters") else ["publisher on dead-letters"]
    missing += [
        f"subscriber on {name}"
        for name, wanted in of.topology["subscriptions"].items()
        if wanted["max_delivery_attempts"] and not has("roles/pubsub.subscriber", f"subscriptions/{name}")
    ]
    if missing:
        return error(f"Pub/Sub is not {', not '.join(missing)}", "terraform apply: dead letters would be lost")
    return ok("moves dead letters")


def _schedule(of: Deployment, duty: str) -> Found:
    wanted = of.topology["schedules"][duty]
    jobs = of.google.every("cloudscheduler", f"/v1/projects/{of.project}/locations/{of.region}/jobs", "jobs")
    found = next((job for job in jobs if _duty(job) == duty), None)
    if found is None:
        return error("nobody ticks for it", "terraform apply, in infra/terraform")
    if found.get("state") != "ENABLED":
        return error(f"{_short(found)} is {found.get('state')}", f"gcloud scheduler jobs resume {_short(found)}")
    if found.get("schedule") != wanted["cron"]:
        return warning(f"at {found.get('schedule')}, not {wanted['cron']}", "terraform apply, in infra/terraform")
    return ok(f"at {wanted['cron']}")


def _duty(job: dict[str, Any]) -> str:
    """The duty that a job ticks for; empty for a job of somebody else's."""
    target = job.get("pubsubTarget", {})
    if not str(target.get("topicName", "")).endswith("/topics/ticks"):
        return ""
    tick = Tick()
    try:
        tick.ParseFromString(base64.b64decode(target.get("data", "")))
        return Tick.Duty.Name(tick.duty).lower()
    except (DecodeError, ValueError):
        return ""


def _deployed(of: Deployment, name: str) -> list[dict[str, Any]]:
    found = of.functions.get(name, [])
    if not found:
        raise Trouble(f"{name} is not deployed", "terraform apply, in infra/terraform")
    return found


def _short(resource: dict[str, Any]) -> str:
    return str(resource.get("name", "")).rpartition("/")[2]
