"""docs/operations.md and README.md name only what exists: commands, options, variables, outputs, jobs, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TERRAFORM = ROOT / "infra" / "terraform"


def calls(text: str) -> list[tuple[str, list[str]]]:
    """Every `./dev NAME ...` with the options that follow it, up to the end of the line or of the quotation."""
    found = []
    text = re.sub(r"\\\n\s*", " ", text)
    for match in re.finditer(r"\./dev ([a-z]+)((?:[ \n][^\s`|;&)]+)*)", text):
        said = match[2].split("\n```")[0]
        line = said.split("\n")[0] if text[: match.start()].rpartition("\n")[2].strip() == "" else said
        found.append((match[1], re.findall(r"(?<=\s)(--[a-z][a-z-]*)", " " + line)))
    return found


@cache
def usage() -> set[str]:
    said = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  (\w+) ", said, flags=re.MULTILINE))


@cache
def options_of(command: str) -> set[str]:
    """What the program of a command knows; of a session that runs tools, what noxfile.py and pytest know."""
    noxfile = (ROOT / "noxfile.py").read_text()
    session = re.search(rf"@nox\.session\ndef {command}\(.*?(?=\n@nox|\Z)", noxfile, flags=re.DOTALL)
    assert session, command
    module = re.search(r'become\(session, "([\w.]+)"', session[0])
    if module is None or command == "bench":
        return set(re.findall(r"--[a-z][a-z-]*", session[0] + (ROOT / "tests" / "conftest.py").read_text()))
    sources, waiting = dict[Path, str](), [module[1], f"{module[1]}.__main__"]
    while waiting:
        name = waiting.pop()
        path = (ROOT / name.replace(".", "/")).with_suffix(".py")
        if path.is_file() and path not in sources:
            sources[path] = path.read_text()
            for package, names in re.findall(r"from (infra\.[\w.]+) import ([\w, ]+)", sources[path]):
                waiting += [package, *(f"{package}.{one.strip()}" for one in names.split(","))]
    return {"--help", *re.findall(r'"(--[a-z][a-z-]*)"', "\n".join(sources.values()))}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_on_a_page_exists(page: str) -> None:
    """An operator at three in the morning types what the page says."""
    faults = []
    for command, options in calls((ROOT / page).read_text()):
        if command not in usage():
            faults.append(f"./dev {command}")
            continue
        if command != "bench":  # its options are each benchmark's own
            faults += [f"./dev {command} {option}" for option in options if option not in options_of(command)]

    assert faults == []


def test_what_looks_like_a_command_is_found_on_the_page() -> None:
    """A pattern that finds nothing would find no fault either."""
    found = dict.fromkeys(command for command, _ in calls(OPERATIONS))

    assert {"plan", "preflight", "replay", "rotate", "resync", "bundle", "infra", "test", "local"} <= set(found)
    assert ("resync", ["--restored", "--gone"]) in calls(OPERATIONS)
    assert ("preflight", ["--project", "--region"]) in calls(OPERATIONS)


def test_every_file_that_the_page_names_exists() -> None:
    """Terraform's parts come with infra/terraform, and are looked for where that is."""
    named = set(re.findall(r"\b((?:infra|docs|schemas|tests)/[\w./-]+\.(?:yaml|md|json|sql|py))\b", OPERATIONS))
    named |= {"cloudbuild.yaml"}
    missing = {name for name in named if not (ROOT / name).exists()}

    if not TERRAFORM.is_dir():
        missing -= {"infra/cloudbuild/migrations.yaml", "infra/cloudbuild/release.yaml"}
    assert "infra/cloudbuild/operate.yaml" in named
    assert missing == set()


def test_every_module_that_the_job_is_told_to_run_exists_and_takes_its_words() -> None:
    """`--args infra.operate.replay,--deployed,...` is typed by hand into a job that runs far away."""
    found = [said.split(",") for said in re.findall(r"--args ([\w.,-]+)", OPERATIONS)]

    assert found
    for module, *words in found:
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text() + (ROOT / "infra/operate/place.py").read_text()
        assert all(f'"{word}"' in source for word in words if word.startswith("--")), (module, words)


def test_every_variable_output_job_and_name_of_terraform_on_the_page_exists() -> None:
    """Who renames a part of the project renames it for the operator, too."""
    source = "\n".join(path.read_text() for path in TERRAFORM.glob("*.tf"))
    variables, outputs = (
        set(re.findall(rf'^{kind} "(\w+)"', source, flags=re.MULTILINE)) for kind in ("variable", "output")
    )
    tfvars = set(re.findall(r"^   (\w+) += \"", OPERATIONS, flags=re.MULTILINE)) | set(
        re.findall(r"-var (\w+)=", OPERATIONS)
    )
    told = set(re.findall(r"`(\w+_\w+)`", OPERATIONS))
    topology = (ROOT / "infra" / "topology.json").read_text()

    assert tfvars <= variables
    assert {"webhook_address", "oauth_redirect", "dashboard_url", "next_steps"} <= told & outputs
    assert told - outputs - variables - {"retained_backups"} == set()
    assert "retained_backups" in source
    for job in set(re.findall(r"gcloud run jobs (?:execute|update) (\w+)", OPERATIONS)) - {"operate"}:
        assert f'name                = "{job}"' in source
    for name in ("drivestream", "functions"):  # the network and its part that the operator's job runs in
        assert f'"{name}"' in (TERRAFORM / "network.tf").read_text()
    for secret in set(re.findall(r"versions (?:add|list|destroy \d --secret) ([\w-]+)", OPERATIONS)):
        assert f'"{secret}"' in topology
    assert '"channel-renewer"' in topology


@pytest.mark.parametrize("command", ["replay", "rotate", "resync"])
def test_every_step_that_a_local_stack_can_take_is_run_by_a_test(command: str) -> None:
    """A runbook that nobody has run is a guess."""
    tests = (ROOT / "tests" / "integration" / "test_operate.py").read_text()
    used = {option for name, options in calls(OPERATIONS) if name == command for option in options}

    assert f"operate({command}" in tests
    assert all(f'"{option}"' in tests for option in used - {"--settings"})


def test_the_operators_image_has_every_package_that_its_commands_import() -> None:
    """It installs what the functions run on, and nothing for tests: a command that needs more fails far away."""
    modules = ["infra.operate.replay", "infra.operate.rotate", "infra.operate.resync"]
    script = (
        f"import json, sys, {', '.join(modules)}\n"
        "from importlib.metadata import packages_distributions\n"
        "known = packages_distributions()\n"
        # google is a package of many distributions, and grpc looks for grpc_tools wherever it is.
        "tops = {name.partition('.')[0] for name in sys.modules} - {'google', 'grpc_tools'}\n"
        "print(json.dumps({name: known[name] for name in tops if name in known}))"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    pinned = set(
        re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    )

    brought = {
        name: {one.lower().replace("_", "-").replace(".", "-") for one in some}
        for name, some in json.loads(found.stdout).items()
    }
    assert "cryptography" in brought
    assert [name for name, some in brought.items() if not some & (pinned | {"setuptools"})] == []
    assert (ROOT / "infra" / "operate" / "Dockerfile").read_text().count("requirements.txt") == 2
