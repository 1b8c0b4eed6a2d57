"""The pipeline: its steps are in the order that keeps people safe, and everything that it calls is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.release import smoke
from tests.unit.test_house import distribution_of, pins

ROOT = Path(__file__).resolve().parents[2]
BUILDS = {
    path.name: path for path in (ROOT / "cloudbuild.yaml", *sorted((ROOT / "infra" / "cloudbuild").glob("*.yaml")))
}
BUILT_IN = {"PROJECT_ID", "COMMIT_SHA"}  # by Cloud Build


def read(name: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    build: dict[str, Any] = yaml.safe_load(BUILDS[name].read_text())
    return build


def script(step: dict[str, Any]) -> str:
    return " ".join([step.get("entrypoint", ""), *step["args"]])


def scripts(name: str) -> dict[str, str]:
    return {step["id"]: script(step) for step in read(name)["steps"]}


def terraform_text() -> str:
    return (ROOT / "infra" / "terraform" / "pipeline.tf").read_text()


def test_a_commit_is_checked_before_anything_is_planned() -> None:
    """What is planned may be released; so nothing unchecked is."""
    steps = list(scripts("cloudbuild.yaml"))

    assert steps == ["lint", "types", "test", "bundle", "scan", "terraform", "infra", "image", "plan", "ask"]
    assert [step for step in read("cloudbuild.yaml")["steps"] if "allowFailure" in step or "waitFor" in step] == []


def test_a_release_adds_before_and_takes_away_after() -> None:
    """The functions of the release before read the tables until the new ones serve, and after a roll-back again."""
    steps = scripts("release.yaml")

    assert list(steps) == ["fetch", "terraform", "expand", "apply", "smoke", "keep-or-roll-back", "contract"]
    assert "PHASE=expand" in steps["expand"]
    assert "PHASE=contract" in steps["contract"]


def test_only_what_is_rolled_back_afterwards_may_fail() -> None:
    """A step that may fail in silence is a release that nobody has tried."""
    steps = read("release.yaml")["steps"]
    roll_back = script(steps[5])

    assert [step["id"] for step in steps if step.get("allowFailure")] == ["apply", "smoke"]
    assert "touch /workspace/healthy" in script(steps[4]).splitlines()[-1]  # after the smoke test, by `set -e`
    assert (
        roll_back.index("released/dist")
        < roll_back.index("apply -input=false -auto-approve")
        < roll_back.index("exit 1")
    )


def test_what_is_applied_is_what_was_planned_and_approved() -> None:
    """A plan that is made anew after the approval is another plan."""
    checks, release = scripts("cloudbuild.yaml"), scripts("release.yaml")

    assert "-out=release.plan" in checks["plan"]
    assert "apply -input=false release.plan" in release["apply"]
    assert '[ "$COMMIT_SHA" = "$_PLANNED" ]' in release["fetch"]
    release_trigger = terraform_text().partition('"google_cloudbuild_trigger" "release"')[2]
    assert "approval_required = true" in release_trigger


@pytest.mark.parametrize("name", BUILDS)
def test_every_command_of_a_build_exists(name: str) -> None:
    """The first one to learn of it would be a release."""
    text = "\n".join(scripts(name).values())
    sessions = set(re.findall(r"@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text()))
    jobs = "\n".join(path.read_text() for path in (ROOT / "infra" / "terraform").glob("*.tf"))

    assert set(re.findall(r"\./dev (\w+)", text)) <= sessions
    for module in re.findall(r"python3 -m ([\w.]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for path in re.findall(r"(?<![\w/.-])(?:\.ci|infra)/[\w./-]*\w", text):
        made = path.endswith(("terraform.tfvars", "release.plan"))
        assert made or (ROOT / path).exists(), path
    for job in re.findall(r"gcloud run jobs \w+ ([\w-]+)", text):
        assert f'name                = "{job}"' in jobs
    for trigger in re.findall(r"gcloud builds triggers run ([\w-]+)", text):
        assert f'name            = "{trigger}"' in jobs


@pytest.mark.parametrize("name", BUILDS)
def test_every_substitution_is_declared(name: str) -> None:
    """Cloud Build refuses a build with another one, after all that was waited for."""
    build = read(name)
    used = set(re.findall(r"(?<!\$)\$\{?(_?[A-Z][A-Z_]+)", BUILDS[name].read_text()))

    assert used - BUILT_IN - {"PATH"} == build["substitutions"].keys()


def test_a_trigger_gives_what_its_build_asks_for() -> None:
    """What a trigger leaves out has the file's default, which is nobody's bucket."""
    text = terraform_text()
    for trigger, name in (("check", "cloudbuild.yaml"), ("release", "release.yaml")):
        body = text.partition(f'"google_cloudbuild_trigger" "{trigger}"')[2].partition("substitutions = {")[2]
        given = set(re.findall(r"^\s+(_\w+)\s+=", body.partition("}")[0], flags=re.MULTILINE))

        assert given == read(name)["substitutions"].keys()


@pytest.mark.parametrize("name", BUILDS)
def test_every_image_of_a_step_says_its_version_or_is_the_builders_own(name: str) -> None:
    """Another version tomorrow is another pipeline."""
    loose = {step["name"] for step in read(name)["steps"] if ":" not in step["name"]}

    assert loose <= {"gcr.io/cloud-builders/docker"}
    assert not any(step["name"].endswith(":latest") for step in read(name)["steps"])


# The image of the migrations -----------------------------------------------------------------------------------------


def test_the_migrations_image_has_the_pins_that_were_tested() -> None:
    """It changes everybody's tables: with what the tests ran."""
    tested = pins(ROOT / "requirements-dev.txt")
    shipped = pins(ROOT / "infra" / "migrate" / "requirements.txt")

    assert shipped
    assert {name: tested.get(name) for name in shipped} == shipped


