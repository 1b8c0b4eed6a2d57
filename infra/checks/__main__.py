"""`./dev infra [--strict] [--cache DIR]`: is what Terraform would make what the code needs, well-formed and safe?

A line for each check. What cannot be looked at on this machine says so and what is missing; `--strict`, as in the
pipeline, takes that for a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from infra.checks import consistency, hcl, policy, terraform
from infra.checks.code import read_code
from infra.checks.terraform import Absent, Refused


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when no check found a fault, and with `--strict` every check could be made."""
    parser = argparse.ArgumentParser(prog="./dev infra", description="Check Terraform, without a project.")
    parser.add_argument("--strict", action="store_true", help="what cannot be checked here is a fault")
    parser.add_argument(
        "--cache",
        type=Path,
        default=terraform.default_cache(),
        help="where the provider's schema and the scanner are kept",
    )
    asked = parser.parse_args(arguments)
    cache = asked.cache.resolve()
    checks: dict[str, Callable[[], list[str]]] = {
        "files": _read,
        "consistency": _consistency,
        "format": lambda: _refused(terraform.check_format),
        "arguments": lambda: _refused(lambda: terraform.validate(cache)),
        "plans": lambda: _refused(lambda: terraform.run_tests(cache)),
        "policy": lambda: policy.faults(policy.scan(cache), policy.read_exceptions()),
    }
    return exit_code([_look(name, check) for name, check in checks.items()], strict=asked.strict)


def exit_code(results: list[str], *, strict: bool) -> int:
    """1 for a fault, and where it is strict for what could not be looked at."""
    return int("fault" in results or (strict and "absent" in results))


def _look(name: str, check: Callable[[], list[str]]) -> str:
    try:
        faults = check()
    except Absent as absent:
        print(f"{name:12} not checked: {absent}.", flush=True)
        return "absent"
    print(f"{name:12} {'ok' if not faults else 'FAULT'}", flush=True)
    for fault in faults:
        print("             " + fault.replace("\n", "\n             "), flush=True)
    return "fault" if faults else "ok"


def _read() -> list[str]:
    try:
        hcl.read_configuration()
    except hcl.Unreadable as error:
        return [str(error)]
    return []


def _consistency() -> list[str]:
    topology = consistency.read_topology()
    found = consistency.code_faults(topology, read_code())
    try:
        return [*found, *consistency.terraform_faults(topology, hcl.read_configuration())]
    except hcl.Unreadable:  # said by the check before
        return found


def _refused(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except Refused as refusal:
        return [str(refusal)]
    return []


if __name__ == "__main__":
    sys.exit(main())
