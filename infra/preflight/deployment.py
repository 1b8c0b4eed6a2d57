"""What is deployed, by what the project itself says, and the settings that its functions have."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from infra.local.hosting import FUNCTIONS, ROOT
from infra.preflight.asking import Google, Trouble
from shared.config import Settings

DOORS = ("oauth_callback", "drive_webhook", "dashboard")
_DEFAULTS = {spec.name.upper(): spec.default for spec in fields(Settings)}


@dataclass
class Deployment:
    """One project and region. `given` are settings that count where no function has them yet."""

    google: Google
    project: str
    region: str
    given: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def topology(self) -> dict[str, Any]:
        """Topics, subscriptions, schedules and TTL policies as they must be."""
        described: dict[str, Any] = json.loads((ROOT / "infra" / "topology.json").read_text())
        return described

    @property
    def number(self) -> str:
        """The project's number. Raises `Trouble`."""
        found = self.google.get("cloudresourcemanager", f"/v3/projects/{self.project}")
        if found is None:
            raise Trouble(f"there is no project {self.project}", "look whether its id is right")
        return str(found["name"]).removeprefix("projects/")

    @property
    def functions(self) -> Mapping[str, list[dict[str, Any]]]:
        """Every deployment of each function, by the function's name: lanes are deployments of their own. Raises
        `Trouble`."""
        listed = self.google.every(
            "cloudfunctions", f"/v2/projects/{self.project}/locations/{self.region}/functions", "functions"
        )
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in listed:
            entry = one.get("buildConfig", {}).get("entryPoint", "")
            if entry in FUNCTIONS:
                found[entry].append(one)
        return found

    def setting(self, name: str) -> str:
        """A setting as the functions have it, else as it was given, else the default. Raises `Trouble` where it has
        none of them."""
        try:
            deployed = [one for some in self.functions.values() for one in some]
        except Trouble:
            deployed = []
        for one in deployed:
            value = one.get("serviceConfig", {}).get("environmentVariables", {}).get(name)
            if value:
                return str(value)
        value = self.given.get(name) or str(_DEFAULTS.get(name) or "")
        if not value:
            raise Trouble(f"{name} is set for no function", "deploy first, or give it in --settings FILE")
        return value

    @property
    def policy(self) -> Mapping[str, set[str]]:
        """Who has each role in the project. Raises `Trouble`."""
        return members(self.google.post("cloudresourcemanager", f"/v3/projects/{self.project}:getIamPolicy", {}))


def members(policy: Mapping[str, Any] | None) -> dict[str, set[str]]:
    """Members by role, of an IAM policy. A binding with a condition counts for nobody: it may not hold."""
    found: dict[str, set[str]] = defaultdict(set)
    for binding in (policy or {}).get("bindings", []):
        if "condition" not in binding:
            found[binding["role"]] |= set(binding.get("members", []))
    return found
