"""`./dev` says in one sentence what is missing, from any folder, on a machine that has little."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# All that it may need besides Python: what a bare Debian has.
TOOLS = ["awk", "bash", "cat", "dirname", "flock", "grep", "mkdir", "rm", "sha256sum", "tail", "tee", "touch"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone, as far as `./dev` looks, in a folder with a space in its name."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("dev", "noxfile.py", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of tools to be the whole PATH, without any Python yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, f"{tool} is missing on this machine"
        (folder / tool).symlink_to(found)
    return folder


def put_python(tools: Path, script: str) -> None:
    (tools / "python3").write_text(f"#!{shutil.which('bash')}\n{script}\n")
    (tools / "python3").chmod(0o755)


def dev(clone: Path, tools: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it elsewhere, with nothing in the environment but what is given."""
    return subprocess.run(
        [clone / "dev", *arguments],
        cwd=tools,
        env={"PATH": str(tools), "HOME": str(tools), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_unknown_command_gets_one_sentence(clone: Path, tools: Path) -> None:
    """A typing error must not start an installation."""
    answer = dev(clone, tools, "lcoal")

    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "./dev has no command 'lcoal': './dev help' lists them.\n"
    assert not (clone / ".venv").exists()


def test_without_a_command_it_lists_them(clone: Path, tools: Path) -> None:
    """Help needs neither Python nor a network."""
    answer = dev(clone, tools)

    assert answer.returncode == 0
    assert "  local  " in answer.stdout


@pytest.mark.parametrize(
    ("script", "version"),
    [("exit 127", "none at all"), ('[ "$1" = -V ] && echo Python 3.9.2 && exit 0', "Python 3.9.2")],
)
def test_a_wrong_python_gets_one_sentence(clone: Path, tools: Path, script: str, version: str) -> None:
    """The person learns what is needed and what is here, not where a script failed."""
    put_python(tools, f"{script}; exit 1")

    answer = dev(clone, tools, "lint")

    assert answer.returncode == 1
    assert answer.stderr.startswith("Drivestream needs Python 3.11, 3.12 or 3.13, and here is ")
    assert version in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_chosen_python_that_does_not_fit_gets_one_sentence(clone: Path, tools: Path) -> None:
    """PYTHON is a wish; falling back in silence would hide that it was not granted."""
    answer = dev(clone, tools, "lint", PYTHON="/nowhere/python3")

    assert answer.returncode == 1
    assert answer.stderr == (
        "PYTHON=/nowhere/python3 is not a Python 3.11, 3.12 or 3.13: point it at one, or unset it.\n"
    )


def test_a_missing_venv_module_names_the_package(clone: Path, tools: Path) -> None:
    """Debian ships Python without it, and Python's own message is a page long."""
    put_python(tools, f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"')

    answer = dev(clone, tools, "lint")

    assert answer.returncode == 1
    assert "apt install python3-venv" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (clone / ".venv").exists()


def test_a_half_made_environment_is_made_again_and_no_network_gets_one_sentence_and_a_log(
    clone: Path, tools: Path
) -> None:
    """Ctrl-C during the first installation must not leave a trap. What pip prints is pages long; it is kept for whoever
    wants it."""
    put_python(tools, f'exec "{base_python()}" "$@"')
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to("/nowhere")
    (clone / ".venv" / "unfinished").touch()
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}

    answer = dev(clone, tools, "lint", **nowhere)

    assert "1/3 Making .venv" in answer.stderr
    assert (clone / ".venv" / "bin" / "pip").exists()
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("The packages could not be fetched: check the network")
    assert "Traceback" not in answer.stderr
    assert "127.0.0.1:9" not in answer.stderr
    assert (clone / ".venv" / "install.log").read_text()


def base_python() -> str:
    """The interpreter that this environment was made with."""
    return getattr(sys, "_base_executable", sys.executable)
