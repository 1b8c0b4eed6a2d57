"""Each bundle, alone in an environment of only its requirements, answers its first real request or message."""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from infra.bundle import FUNCTIONS, build
from tests.bundles.alone import linked_environment, required, serving
from tests.bundles.first_requests import First, FirstRequests
from tests.bundles.loaded import ASKED, culprits, modules_by_package
from tests.integration.pipeline import PATIENCE, Pipeline, pipeline

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")


@dataclass(frozen=True)
class Answered:
    """The first answer of a process, and all that it has written until then."""

    first: First
    status: int
    log: str


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every bundle, compiled as the platform compiles it: one file that cannot be would fail the deployment."""
    out = tmp_path_factory.mktemp("bundles") / "dist"
    build(out, commit="c")
    assert compileall.compile_dir(out, quiet=1)
    return out


def answers(pipeline: Pipeline, bundles: Path, environments: Callable[[Path], Path], place: Path) -> Iterator[Answered]:
    """Start each function for its first request."""
    asking = FirstRequests(pipeline)
    pythons = {name: environments(bundles / name) for name in FUNCTIONS}
    for make in asking.one_for_each():
        first, log = make(), place / "log"
        environment = {**asking.environment, **ASKED}
        with serving(pythons[first.function], bundles / first.function, environment, log=log) as (_, port):
            answer = first_answer(first, port, log)
        yield Answered(first, answer.status_code, log.read_text())


def first_answer(first: First, port: int, log: Path) -> requests.Response:
    """The answer, as soon as there is somebody who gives one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return first.ask(port)
        except requests.ConnectionError:
            assert time.monotonic() < deadline, f"{first.function} does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.01)


def test_each_bundle_answers_alone_and_loads_no_more_than_was_accepted(
    pipeline: Pipeline, bundles: Path, tmp_path: Path
) -> None:
    """A module or package that is missing shows when the first message arrives, and so does one that is not needed:
    somebody waits for it. What is accepted is in `loaded.json`; `./dev bench cold --record` accepts what is loaded."""

    def environment(bundle: Path) -> Path:
        return linked_environment(tmp_path / bundle.name, bundle / "requirements.txt")

    answered = list(answers(pipeline, bundles, environment, tmp_path))

    wrong = [
        f"{one.first.function}: {one.status}\n{one.log[-2000:]}" for one in answered if one.status != one.first.status
    ]
    assert wrong == []
    assert {one.first.function for one in answered} == set(FUNCTIONS)
    more = [line for one in answered for line in culprits(one.first.function, modules_by_package(one.log))]
    assert more == []


def test_an_environment_holds_its_requirements_and_nothing_else(bundles: Path, tmp_path: Path) -> None:
    """If it held more, a bundle could lean on a package that nobody installs."""
    requirements = bundles / "drive_webhook" / "requirements.txt"
    python = linked_environment(tmp_path / "venv", requirements)
    script = (
        "import importlib.metadata as m, importlib.util as u; print(*sorted(d.name for d in m.distributions()));"
        "print([n for n in ('pg8000', 'googleapiclient', 'pytest', 'shared', 'infra') if u.find_spec(n)])"
    )

    told = subprocess.run([python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    names, found = told.splitlines()
    assert {name.lower().replace("_", "-") for name in names.split()} == set(required(requirements))
    assert found == "[]"


def test_what_creeps_in_is_named() -> None:
    """A budget that only says "slower" sends people searching."""
    line = "import time:       100 |        200 |   {}\n"
    log = "".join(
        line.format(name) for name in ("pandas", "pandas.core", "json", "flask", "google.cloud.sql", "shared.log")
    )

    loaded = modules_by_package(log)

    assert loaded == {"flask": 1, "google.cloud.sql": 1, "pandas": 2}
    assert [text.partition(" until")[0] for text in culprits("drive_webhook", loaded)] == [
        "drive_webhook now loads google.cloud.sql",
        "drive_webhook now loads pandas",
    ]


@pytest.mark.long
def test_each_bundle_answers_where_its_pins_were_installed(pipeline: Pipeline, bundles: Path, tmp_path: Path) -> None:
    """As the platform does it: an empty environment, pip, hashes."""

    def environment(bundle: Path) -> Path:
        place = tmp_path / bundle.name
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        python = place / "bin" / "python"
        command = [python, "-m", "pip", "install", "-q", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "-r", bundle / "requirements.txt"], check=True)
        return python

    for one in answers(pipeline, bundles, environment, tmp_path):
        assert one.status == one.first.status, one.log[-2000:]
