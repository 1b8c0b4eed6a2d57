"""Anything at all, asked of the dashboard's API by schemathesis: what the contract does not say must not happen."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.dashboard_world import Person, World, dashboard_alone

# Once is all there is of a disconnect, and a stream goes on: each has its own tests.
LEFT_OUT = ("/api/disconnect", "/api/events")
# What is right by the contract is taken, or means nothing together (422).
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422", "429", "5xx"]
"""
# Values that only the API itself can give: pages and folders of the person.
HOOKS = """
import json, os
import schemathesis
from hypothesis import strategies as st

for name, values in json.loads(os.environ["KNOWN"]).items():
    schemathesis.openapi.format(name, st.sampled_from(values))
"""


@dataclass(frozen=True)
class Said:
    """What came of it."""

    requests: int
    operations: int
    server_errors: int
    failures: list[str]


def contract_run(world: World, examples: int, seed: int, phases: str = "examples,coverage,fuzzing") -> Said:
    """Ask every door as a person who has files, with what the document allows and with what it does not."""
    person = world.person("reader")
    for name in ("oak.txt", "elm.txt"):
        file_id = world.file(person, name, [f"The {name} stands by the gate.", "Ada Lovelace was here with a friend."])
        world.names(file_id, ("person", "Ada Lovelace"), ("topic", "friend"), passage=1)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "KNOWN": json.dumps(_known(world, person)), "SCHEMATHESIS_HOOKS": "hooks"}
        ran = subprocess.run(
            _command(world, person, Path(folder), examples, seed, phases),
            capture_output=True,
            text=True,
            cwd=folder,
            env={**environment, "PYTHONPATH": folder},
        )
        report = Path(folder, "report.ndjson")
        events = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    return _said(events, "" if ran.returncode == 0 else ran.stdout + ran.stderr)


def _said(events: list[dict[str, Any]], complaint: str) -> Said:
    finished = [event["ScenarioFinished"]["recorder"] for event in events if "ScenarioFinished" in event]
    statuses = [
        (made["response"] or {}).get("status_code", 0)
        for recorder in finished
        for made in recorder.get("interactions", {}).values()
    ]
    broken = [
        f"{recorder['label']}: {check['name']}"
        for recorder in finished
        for checks in recorder.get("checks", {}).values()
        for check in checks
        if check["status"] != "success"
    ]
    return Said(
        requests=len(statuses),
        operations=len({recorder["label"] for recorder in finished}),
        server_errors=sum(status >= 500 for status in statuses),
        failures=[*broken, complaint[-6000:]] if complaint else broken,
    )


def _known(world: World, person: Person) -> dict[str, list[str]]:
    """Pages and folders of the person; an empty one is none."""
    [file_id, *_] = [file["id"] for file in world.get("/api/files", person).json()["files"]]
    world.remembers(person, file_id)
    lists = {"files": "files", "entities": "entities", "passages": f"files/{file_id}/passages", "activity": "activity",
             "audit": "audit"}  # fmt: skip
    pages = {of: world.get(f"/api/{path}?limit=1", person).json()["next_cursor"] for of, path in lists.items()}
    world.file(person, "Papers", file_id="papers", state="folder", mime_type="application/vnd.google-apps.folder")
    return {"folder": ["", "papers"], **{f"{of}-cursor": ["", page] for of, page in pages.items()}}


def _command(world: World, person: Person, folder: Path, examples: int, seed: int, phases: str) -> list[str]:
    described = world.get("/api/openapi.json").text.replace("__Host-session", "session")  # no https here
    (folder / "openapi.json").write_text(described)
    (folder / "schemathesis.toml").write_text(CONFIG)
    (folder / "hooks.py").write_text(HOOKS)
    left_out = [word for path in LEFT_OUT for word in ("--exclude-path", path)]
    return [
        str(Path(sys.executable).with_name("schemathesis")), "run", "openapi.json", "--url", world.url,
        "--header", f"Cookie: session={person.session}", "--checks", "all", *left_out,
        "--phases", phases, "--max-examples", str(examples), "--seed", str(seed),
        "--continue-on-failure", "--workers", "1", "--warnings", "off", "--no-color",
        "--report", "ndjson", "--report-ndjson-path", "report.ndjson",
    ]  # fmt: skip


def measure(arguments: Sequence[str]) -> dict[str, Any]:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench api", description=__doc__)
    parser.add_argument("--examples", type=int, default=400, help="requests of each kind for each door")
    parser.add_argument("--seed", type=int, default=20261127)
    asked = parser.parse_args(arguments)
    with dashboard_alone() as world:
        said = contract_run(world, asked.examples, asked.seed)
    for failure in said.failures:
        print(failure, file=sys.stderr)
    return {
        "requests": said.requests,
        "operations": said.operations,
        "server_errors": said.server_errors,
        "violations": len(said.failures),
        "complete": not said.failures,
    }
