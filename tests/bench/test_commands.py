"""`./dev cat` and `./dev bench` as others call them: what they print, and what they say when something is wrong."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.drive_server import ROOT, Running, id_of, serving
from tests.contract.fake_http import Line, Request, Server

CONTENT = random.Random(5).randbytes(5_000_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("drive")
    (place / "five.bin").write_bytes(CONTENT)
    (place / "empty.bin").touch()
    return place


@pytest.fixture(scope="module")
def drive(folder: Path) -> Iterator[Running]:
    with serving(folder) as server:
        yield server


def program(module: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, timeout=300)


def patiently(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A benchmark that may take an hour."""
    return subprocess.run([sys.executable, "-m", "tests.bench", *arguments], cwd=ROOT, capture_output=True)


def last_line(run: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr.decode()
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def bench(name: str, server: Running | Server, *arguments: str) -> dict[str, Any]:
    return last_line(program("tests.bench", name, "--drive", server.url, "--token", "t", *arguments))


def cat(server: Running | Server, file_id: str) -> subprocess.CompletedProcess[bytes]:
    return program("infra.local.cat", file_id, "--drive", server.url, "--token", "t")


def test_cat_writes_a_file_as_it_is(drive: Running) -> None:
    """Bytes and nothing else; an empty file is no fault."""
    assert (run := cat(drive, id_of("five.bin"))).returncode == 0
    assert (run.stdout == CONTENT, run.stderr) == (True, b"")
    assert (run := cat(drive, id_of("empty.bin"))).returncode == 0
    assert (run.stdout, run.stderr) == (b"", b"")


@pytest.mark.parametrize(
    ("file_id", "said"), [(id_of("no such file"), b"Drive no longer shows this file to you"), ("root", b"is a folder")]
)
def test_cat_says_in_one_sentence_why_not(drive: Running, file_id: str, said: bytes) -> None:
    """No traceback for what is nobody's fault."""
    run = cat(drive, file_id)

    assert (run.returncode, run.stdout, run.stderr.count(b"\n")) == (1, b"", 1)
    assert said in run.stderr


def test_cat_fails_when_the_bytes_are_not_those_that_drive_states(folder: Path) -> None:
    """A wrong byte must not go by unnoticed in a pipe: the exit code says it."""

    def respond(request: Request, line: Line) -> None:
        if request.target == "/token":
            line.json({"access_token": "a", "expires_in": 60})
        elif "alt=media" in request.target:
            line.answer(200, CONTENT[:-1] + b"?")
        else:
            line.json({"id": "f", "name": "f", "size": str(len(CONTENT)), "sha256Checksum": SHA})

    with Server(respond) as server:
        run = cat(server, "f")

    assert run.returncode == 1
    assert run.stderr == b"The bytes that came do not have the checksum that Drive states.\n"


def test_cat_is_quiet_when_its_reader_has_seen_enough(drive: Running) -> None:
    """`./dev cat ID | head` is how people look at a file."""
    command = [sys.executable, "-m", "infra.local.cat", id_of("five.bin"), "--drive", drive.url, "--token", "t"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(10) == CONTENT[:10]
        running.stdout.close()
        assert running.stderr.read() == b""


@pytest.mark.parametrize("consumer", ["sha", "noop"])
@pytest.mark.parametrize("stated", [["md5", "sha256"], ["md5"], []], ids=["sha256", "md5", "none"])
def test_a_stream_is_measured_whatever_drive_states(folder: Path, stated: list[str], consumer: str) -> None:
    """Nothing is hashed twice, and the hash is right all the same."""
    with serving(folder, "--stated", *stated) as server:
        result = bench("stream", server, "--file", id_of("five.bin"), "--consumer", consumer)
        counts = server.counts()

    assert (result["bytes"], result.get("sha256")) == (len(CONTENT), SHA if consumer == "sha" else None)
    assert result["wall"] > 0
    assert result["cpu"] > 0
    assert (counts["token"], counts["get"], counts["media"]) == (1, 1, 1)


def test_a_folder_is_loaded_with_one_request_a_file(tmp_path: Path) -> None:
    """Every file of every folder and page is in the result, read or with its reason, and no file is asked for twice."""
    make_small_files(tmp_path, 130)  # two pages of this server's listing
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "last.txt").write_text("the last one")
    (tmp_path / "empty.txt").touch()
    expected = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} - {Path("empty.txt")}
    with serving(tmp_path) as server:
        result = bench("load", server, "--folder", "root")
        counts = server.counts()

    assert set(result["files"]) == {id_of(str(path)) for path in expected}
    assert len(result["files"]) == len(expected) == counts["media"]
    assert (result["nerr"], result["errs"]) == (1, [f"{id_of('empty.txt')}: empty: The file is empty."])
    assert "get" not in counts
    assert result["chunks"] >= len(expected)
    assert result["chars"] > 0


def test_loading_gets_through_refusals(tmp_path: Path) -> None:
    """A tenth of all requests is refused, listings too, and nothing is missing."""
    make_small_files(tmp_path, 60)
    with serving(tmp_path, "--refusals", "0.1") as server:
        result = bench("load", server, "--folder", "root")
        counts = server.counts()

    assert (len(result["files"]), result["nerr"]) == (60, 0)
    assert counts.get("429", 0) + counts.get("503", 0) > 0


def test_a_listing_that_fails_is_never_an_empty_success() -> None:
    """What could not be listed is an error in the result and in the exit code."""

    def respond(request: Request, line: Line) -> None:
        if request.target == "/token":
            line.json({"access_token": "a", "expires_in": 60})
        else:
            line.refuse(403, "insufficientFilePermissions")

    with Server(respond) as server:
        run = program("tests.bench", "load", "--drive", server.url, "--token", "t", "--folder", "root")

    assert run.returncode == 1
    assert json.loads(run.stdout)["nerr"] == 1
    assert json.loads(run.stdout)["files"] == []


def test_an_unknown_benchmark_gets_one_sentence() -> None:
    """And the list of those there are."""
    run = program("tests.bench", "speed")

    assert (run.returncode, run.stdout) == (2, b"")
    assert b"stream" in run.stderr


def make_small_files(folder: Path, count: int) -> None:
    makers: list[Callable[[Path], object]] = [
        lambda path: path.with_suffix(".txt").write_text(f"Words of {path.name}.\n" * 20),
        lambda path: path.with_suffix(".md").write_text(f"# {path.name}\n\nSome words.\n"),
        lambda path: path.with_suffix(".csv").write_text("a,b\n1,2\n"),
        lambda path: path.with_suffix(".json").write_text(json.dumps({"name": path.name})),
        lambda path: _zip(path.with_suffix(".zip")),
    ]
    for number in range(count):
        makers[number % len(makers)](folder / f"file {number}")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.txt", f"Words in {path.name}.")
