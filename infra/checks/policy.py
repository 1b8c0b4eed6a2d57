"""Checkov over infra/terraform, and the exceptions: each has a reason, and is refused once nothing needs it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.checks import tools
from infra.checks.terraform import FOLDER, Absent

EXCEPTIONS = Path(__file__).resolve().with_name("policy_exceptions.json")


def read_exceptions() -> list[Mapping[str, str]]:
    """What is let through: `check`, `resource` and `because`."""
    exceptions: list[Mapping[str, str]] = json.loads(EXCEPTIONS.read_text())
    return exceptions


def scan(cache: Path, folder: Path = FOLDER) -> list[Mapping[str, str]]:
    """Everything that the scanner objects to: `check`, `resource` and `name`. Raises `Absent`. Takes about 10 s."""
    where = ["--directory", str(folder), "--skip-path", "tests", "--framework", "terraform"]
    how = ["--download-external-modules", "false", "--compact", "--quiet", "--soft-fail", "--output", "json"]
    done = tools.run(cache, "checkov", [*where, *how])
    try:
        found = json.loads(done.stdout)["results"]["failed_checks"]
    except (ValueError, KeyError, TypeError) as error:
        raise Absent(f"checkov said nothing that can be read: {done.stderr.strip()[-200:]}") from error
    return [{"check": one["check_id"], "resource": one["resource"], "name": one["check_name"]} for one in found]


def faults(found: Iterable[Mapping[str, str]], exceptions: Iterable[Mapping[str, str]]) -> list[str]:
    """What is objected to without an exception, and the exceptions that nothing needs."""
    objections = {(one["check"], one["resource"]): one["name"] for one in found}
    allowed = {(one["check"], one["resource"]) for one in exceptions}
    return [
        *(
            f"{resource}: {objections[check, resource]} ({check})"
            for check, resource in sorted(objections.keys() - allowed)
        ),
        *(
            f"{resource}: nothing objects by {check} any more: remove the exception"
            for check, resource in sorted(allowed - objections.keys())
        ),
    ]
