"""Every command of `./dev`, a few lines each. They run in the one .venv that `./dev` makes (`nox --no-venv`).

What people run becomes its program: the session replaces the nox process, so that standard output, the exit code and
signals are the program's own and Ctrl-C reaches it once.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
PACKAGES = ["shared", "functions", "infra", "schemas"]
RUN = (
    "local", "function", "cat", "read", "trace", "bench", "schemas", "formats", "openapi", "bundle", "release",
    "replay", "rotate", "resync", "preflight", "plan", "infra", "scan",
)  # fmt: skip
PROGRAMS = {f"Running session {name}" for name in RUN}

nox.needs_version = ">=2026"
nox.options.sessions = ["test"]
# A program speaks for itself; what nox would say first is noise before its one sentence.
logging.getLogger("nox").addFilter(lambda record: record.getMessage() not in PROGRAMS)


def become(session: nox.Session, module: str, *arguments: str) -> None:
    """Replace nox by `python -m module`, in the folder where the person stands."""
    os.chdir(session.invoked_from)
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", module, *arguments, *session.posargs]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": search})


@nox.session
def local(session: nox.Session) -> None:
    """Everything on one machine."""
    become(session, "infra.local")


@nox.session
def function(session: nox.Session) -> None:
    """One function alone, as deployed: NAME [--port P]."""
    become(session, "infra.local.function")


@nox.session
def cat(session: nox.Session) -> None:
    """One file of a Drive to standard output: FILE_ID [--drive URL --token T]."""
    become(session, "infra.local.cat")


@nox.session
def read(session: nox.Session) -> None:
    """What the readers make of local files: PATH... [--json]."""
    become(session, "infra.local.read")


@nox.session
def trace(session: nox.Session) -> None:
    """A file's way through the functions: FILE_ID [--data DIR]."""
    become(session, "infra.local.trace")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks, one JSON object each, the last line of standard output."""
    become(session, "tests.bench")


@nox.session
def bundle(session: nox.Session) -> None:
    """What is deployed: a folder and a ZIP for each function, in dist/."""
    become(session, "infra.bundle")


@nox.session
def release(session: nox.Session) -> None:
    """From now on this version's messages and statements are those that the next one must get on with."""
    become(session, "infra.released")


@nox.session
def replay(session: nox.Session) -> None:
    """Failed files back to work: [--reason R] [--dry-run]."""
    become(session, "infra.operate.replay")


@nox.session
def rotate(session: nox.Session) -> None:
    """Another key for the tokens at rest: [--reseal | --retire]."""
    become(session, "infra.operate.rotate")


@nox.session
def resync(session: nox.Session) -> None:
    """Everything compared with Drive: [--restored [--gone forget|reopen]]."""
    become(session, "infra.operate.resync")


@nox.session
def preflight(session: nox.Session) -> None:
    """Is a Google Cloud project as it must be? [--project P] [--region R]."""
    become(session, "infra.preflight")


@nox.session
def plan(session: nox.Session) -> None:
    """Days and cost for a Drive of a given size: --bytes 15TB --files 8M."""
    become(session, "infra.plan")


@nox.session
def schemas(session: nox.Session) -> None:
    """Generate the message classes from the .proto files."""
    become(session, "infra.schemas")


@nox.session
def formats(session: nox.Session) -> None:
    """Write docs/formats.md from the readers' registry."""
    become(session, "infra.formats")


@nox.session
def openapi(session: nox.Session) -> None:
    """Write the API's OpenAPI document from the dashboard's routes."""
    become(session, "infra.openapi")


@nox.session
def infra(session: nox.Session) -> None:
    """Check Terraform as far as this machine allows: [--strict]."""
    become(session, "infra.checks")


@nox.session
def scan(session: nox.Session) -> None:
    """Known faults of what is pinned, and secrets where none may be."""
    become(session, "infra.checks.scan")


@nox.session
def lock(session: nox.Session) -> None:
    """Pin every requirement again, with hashes: all, with the tools, and the subset of each function."""
    compile_pins = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    compile_pins += ["--generate-hashes", "--no-header", *session.posargs]
    session.run(*compile_pins, "requirements.in", "-o", "requirements.txt")
    session.run(*compile_pins, "-c", "requirements.txt", "requirements-dev.in", "-o", "requirements-dev.txt")
    for wanted in sorted(ROOT.glob("functions/*/requirements.in")):
        path = wanted.relative_to(ROOT)
        options = ["-c", "requirements.txt", "--no-annotate"]
        session.run(*compile_pins, *options, str(path), "-o", str(path.with_suffix(".txt")))
    options = ["-c", "requirements-dev.txt", "--no-annotate"]
    session.run(*compile_pins, *options, "infra/migrate/requirements.in", "-o", "infra/migrate/requirements.txt")
    for wanted in sorted(ROOT.glob("infra/checks/requirements-*.in")):  # each is installed on its own
        path = wanted.relative_to(ROOT)
        session.run(*compile_pins, str(path), "-o", str(path.with_suffix(".txt")))


@nox.session
def lint(session: nox.Session) -> None:
    """Rules and format. `--fix` mends what can be mended."""
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types over everything that is not a test."""
    session.run("mypy", *PACKAGES)


@nox.session
def imports(session: nox.Session) -> None:
    """Imports run one way."""
    session.run("lint-imports", env={"PYTHONPATH": str(ROOT)})


@nox.session
def test(session: nox.Session) -> None:
    """What CI runs, to the end even when a part is red. `--long` adds the long schedules; the rest goes to pytest."""
    red = []
    with tempfile.TemporaryFile() as said, subprocess.Popen(["mypy", *PACKAGES], stdout=said, stderr=said) as beside:
        # Half a minute on one core, while pytest begins on the other one; it speaks when its turn has come.
        for check in (lint, imports, pytest):
            try:
                check(session)
            except CommandFailed:
                red.append(check.__name__)
        session.log(f"mypy {' '.join(PACKAGES)}")
        if beside.wait() != 0:
            red.append(types.__name__)
        said.seek(0)
        sys.stdout.write(said.read().decode())
    if red:
        session.error(f"red: {', '.join(red)}")


def pytest(session: nox.Session) -> None:
    """The tests, on two cores; says at the end what was left out and why."""
    # Functions may write no bytecode, and hundreds of processes of the tests would compile the same files.
    session.run("python", "-m", "compileall", "-q", "-x", "sample_drive", *PACKAGES)
    session.run("pytest", "-n", "2", "--dist", "loadgroup", "-rs", *session.posargs, interrupt_timeout=30)
