"""Does the project have what the code needs, and nothing that it does not? Each fault is a sentence.

The topology is what both the one-machine stack and Terraform read. So there are two questions: does the topology say
what the code says, and does Terraform make everything of the topology, from it alone?
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from infra.checks.code import Code
from infra.checks.hcl import Configuration, keys_of_object, strings
from schemas.messages.tick_pb2 import Tick

TOPOLOGY = Path(__file__).resolve().parents[1] / "topology.json"
# Read in a module that a function shares with others, in a part that it does not use.
_UNUSED = {"ai_processor": {"OAUTH_CLIENT_ID"}, "dashboard": {"OAUTH_CLIENT_ID"}}
_PUSH = {"PUSH_SERVICE_ACCOUNT", "PUSH_AUDIENCE"}
# What Terraform makes of each part of the topology: the only resource of its type, one for each entry.
_MADE_OF = {
    "google_cloudfunctions2_function": "local.functions",
    "google_pubsub_topic": "local.topics",
    "google_pubsub_subscription": "local.subscriptions",
    "google_cloud_scheduler_job": "local.schedules",
    "google_secret_manager_secret": "local.secrets",
    "google_firestore_field": "local.topology.firestore.ttl",
}
# Rights that would be everybody's, or over everything.
_TOO_MUCH = {"roles/owner", "roles/editor", "roles/iam.serviceAccountKeyAdmin", "allAuthenticatedUsers"}
_EVERYBODY = {"allUsers": "google_cloud_run_v2_service_iam_member.anybody"}


def read_topology() -> dict[str, Any]:
    """The topology as it is."""
    topology: dict[str, Any] = json.loads(TOPOLOGY.read_text())
    return topology


def code_faults(topology: Mapping[str, Any], code: Code) -> list[str]:
    """Where the topology and the code disagree."""
    return [
        *_differ("function", topology["functions"], code.functions, "functions/"),
        *_function_faults(topology, code),
        *_settings_faults(topology, code),
        *_differ("topic", topology["topics"], code.topics, "shared/domain/names.py"),
        *_differ("schema", _schemas(topology), code.messages, "schemas/messages"),
        *_differ("duty", topology["schedules"], code.duties, "tick.proto"),
        *_differ("collection that forgets", topology["firestore"]["ttl"], code.collections, "shared/adapters"),
        *_differ("login", _with_database(topology), code.logins, "schemas/sql/roles.sql"),
        *_flow_faults(topology),
        *_tick_faults(topology["schedules"]),
    ]


def terraform_faults(topology: Mapping[str, Any], configuration: Configuration) -> list[str]:
    """Where Terraform does not make what the topology says, makes something beside it, or gives too much away."""
    return [
        *_map_faults(configuration),
        *_environment_faults(topology, configuration),
        *_role_faults(topology, configuration),
    ]


def _differ(what: str, said: Collection[str], wanted: Collection[str], where: str) -> Iterator[str]:
    yield from (f"The {what} {name} is in {where}, and not in infra/topology.json." for name in _minus(wanted, said))
    yield from (f"The {what} {name} is in infra/topology.json, and not in {where}." for name in _minus(said, wanted))


def _minus(left: Collection[str], right: Collection[str]) -> list[str]:
    return sorted(set(left) - set(right))


def _function_faults(topology: Mapping[str, Any], code: Code) -> Iterator[str]:
    derived = _derived(topology)
    pushed = {subscription["function"] for subscription in topology["subscriptions"].values()}
    for name in sorted(topology["functions"].keys() & code.functions.keys()):
        said, needs = topology["functions"][name], code.functions[name]
        reads = (needs.reads & derived) - _UNUSED.get(name, set()) - (set() if name in pushed else _PUSH)
        for what, there, wanted in (
            ("environment", said["environment"], reads),
            ("touches", said["touches"], needs.touches),
            ("publishes", said["publishes"], needs.publishes),
        ):
            yield from (
                f"{name} needs {one}, and its {what} in infra/topology.json lacks it." for one in _minus(wanted, there)
            )
            yield from (
                f"{name} does not need {one}, and its {what} in infra/topology.json has it."
                for one in _minus(there, wanted)
            )
        if said["pools"] != needs.pools:
            yield f"{name} keeps {needs.pools} pools of connections, and infra/topology.json counts {said['pools']}."


def _settings_faults(topology: Mapping[str, Any], code: Code) -> Iterator[str]:
    settings = topology["settings"]
    said = [*_derived(topology), *settings["tunable"], *settings["only_elsewhere"]]
    yield from _differ("setting", said, code.settings, "shared/config.py")
    yield from (
        f"The setting {name} is said twice in infra/topology.json."
        for name in sorted(set(said))
        if said.count(name) > 1
    )


def _flow_faults(topology: Mapping[str, Any]) -> Iterator[str]:
    deployments, subscriptions = topology["deployments"], topology["subscriptions"]
    for name, subscription in subscriptions.items():
        deployment = deployments.get(subscription["deployment"])
        if deployment is None:
            yield f"The subscription {name} pushes to {subscription['deployment']}, which is not deployed."
        elif deployment["function"] != subscription["function"]:
            yield f"The subscription {name} is {subscription['function']}'s, and pushes to {deployment['function']}."
        if subscription["topic"] not in topology["topics"]:
            yield f"The subscription {name} listens to {subscription['topic']}, which is no topic."
    heard = {subscription["topic"] for subscription in subscriptions.values()}
    yield from (f"Nobody listens to the topic {name}." for name in _minus(topology["topics"], heard))
    said = {topic for function in topology["functions"].values() for topic in function["publishes"]}
    yield from (
        f"Nobody publishes to the topic {name}." for name in _minus(topology["topics"], said | {"dead-letters"})
    )
    pushed = {subscription["deployment"] for subscription in subscriptions.values()}
    for name, deployment in deployments.items():
        function = topology["functions"].get(deployment["function"])
        if function is None:
            yield f"The deployment {name} is of {deployment['function']}, which is no function."
        elif function["public"] == (name in pushed):
            kind = "a door, and pushed to" if function["public"] else "neither a door nor pushed to"
            yield f"The deployment {name} is {kind}."
    used = {deployment["function"] for deployment in deployments.values()}
    yield from (f"The function {name} is not deployed." for name in _minus(topology["functions"], used))


def _tick_faults(schedules: Mapping[str, Any]) -> Iterator[str]:
    for duty, schedule in schedules.items():
        try:
            tick = Tick.FromString(base64.b64decode(schedule["tick"], validate=True))
        except (binascii.Error, DecodeError):
            yield f"The tick of {duty} is no message."
            continue
        if Tick.Duty.Name(tick.duty).lower() != duty:
            yield f"The tick of {duty} tells the caretaker to {Tick.Duty.Name(tick.duty).lower()}."


def _map_faults(configuration: Configuration) -> Iterator[str]:
    for kind, source in _MADE_OF.items():
        found = configuration.of_type(kind)
        if len(found) != 1:
            yield f"There should be one {kind} in infra/terraform, and there are {len(found)}."
        for name, body in found.items():
            if body.get("for_each") != f"${{{source}}}":
                yield f"{kind}.{name} should be made for each of {source}."


def _environment_faults(topology: Mapping[str, Any], configuration: Configuration) -> Iterator[str]:
    given = keys_of_object(str(configuration.locals.get("environment", "")))
    derived = _derived(topology)
    yield from (f"{name} has no value in local.environment of infra/terraform." for name in _minus(derived, given))
    yield from (
        f"{name} has a value in local.environment, and no function is given it." for name in _minus(given, derived)
    )


def _role_faults(topology: Mapping[str, Any], configuration: Configuration) -> Iterator[str]:
    roles = {key for key in configuration.locals.get("roles_of_service", {}) if not key.startswith("__")}
    touched = {service for function in topology["functions"].values() for service in function["touches"]}
    yield from (f"Nothing in infra/terraform says which roles {name} takes." for name in _minus(touched, roles))
    yield from (f"Roles are given for {name}, which no function touches." for name in _minus(roles, touched))
    parts: dict[str, Any] = {f"{kind}.{name}": body for (kind, name), body in configuration.resources.items()}
    parts |= {f"local.{name}": value for name, value in configuration.locals.items()}
    for name, body in parts.items():
        found = set(strings(body))
        yield from (f"{name} gives {one}: too much for anybody." for one in sorted(found & _TOO_MUCH))
        yield from (
            f"{name} lets everybody in." for one in sorted(found & _EVERYBODY.keys()) if _EVERYBODY[one] != name
        )


def _derived(topology: Mapping[str, Any]) -> set[str]:
    return {name for function in topology["functions"].values() for name in function["environment"]}


def _schemas(topology: Mapping[str, Any]) -> set[str]:
    return {topic["schema"] for topic in topology["topics"].values() if topic["schema"]}


def _with_database(topology: Mapping[str, Any]) -> set[str]:
    return {name for name, function in topology["functions"].items() if "cloud_sql" in function["touches"]}
