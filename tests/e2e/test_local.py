"""`./dev local` from nothing to a search result, and again: everything accounted for, nothing read twice."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.local.hosting import FUNCTIONS
from tests import mixed_folder
from tests.contract.pdfs import HAS_OCR
from tests.e2e.local_stack import EXPECTED, LocalStack, local_stack
from tests.faults.final_state import rows_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc")

DONE = ("indexed", "unchanged", "skipped", "failed")


@dataclass
class Sample:
    """The sample Drive, read once; then looked at; then read again with the same data."""

    first: dict[str, Any]
    lines: list[str]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    found: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reads: tuple[int, int] = (0, 0)
    again: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def sample() -> Iterator[Sample]:
    with local_stack(new=True) as stack:
        seen = Sample(stack.once(), stack.said().splitlines())
        reads = stack.audited_reads()
        with stack.running("--yes"):
            seen.files = {file["name"]: file for file in stack.files()}
            for file in expected("indexed"):
                seen.found[file["phrase"]] = stack.search(file["phrase"])
        seen.again = stack.once()
        seen.reads = reads, stack.audited_reads()
        yield seen


def expected(state: str) -> list[dict[str, Any]]:
    """What must have become of Ada's files on this machine; what needs OCR is skipped where there is none."""
    files = [{**file, "state": "skipped"} if needs_ocr(file) and not HAS_OCR else file for file in EXPECTED["files"]]
    return [file for file in files if file["state"] == state]


def needs_ocr(file: dict[str, Any]) -> bool:
    return bool(file.get("needs_ocr"))


sample_group = pytest.mark.xdist_group("local_sample")  # one stack for all of them


@sample_group
def test_every_file_of_the_sample_is_accounted_for(sample: Sample) -> None:
    """A summary whose numbers do not add up hides files that were lost."""
    files = sample.first["files"]

    assert files["listed"] == sum(files[state] for state in DONE) == len(expected("indexed") + expected("skipped"))
    assert (files["unchanged"], files["failed"]) == (0, 0)
    assert files["indexed"] >= len(expected("indexed"))
    assert sum(sample.first["reasons"].values()) == files["skipped"]
    assert sample.first["bytes"] > 0
    assert sample.first["passages"] >= sample.first["chunks"] > 0


@sample_group
def test_enough_of_the_sample_can_be_searched_whatever_the_machine_has(sample: Sample) -> None:
    """A newcomer without tesseract still sees most of the sample come alive."""
    states = [sample.files[file["name"]]["state"] for file in (*expected("indexed"), *expected("skipped"))]

    assert len(states) >= 40
    assert states.count("indexed") >= 34


@sample_group
@pytest.mark.parametrize("file", expected("indexed"), ids=lambda file: str(file["name"]))
def test_a_phrase_of_a_file_is_found_first_with_its_place(sample: Sample, file: dict[str, Any]) -> None:
    """Finding a text is half of it: a person wants the page, the line, the sheet."""
    best = sample.found[file["phrase"]][0]

    assert best["file"]["name"] == file["name"]
    assert file["phrase"] in " ".join(best["passage"].split())
    assert best["locator"] | file["locator"] == best["locator"]
    for unit in ("row", "line"):
        if unit in file:
            assert best["locator"][f"{unit}_first"] <= file[unit] <= best["locator"][f"{unit}_last"]


@sample_group
@pytest.mark.parametrize("file", expected("skipped"), ids=lambda file: str(file["name"]))
def test_a_file_that_is_left_out_says_why(sample: Sample, file: dict[str, Any]) -> None:
    """`skipped` without a sentence is as good as lost."""
    found = sample.files[file["name"]]

    assert found["state"] == "skipped"
    assert found["reason"].endswith(".")
    assert needs_ocr(file) or found["reason_code"] == file["code"]


@sample_group
def test_a_second_run_reads_no_content_again(sample: Sample) -> None:
    """Fetching and embedding what is known already would cost a person's quota and our money."""
    files = sample.again["files"]

    assert (files["indexed"], sample.again["bytes"], sample.again["chunks"]) == (0, 0, 0)
    assert files["unchanged"] == sample.first["files"]["indexed"]
    assert files["listed"] == sum(files[state] for state in DONE) == sample.first["files"]["listed"]
    assert sample.reads[0] == sample.reads[1] > 0