def test_the_migrations_image_has_every_package_that_they_import() -> None:
    """A package that is missing there shows in the middle of a release."""
    look = "import infra.migrate.__main__, infra.migrate.alembic_run, shared.adapters.secrets, google_crc32c, sys"
    look += "; from google.cloud.secretmanager_v1 import SecretManagerServiceClient; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    owner = distribution_of()

    wanted = {owner[name] for name in loaded.split() if name in owner}

    shipped = {name.partition("==")[0] for name in pins(ROOT / "infra" / "migrate" / "requirements.txt")}
    taken_where_they_are = {"chardet", "greenlet", "grpcio-tools", "pygments", "setuptools"}
    assert wanted - shipped <= taken_where_they_are


# The smoke test ------------------------------------------------------------------------------------------------------


class Doors(BaseHTTPRequestHandler):
    """Three doors in one: the answers by method and path."""

    answers: dict[tuple[str, str], int]

    def do_GET(self) -> None:
        self.send_response(self.answers[self.command, self.path])
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Silent."""


RIGHT = {
    ("GET", "/dashboard/healthz"): 200,
    ("GET", "/dashboard/api/status"): 401,
    ("POST", "/webhook/"): 403,
    ("GET", "/webhook/"): 405,
    ("GET", "/callback"): 400,
}


@pytest.fixture
def doors() -> Iterator[str]:
    Doors.answers = dict(RIGHT)
    with ThreadingHTTPServer(("127.0.0.1", 0), Doors) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def outputs(address: str) -> dict[str, str]:
    return {
        "dashboard_url": f"{address}/dashboard",
        "webhook_address": f"{address}/webhook",
        "oauth_redirect": f"{address}/callback",
    }


def test_doors_that_answer_as_they_should_pass(doors: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {name: {"value": value} for name, value in outputs(doors).items()}
    (tmp_path / "outputs.json").write_text(json.dumps(said))

    assert smoke.main(["--outputs", str(tmp_path / "outputs.json")]) == 0
    assert capsys.readouterr().out == "Every door answers as it should.\n"


@pytest.mark.parametrize("wrong", RIGHT)
@pytest.mark.parametrize("status", [302, 503])
def test_a_door_that_answers_otherwise_is_named(doors: str, wrong: tuple[str, str], status: int) -> None:
    """One wrong answer, also a redirect, is a release to roll back."""
    Doors.answers[wrong] = status

    found = smoke.faults(outputs(doors), patience_seconds=0)

    assert found == [f"{wrong[0]} {doors}{wrong[1]} answers {status} instead of {RIGHT[wrong]}"]


def test_a_new_revision_is_waited_for(doors: str) -> None:
    """The old one, or none, may answer at first."""
    Doors.answers["GET", "/dashboard/healthz"] = 503
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        Doors.answers["GET", "/dashboard/healthz"] = 200

    assert smoke.faults(outputs(doors), clock=lambda: now[0], sleep=sleep) == []
    assert now == [smoke.EVERY_SECONDS]


def test_a_door_that_is_not_there_is_named() -> None:
    found = smoke.faults(outputs("http://127.0.0.1:9"), patience_seconds=0)

    assert len(found) == len(smoke.TRIES)
    assert all("does not answer" in one for one in found)
