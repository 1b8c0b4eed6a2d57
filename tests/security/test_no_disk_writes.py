"""The functions write nothing to a disk: they may not, they did not, and none of their system calls tried to."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.hosting import FUNCTIONS
from tests.faults.folder import prose, write_folder
from tests.faults.machine import Machine, provide_database, tree
from tests.faults.visitor import Visitor
from tests.unit.reader_samples import docx, paragraph, pdf

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits and counters of processes are read from Linux' /proc"),
    pytest.mark.xdist_group("no_disk_writes"),  # one stack for all of them
]

_CALLS = (
    "open,openat,openat2,creat,rename,renameat,renameat2,mkdir,mkdirat,mknod,mknodat,link,linkat,symlink,symlinkat,"
    "truncate,unlink,unlinkat,execve,clone,clone3,fork,vfork"
)
_STARTING = ("clone", "clone3", "fork", "vfork")
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_ENDED = re.compile(r"^(\d+) +\+\+\+ ")
_WRITING = re.compile(r"O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)")


@dataclass(frozen=True)
class Process:
    """One process of a function at the end of a sync."""

    function: str
    file_limit: str
    written: int
    open_for_writing: list[str]


@dataclass(frozen=True)
class Watched:
    """What a sync of every kind of file looked like from outside of the functions."""

    processes: list[Process]
    trace: Path | None


def tracer(trace: Path) -> list[str]:
    """The command line of strace where it can be used, else nothing."""
    strace = shutil.which("strace")
    if strace is None:
        return []
    wrapper = [strace, "-f", "--seccomp-bpf", "-q", "-s", "300", "-e", f"trace={_CALLS}", "-e", "signal=none"]
    tried = subprocess.run([*wrapper, "-o", "/dev/null", "true"], capture_output=True, check=False)
    return [*wrapper, "-o", str(trace)] if tried.returncode == 0 else []


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """Sync a folder of every kind with a process for each function, all under strace if there is one."""
    place = Path(tempfile.mkdtemp(prefix="drivestream-disk-"))
    folder = place / "drive"
    folder.mkdir()
    files = write_folder(folder, 300_000)
    trace = place / "trace"
    wrapper = tracer(trace)
    provide_database(place / "data")
    machine = Machine(place / "data", folder, "--processes", wrapper=wrapper)
    try:
        with machine.running():
            visitor = Visitor(machine)
            visitor.connect("ada@example.com")
            visitor.wait_until_read(files)
            assert visitor.get("/api/search?q=ferry").json()["results"]
            # The kernel also counts the access times of programs that are read for the first time in a day, so what
            # counts is a second round, in which everything is done again and no program is new.
            before = _written(machine)
            visitor.wait_until_read(files + _add_more(folder / "ada"))
            assert visitor.get("/api/search?q=lantern").json()["results"]
            processes = [process for name, pid in _pids(machine) for process in _look_at(name, pid, before.get(pid, 0))]
        yield Watched(processes, trace if wrapper else None)
    finally:
        machine.pull_the_plug()
        shutil.rmtree(place, ignore_errors=True)


def test_no_function_may_write_a_byte_to_a_file(watched: Watched) -> None:
    """A limit of the kernel's holds for all code, also for what a library does some day; children inherit it."""
    assert {process.function for process in watched.processes} == set(FUNCTIONS)
    assert {process.file_limit for process in watched.processes} == {"0 0 bytes"}


def test_no_function_has_written_to_a_disk(watched: Watched) -> None:
    """The kernel counts what each process had written to storage: it is nothing."""
    written = [(process.function, process.written) for process in watched.processes if process.written]
    held_open = [
        (process.function, process.open_for_writing) for process in watched.processes if process.open_for_writing
    ]

    assert written == []
    assert held_open == []


def test_no_system_call_of_a_function_makes_or_opens_a_file_for_writing(watched: Watched) -> None:
    """From the start of each function to its end, with every child it had."""
    if watched.trace is None:
        pytest.skip("strace is not installed, or may not trace here")

    calls = Calls(watched.trace.read_text(errors="replace")).found

    assert len({function for function, *_ in calls}) == len(FUNCTIONS)
    assert any("pdf_child" in rest for _, call, rest in calls if call == "execve"), "no PDF was read by a child"
    assert [f"{function}: {call}({rest}" for function, call, rest in calls if writes(call, rest)] == []


def test_a_trace_is_read_as_it_happened() -> None:
    """Calls overlap, children speak before their parents have heard of them, and numbers are used again."""
    trace = """\
10 clone3({flags=CLONE_VM}, 88 <unfinished ...>
11 openat(AT_FDCWD, "/before/it/was/a/function", O_WRONLY|O_CREAT, 0666) = 3
11 execve("/bin/python", ["python", "-m", "infra.local.serve", "dashboard"], 0x7ff /* 9 vars */ <unfinished ...>
10 <... clone3 resumed>) = 11
11 <... execve resumed>) = 0
11 clone3({flags=CLONE_THREAD} <unfinished ...>
12 openat(AT_FDCWD, "/by/an/early/thread", O_RDWR|O_CREAT, 0600 <unfinished ...>
11 <... clone3 resumed>, 88) = 12
12 <... openat resumed>) = 4
12 openat(AT_FDCWD, "/refused", O_WRONLY|O_CREAT, 0600) = -1 EACCES (Permission denied)
12 openat(AT_FDCWD, "/dev/shm/wgunicorn-x1", O_RDWR|O_CREAT|O_EXCL, 0600) = 5
12 openat(AT_FDCWD, "/only/read", O_RDONLY|O_CLOEXEC) = 6
12 +++ exited with 0 +++
10 clone3({flags=CLONE_VM}, 88) = 12
12 mkdir("/by/somebody/else/with/its/number", 0700) = 0
"""

    calls = Calls(trace).found

    assert {function for function, *_ in calls} == {"dashboard"}
    assert [rest.split('"')[1] for _, call, rest in calls if writes(call, rest)] == ["/by/an/early/thread"]


