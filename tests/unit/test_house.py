"""The house keeps its promises: one command from nothing, pins that agree, functions that ship what they import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ("infra", "functions", "shared", "schemas")
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/__init__.py"))
# What a function must not be able to do, so must not load. To import-linter all of `google` is one package.
HEAVY = {"google.cloud.documentai", "google.cloud.documentai_v1"}
# Clients that cost a start more than all that these two say to Firestore and Pub/Sub.
CLIENTS = {"google.cloud.firestore", "google.cloud.firestore_v1", "google.cloud.pubsub_v1", "google.api_core", "grpc"}
FORBIDDEN = {
    "drive_webhook": HEAVY | CLIENTS | {"googleapiclient", "pg8000", "google.cloud.sql", "pypdfium2"},
    "oauth_callback": HEAVY | CLIENTS | {"googleapiclient", "pypdfium2"},
    "change_lister": HEAVY | {"pypdfium2"},
    "file_streamer": HEAVY,
    "ai_processor": {"googleapiclient", "google.cloud.firestore"},
    "channel_renewer": HEAVY | {"pypdfium2"},
    "dashboard": HEAVY | {"googleapiclient", "pypdfium2"},
}
NOBODY = {
    "vertexai", "google.cloud.aiplatform", "google.cloud.aiplatform_v1", "google.genai", "google.cloud.secretmanager",
    "google.cloud.secretmanager_v1",
}  # fmt: skip


def pins(path: Path) -> dict[str, tuple[str, ...]]:
    """Each pinned line of a requirements file with its hashes, comments aside."""
    text = re.sub(r"^\s*#.*\n?", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines()]
    return {line[0]: tuple(line[1:]) for line in lines if line}


def imported_by(module: str) -> set[str]:
    """Every module that this one imports, also inside functions; names from packages count as modules too."""
    path = file_of(module)
    assert path is not None
    return set(
        imports_in(ast.parse(path.read_text()), module if path.name == "__init__.py" else module.rpartition(".")[0])
    )


def imports_in(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
        source = ".".join(filter(None, [base, node.module]))
        yield from (f"{source}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child, package)


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@cache
def reached_from(function: str) -> frozenset[str]:
    """What a function loads from elsewhere, directly or through our own modules, now or on first use."""
    waiting, seen, outside = [f"functions.{function}.main", f"functions.{function}"], set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] not in OWN:
            outside.add(name)
            continue
        while name and file_of(name) is None:  # a name inside a module
            name = name.rpartition(".")[0]
        while name and name not in seen:  # loading a module loads its packages
            seen.add(name)
            if file_of(name):
                waiting += imported_by(name)
            name = name.rpartition(".")[0]
    return frozenset(outside)


@cache
def distribution_of() -> dict[str, str]:
    """Which installed distribution brings which module file, such as google/cloud/pubsub_v1 -> google-cloud-pubsub."""
    owner = {}
    for distribution in distributions():
        brings = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        for line in (distribution.read_text("RECORD") or "").splitlines():
            file = line.rsplit(",", 2)[0]  # `distribution.files` makes a path of each, for seconds
            if file.endswith((".py", ".so")) and ".." not in file:
                folder, _, name = file.rpartition("/")
                module = folder if name == "__init__.py" else f"{folder}/{name.partition('.')[0]}".lstrip("/")
                owner[module.replace("/", ".")] = brings
    return owner


def written_functions() -> list[str]:
    return [name for name in FUNCTIONS if file_of(f"functions.{name}.main")]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_installs_exactly_the_pins_that_were_tested(function: str) -> None:
    """A function that runs other versions than the tests did is untested."""
    everything = pins(ROOT / "requirements.txt")

    subset = pins(ROOT / "functions" / function / "requirements.txt")

    assert subset
    assert {name: everything.get(name) for name in subset} == subset


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_ships_every_package_that_it_imports(function: str) -> None:
    """A missing package shows only after the deployment, when the first message arrives."""
    if function not in written_functions():
        pytest.skip(f"functions/{function}/main.py is not written yet")
    shipped = {
        name.partition("==")[0].partition("[")[0] for name in pins(ROOT / "functions" / function / "requirements.txt")
    }
    owner = distribution_of()

    wanted = set()
    for name in reached_from(function):
        while name and name not in owner:
            name = name.rpartition(".")[0]
        wanted.add(owner.get(name))

    assert wanted - {None} - shipped == set()


@pytest.mark.parametrize("function", sorted(FORBIDDEN))
def test_a_function_cannot_reach_what_it_must_not_touch(function: str) -> None:
    """The public door holds nothing worth stealing, and a client that is never loaded costs no cold start."""
    if function not in written_functions():
        pytest.skip(f"functions/{function}/main.py is not written yet")

    reached = {
        wrong
        for wrong in FORBIDDEN[function] | NOBODY
        for name in reached_from(function)
        if f"{name}.".startswith(f"{wrong}.")
    }

    assert reached == set()


@pytest.mark.parametrize("function", ["dashboard", "drive_webhook", "oauth_callback"])
def test_a_door_starts_without_what_its_first_answer_may_not_need(function: str) -> None:
    """A person waits for the start of a door; gRPC alone is a tenth of a second of it."""
    script = f"import sys, functions.{function}.main; print(*({{'grpc', 'googleapiclient'}} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.split() == []


def test_there_are_exactly_the_seven_functions() -> None:
    """A folder that is no function would be deployed as one."""
    assert sorted(FORBIDDEN) == FUNCTIONS


@pytest.mark.parametrize("path", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_is_exact_and_has_hashes(path: str) -> None:
    """Without hashes, whoever holds the index decides what runs here."""
    pinned = pins(ROOT / path)

    assert pinned
    assert all("==" in name and any("--hash=sha256:" in word for word in rest) for name, rest in pinned.items())


def test_the_tests_run_on_the_pins_that_are_deployed() -> None:
    """The tools may add packages, never change one."""
    tested = pins(ROOT / "requirements-dev.txt")

    assert {name: tested.get(name) for name in pins(ROOT / "requirements.txt")} == pins(ROOT / "requirements.txt")


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("requirements*"), *ROOT.glob("functions/*/requirements*")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_requirements_file_names_an_index(path: Path) -> None:
    """Where packages come from is the business of the machine that installs them."""
    assert not re.search(r"index-url|find-links|https?://", path.read_text())


def test_every_command_is_a_session_of_the_same_name() -> None:
    """`./dev x` and `nox -s x` are one thing."""
    usage = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"^  (\w+) ", usage, flags=re.MULTILINE)) - {"help"}

    sessions = set(re.findall(r"@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text()))

    assert commands == sessions


def test_every_session_starts_a_program_that_exists() -> None:
    """A command in the list that ends in "No module named" is worse than none."""
    programs = re.findall(r'become\(session, "([\w.]+)"', (ROOT / "noxfile.py").read_text())

    paths = {name: ROOT / name.replace(".", "/") for name in programs}
    missing = [
        name
        for name, path in paths.items()
        if not (path / "__main__.py").is_file() and not path.with_suffix(".py").is_file()
    ]

    assert programs
    assert missing == []
