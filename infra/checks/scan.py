"""`./dev scan [--strict] [--cache DIR]`: known faults of what is pinned, and secrets where none may be.

The pins are compared with the advisories of the registry of Python packages. Every file of the repository is searched
for what looks like a key or a token of somebody's; words such as "password" alone are no find.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from infra.checks import terraform, tools
from infra.checks.terraform import Absent

ROOT = Path(__file__).resolve().parents[2]
# These guess by how random a word looks, and object to every hash of requirements.txt.
_GUESSES = ("Base64HighEntropyString", "HexHighEntropyString", "KeywordDetector")
# Made up, for a test that must not take them for anything else.
MADE_UP = {
}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when nothing was found, and with `--strict` everything could be looked at."""
    parser = argparse.ArgumentParser(prog="./dev scan", description="Known faults of packages, and secrets.")
    parser.add_argument("--strict", action="store_true", help="what cannot be looked at here is a fault")
    parser.add_argument("--cache", type=Path, default=terraform.default_cache(), help="where the scanners are kept")
    asked = parser.parse_args(arguments)
    looks = {"packages": known_faults, "secrets": secrets}
    code = 0
    for name, look in looks.items():
        try:
            found = look(asked.cache.resolve())
        except Absent as absent:
            print(f"{name:12} not checked: {absent}.", flush=True)
            code = max(code, int(asked.strict))
            continue
        print(f"{name:12} {'ok' if not found else 'FAULT'}", *found, sep="\n             ", flush=True)
        code = max(code, int(bool(found)))
    return code


def known_faults(cache: Path, pinned: Path = ROOT / "requirements-dev.txt") -> list[str]:
    """The advisories about what is pinned, which everything deployed is part of. Raises `Absent` without a network."""
    audit = tools.program(cache, "pip-audit")
    how = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json", "--requirement", str(pinned)]
    done = subprocess.run([audit, *how], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        raise Absent(f"the advisories could not be asked for ({last[:200]})") from error
    return [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'no version yet'}"
        for package in packages
        for one in package.get("vulns", [])
    ]


def secrets(cache: Path, root: Path = ROOT) -> list[str]:
    """The places of what looks like a secret, in every file that git knows, or in every file where there is no git."""
    detect = tools.program(cache, "detect-secrets")
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False).stdout.split("\n")
    files = [name for name in listed if name] or ["."]
    how = ["scan", "--all-files", *(word for guess in _GUESSES for word in ("--disable-plugin", guess))]
    done = subprocess.run([detect, *how, *files], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Absent(f"detect-secrets did not end well ({done.stderr.strip()[-200:]})")
    found = json.loads(done.stdout)["results"]
    return sorted(
        f"{one['filename']}:{one['line_number']}: {one['type']}"
        for places in found.values()
        for one in places
        if (one["filename"], one["type"]) not in MADE_UP
    )


if __name__ == "__main__":
    sys.exit(main())