def writes(call: str, rest: str) -> bool:
    """Whether a traced call made, changed or opened for writing anything on a disk."""
    if call in ("execve", *_STARTING) or re.search(r"= -1 E", rest):
        return False
    if call.startswith("open") and not _WRITING.search(rest):
        return False
    paths = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
    return not all(_is_no_disk(path) for path in paths)


def _is_no_disk(path: str) -> bool:
    # gunicorn's heartbeat is a file in shared memory that is touched, never written (the limit above holds for it,
    # too); everything else here is a device.
    return path in ("/dev/null", "/dev/tty") or re.fullmatch(r"/dev/shm/wgunicorn-\w+", path) is not None


class Calls:
    """What functions and their children called, out of a trace of everything.

    A process is a function's from the moment it becomes one, and so is whatever it starts; what a child did before its
    parent's trace tells of it is kept until then. Numbers of processes are used again.
    """

    def __init__(self, trace: str) -> None:
        self.found: list[tuple[str, str, str]] = []  # function, system call, its arguments and result
        self._function_of: dict[str, str] = {}
        self._early: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._started: defaultdict[str, list[str]] = defaultdict(list)
        begun: dict[str, str] = {}
        for line in trace.splitlines():
            if ended := _ENDED.match(line):
                for known in (self._function_of, self._early, self._started, begun):
                    known.pop(ended[1], None)
            elif called := _LINE.match(line):
                pid, call, rest = called.groups()
                if rest.endswith("<unfinished ...>"):
                    begun[pid] = rest.removesuffix("<unfinished ...>")
                else:
                    self._take(pid, call, rest)
            elif resumed := _RESUMED.match(line):
                pid, call, rest = resumed.groups()
                self._take(pid, call, begun.pop(pid, "") + rest)

    def _take(self, pid: str, call: str, rest: str) -> None:
        if call == "execve" and (function := re.search(r'"infra\.local\.serve", "(\w+)"', rest)):
            self._early.pop(pid, None)
            self._belongs(pid, function[1])
        if call in _STARTING and (made := re.search(r"\) += (\d+)", rest)):
            if pid in self._function_of:
                self._belongs(made[1], self._function_of[pid])
            else:
                self._started[pid].append(made[1])
        if pid in self._function_of:
            self.found.append((self._function_of[pid], call, rest))
        else:
            self._early[pid].append((call, rest))

    def _belongs(self, pid: str, function: str) -> None:
        self._function_of[pid] = function
        self.found += [(function, call, rest) for call, rest in self._early.pop(pid, [])]
        for child in self._started.pop(pid, []):
            self._belongs(child, function)


def _add_more(folder: Path) -> int:
    """Add files whose reading takes every way that there is; how many."""
    chance = random.Random(3)
    text = prose(chance, 300_000)
    (folder / "more.txt").write_text(text)
    (folder / "more.docx").write_bytes(docx(paragraph(text[:5000])))
    (folder / "more.pdf").write_bytes(pdf([text[:90]]))
    return 3


def _pids(machine: Machine) -> list[tuple[str, int]]:
    """Every process of every function."""
    roots = {name: int((machine.data / "pids" / f"{name}.pid").read_text()) for name in FUNCTIONS}
    return [(name, pid) for name, root in roots.items() for pid in tree(root)]


def _written(machine: Machine) -> dict[int, int]:
    return {pid: _count(Path(f"/proc/{pid}/io"), "write_bytes") for _, pid in _pids(machine)}


def _look_at(name: str, pid: int, written_before: int) -> list[Process]:
    """The process now; nothing if it has ended meanwhile, as children of a pool may."""
    root = Path(f"/proc/{pid}")
    try:
        limit = re.search(r"^Max file size +(.*?) *$", (root / "limits").read_text(), re.MULTILINE)
        written = _count(root / "io", "write_bytes") - written_before
    except (FileNotFoundError, ProcessLookupError):
        return []
    assert limit is not None
    return [Process(name, " ".join(limit[1].split()), written, _open_for_writing(root))]


def _count(counters: Path, name: str) -> int:
    found = re.search(rf"^{name}: (\d+)", counters.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _open_for_writing(root: Path) -> list[str]:
    found = []
    for descriptor in (root / "fd").iterdir():
        try:
            target = str(descriptor.readlink())
            flags = int((root / "fdinfo" / descriptor.name).read_text().split("flags:")[1].split()[0], 8)
        except OSError:
            continue  # closed meanwhile
        if target.startswith("/") and flags & 0o3 and not _is_no_disk(target.removesuffix(" (deleted)")):
            found.append(target)
    return found