@sample_group
def test_a_program_reads_the_summary_from_the_last_line(sample: Sample) -> None:
    """Scripts take the last line of standard output; the functions' log lines must not get between."""
    assert sample.lines[-1].startswith('{"files": {"listed": ')
    assert not any('"severity"' in line for line in sample.lines)


@pytest.mark.xdist_group("local_no_ocr")
def test_without_tesseract_scans_are_skipped_and_say_so(tmp_path: Path) -> None:
    """A machine with nothing installed is the usual one."""
    with local_stack(environment={"PATH": str(tmp_path)}) as stack:
        summary = stack.once()
        with rows_of(stack.data) as rows:
            asked = "SELECT name FROM gdrive_files WHERE state = 'skipped' AND reason LIKE '%tesseract%'"
            left_out = {json.loads(name) for (name,) in rows(asked)}

    scans = {file["name"] for file in EXPECTED["files"] if needs_ocr(file)}
    assert summary["files"]["indexed"] >= 34
    assert scans
    assert scans - left_out == set()


def read_mixed_folder(tmp_path: Path, count: int, *options: str, **more: bool) -> dict[str, Any]:
    """Read so many files that nobody has tidied: the summary. Fails for every file that is not what it must be."""
    folder = tmp_path / "drive"
    manifest = mixed_folder.make(folder, count, **more)
    with local_stack(folder) as stack:
        summary = stack.once(*options)
        with stack.running("--yes"):
            wrong = different(manifest, stack)
    assert not wrong, "\n".join(wrong)
    assert summary["files"]["listed"] == len(manifest) == sum(summary["files"][state] for state in DONE)
    return summary


def different(manifest: dict[str, dict[str, Any]], stack: LocalStack) -> list[str]:
    """Files that are lost, or not read, or not found by their phrase."""
    files = stack.files()
    manifest = {_as_text(path): said for path, said in manifest.items()}
    here, wanted = Counter(file["name"] for file in files), Counter(Path(path).name for path in manifest)
    wrong = [f"missing {many}x {name!r}" for name, many in (wanted - here).items()]
    wrong += [f"too much {many}x {name!r}" for name, many in (here - wanted).items()]
    unread = Counter(file["name"] for file in files if file["state"] != "indexed")
    may_be_unread = Counter(Path(path).name for path, said in manifest.items() if said["expect"] != "indexed")
    wrong += [f"not indexed: {name!r}" for name in unread - may_be_unread]
    wrong += [f"no reason: {file['name']!r}" for file in files if file["name"] in unread and not file["reason"]]
    with_phrase = [(Path(path).name, said["phrase"]) for path, said in manifest.items() if said["phrase"]]
    for name, phrase in with_phrase[:: max(1, len(with_phrase) // 40)]:
        if name not in stack.names(phrase):
            wrong.append(f"{phrase!r} of {name!r} is not found")
    return wrong


def _as_text(path: str) -> str:
    """A disk's name may hold bytes that are no text; a Drive's name may not."""
    return os.fsencode(path).decode(errors="replace")


@pytest.mark.long  # the sample is read by each run, and processes are looked at by the tests of disks and of functions
@pytest.mark.xdist_group("local_mixed")
def test_a_folder_of_hundreds_of_mixed_files_is_read_by_processes(tmp_path: Path) -> None:
    """A process for each function, unable to write, is how it is deployed."""
    summary = read_mixed_folder(tmp_path, 200, "--processes", big=False)

    assert set(summary["peak_rss_mib"]) == set(FUNCTIONS)
    assert all(peak > 20 for peak in summary["peak_rss_mib"].values())


@pytest.mark.long
@pytest.mark.xdist_group("local_mixed")
@pytest.mark.parametrize("options", [[], ["--processes"]], ids=["one process", "a process for each function"])
def test_a_folder_of_thousands_of_mixed_files_is_read(tmp_path: Path, options: list[str]) -> None:
    """What is lost once in a thousand files is not seen in a sample of sixty."""
    summary = read_mixed_folder(tmp_path, 2000, *options, huge=True)

    print(f"{summary['files']['listed'] / summary['seconds']:.1f} files/s", summary)
