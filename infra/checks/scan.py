"""`./dev scan [--strict] [--cache DIR]`: known faults of what is pinned, and secrets where none may be.

The pins are compared with the advisories of the registry of Python packages. Every file of the repository is searched
for what has the shape of somebody's key or token.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from infra.checks import terraform, tools
from infra.checks.terraform import Absent

ROOT = Path(__file__).resolve().parents[2]
# The whole shape of each, so that a test may say "ya29.fake".
_SHAPES = {
    "a key of Google's APIs": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "the secret of an OAuth client": rb"\bGOCSPX-[0-9A-Za-z_-]{28}\b",
    "a refresh token of Google's": rb"\b1//0[0-9A-Za-z_-]{40,}",
    "an access token of Google's": rb"\bya29\.[0-9A-Za-z_-]{60,}",
    "a private key": rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\\n|\s)+[0-9A-Za-z+/]{60}",
    "a key of Amazon's": rb"\bAKIA[0-9A-Z]{16}\b",
    "a token of GitHub's": rb"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})",
    "a token of Slack's": rb"\bxox[abeoprs]-[0-9]{10,}-[0-9A-Za-z-]{20,}",
}
_ANY = re.compile(b"|".join(b"(?P<k%d>%s)" % (at, shape) for at, shape in enumerate(_SHAPES.values())))


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when nothing was found, and with `--strict` everything could be looked at."""
    parser = argparse.ArgumentParser(prog="./dev scan", description="Known faults of packages, and secrets.")
    parser.add_argument("--strict", action="store_true", help="what cannot be looked at here is a fault")
    parser.add_argument("--cache", type=Path, default=terraform.default_cache(), help="where the scanner is kept")
    asked = parser.parse_args(arguments)
    found = list(secrets(tracked_files()))
    _say("secrets", found)
    try:
        faults = known_faults(asked.cache.resolve())
    except Absent as absent:
        print(f"packages     not checked: {absent}.", flush=True)
        return 1 if found or asked.strict else 0
    _say("packages", faults)
    return 1 if found or faults else 0


def _say(name: str, found: list[str]) -> None:
    print(f"{name:12} {'ok' if not found else 'FAULT'}", *found, sep="\n             ", flush=True)


def secrets(files: Iterable[Path]) -> Iterator[str]:
    """The places of what looks like a secret. What it looks like is said, and not what it is."""
    kinds = list(_SHAPES)
    for path in files:
        content = path.read_bytes()
        for match in _ANY.finditer(content):
            kind = kinds[int((match.lastgroup or "k0")[1:])]
            line = content.count(b"\n", 0, match.start()) + 1
            yield f"{path}:{line}: {kind}"


def tracked_files(root: Path = ROOT) -> list[Path]:
    """Every file that git knows. Raises `CalledProcessError` outside of git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := root / name).is_file()]


def known_faults(cache: Path, pinned: Path = ROOT / "requirements-dev.txt") -> list[str]:
    """The advisories about what is pinned, which everything deployed is part of. Raises `Absent` without a network."""
    how = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = tools.run(cache, "pip-audit", [*how, "--requirement", pinned])
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        raise Absent(f"the advisories could not be asked for ({last[:200]})") from error
    return [
        f"{package['name']} {package['version']}: {one['id']}, mended in {one['fix_versions'] or 'no version yet'}"
        for package in packages
        for one in package.get("vulns", [])
    ]


if __name__ == "__main__":
    sys.exit(main())
