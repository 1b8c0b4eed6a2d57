"""The one-machine Postgres: it starts for everybody, says in a sentence why not, and forgets nothing when killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local import postgres, unprivileged
from infra.local.postgres import PostgresError, PostgresServer
from shared.adapters.postgres import connect_to_url, sqlstate

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
NAMESPACE = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]

# Starts a server, writes one row, says where it is, and waits for its end.
STACK = """
import sys, time
from pathlib import Path
from infra.local.postgres import PostgresServer
from shared.adapters.postgres import connect_to_url
server = PostgresServer(Path(sys.argv[1]))
server.start()
connection = connect_to_url(server.admin_url)
connection.execute_simple("CREATE TABLE IF NOT EXISTS kept (i int); INSERT INTO kept VALUES (1)")
print(server.port, server._process.pid, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter: as root, the server is nobody."""
    made = Path(tempfile.mkdtemp(prefix="drivestream-launch-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def made_data() -> Iterator[Path]:
    """What a first start has made: whoever does not test the making begins with a copy of it."""
    place = Path(tempfile.mkdtemp(prefix="drivestream-made-"))
    place.chmod(0o711)
    server = PostgresServer(place / "data")
    server.start()
    server.stop()
    yield place / "data"
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def data(folder: Path, made_data: Path) -> Path:
    """Data that have been started and stopped before."""
    subprocess.run(["cp", "-a", made_data, folder / "data"], check=True)
    return folder / "data"


@pytest.fixture
def closed_folder(folder: Path) -> Path:
    """A folder that only its owner may enter, such as root's home."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    return closed


def stack(data: Path, *, prefix: list[str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*(prefix or []), sys.executable, "-c", STACK, str(data)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def said(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdout is not None
    port, pid = process.stdout.readline().split()
    return int(port), int(pid)


def ended(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0
    assert process.stdout is not None
    process.stdout.close()


def kept(server: PostgresServer) -> int:
    connection = connect_to_url(server.admin_url)
    rows = connection.execute_simple("SELECT count(*) FROM kept").rows
    connection.close()
    return int(rows[0][0])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def test_it_keeps_what_it_was_told_between_starts(folder: Path) -> None:
    """Ctrl-C and the same command again: everything is there, passwords included."""
    server = PostgresServer(folder / "data")
    server.start()
    first = server.admin_url
    connection = connect_to_url(first)
    connection.execute_simple("CREATE TABLE kept (i int); INSERT INTO kept VALUES (1)")
    connection.close()
    server.stop()
    server.stop()

    server.start(server.port)

    assert server.admin_url == first
    assert kept(server) == 1
    server.stop()


def test_a_killed_stack_loses_nothing_and_starts_again(data: Path) -> None:
    """A kill -9 of the stack: the server goes with it, and the next start finds every row."""
    process = stack(data)
    _, pid = said(process)
    process.kill()
    process.wait()

    server = PostgresServer(data)
    server.start()

    assert kept(server) == 1
    assert not server._is_ours(pid)
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("where", ["open", "closed"])
def test_a_server_ends_with_its_stack(folder: Path, data: Path, where: str) -> None:
    """Nobody has to hunt for a process that was left behind."""
    if where == "closed":
        folder.chmod(0o700)
    process = stack(data)
    _, pid = said(process)

    process.kill()
    process.wait()

    until(lambda: "postgres" not in postgres._command_line(pid))


def test_a_killed_server_recovers(data: Path) -> None:
    """A kill -9 of the database itself leaves a lock file and a log to be read again."""
    process = stack(data)
    _, pid = said(process)
    os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()

    server = PostgresServer(data)
    server.start()

    assert kept(server) == 1
    server.stop()


def test_a_server_that_was_left_over_is_stopped_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no kernel ends it with its parent, the next start finds it by its own pid file."""
    monkeypatch.setattr(unprivileged, "_BECOME", unprivileged._BECOME.replace('dies == "dies"', "False"))
    left = PostgresServer(data)
    left.start()
    assert left._process
    assert left._lock
    left._lock.close()  # as if its launcher had been killed

    server = PostgresServer(data)
    server.start()

    assert left._process.wait(10) == 0
    assert server.port
    server.stop()


def test_a_pid_that_is_somebody_elses_is_left_alone(data: Path) -> None:
    """Process numbers are used again: a stale file must not get an innocent program killed."""
    server = PostgresServer(data)
    server.start()
    server.stop()
    innocent = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    (data / "cluster" / "postmaster.pid").write_text(f"{innocent.pid}\n{data}/cluster\n")

    server.start()

    assert innocent.poll() is None
    server.stop()
    innocent.communicate()


def test_two_stacks_do_not_share_a_folder(data: Path) -> None:
    """The second one says so, and does not stop the first one's database."""
    first, second = PostgresServer(data), PostgresServer(data)
    first.start()

    with pytest.raises(PostgresError, match="Another Drivestream is using"):
        second.start()

    connect_to_url(first.admin_url).close()
    first.stop()


def test_nobody_comes_in_without_a_password(folder: Path) -> None:
    """Every program of this machine can reach 127.0.0.1; and nothing else can reach it at all."""
    server = PostgresServer(folder / "data")
    server.start()

    for password in ("", "postgres", "wrong"):
        with pytest.raises(Exception, match="password") as refused:
            connect_to_url(f"postgresql://postgres:{password}@127.0.0.1:{server.port}/drivestream")
        assert sqlstate(refused.value) in ("28P01", "")

    secrets = folder / "data" / "passwords.json"
    assert secrets.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in (folder / "data").iterdir()) == [
        "cluster", "lock", "passwords.json", "postgres.log",
    ]  # fmt: skip
    connection = connect_to_url(server.admin_url)
    shown = connection.execute_simple(
        "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories'),"
        " current_setting('fsync'), current_setting('synchronous_commit')"
    ).rows
    connection.close()
    assert shown == [["127.0.0.1", "", "on", "on"]]
    server.stop()


def test_a_server_whose_data_nobody_wants_back_waits_for_no_disk(postgres: PostgresServer) -> None:
    connection = connect_to_url(postgres.admin_url)
    shown = connection.execute_simple("SELECT current_setting('fsync')").rows
    connection.close()
    assert shown == [["off"]]


def test_no_password_is_in_the_log(folder: Path) -> None:
    """The log is what people send when they ask for help."""
    server = PostgresServer(folder / "data")
    server.start()
    server.stop()

    log = (folder / "data" / "postgres.log").read_text()

    assert "ready to accept connections" in log
    assert not [password for password in server._passwords.values() if password in log]


def test_words_of_every_script_are_lowered(data: Path) -> None:
    """Search must find Ähnlich by ähnlich, on a machine without any locale."""
    server = PostgresServer(data)
    server.start()
    connection = connect_to_url(server.admin_url)

    [[lowered, words]] = connection.execute_simple(
        "SELECT lower('ÄÖЖ'), to_tsvector('simple', 'Ähnlich ЖУК')::text"
    ).rows

    assert lowered == "äöж"
    assert words == "'ähnlich':1 'жук':2"
    connection.close()
    server.stop()


# Who may start it, and where


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user starts it directly")
def test_root_starts_it_as_nobody(folder: Path) -> None:
    """Postgres refuses root; the data then belong to the one who may do least."""
    server = PostgresServer(folder / "data")
    server.start()

    assert server._cluster.stat().st_uid != 0
    server.stop()


@pytest.mark.skipif(not IS_ROOT or not shutil.which("unshare"), reason="needs root and user namespaces")
def test_root_starts_it_below_a_folder_of_its_own(closed_folder: Path) -> None:
    """A home directory of root is closed to nobody; a user namespace is the way in, and back out again."""
    server = PostgresServer(closed_folder / "data")
    server.start()
    assert server._cluster.stat().st_uid == 0
    server.stop()

    closed_folder.chmod(0o711)  # the same data, and now nobody may enter
    server.start()

    assert server._cluster.stat().st_uid != 0
    server.stop()


@pytest.mark.skipif(not IS_ROOT, reason="only root needs a copy")
def test_root_starts_a_copy_where_nothing_else_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that only root can read, in a container without user namespaces."""
    real = unprivileged._runs
    monkeypatch.setattr(unprivileged, "_runs", lambda way: way.binaries.is_relative_to(folder) and real(way))
    server = PostgresServer(folder / "data")

    server.start()

    assert (folder / "data" / "programs" / "pginstall18" / "bin" / "postgres").exists()
    server.stop()


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user starts it directly")
def test_root_without_any_way_is_told_what_to_do(closed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No user namespaces and a closed folder: a sentence, not a stack trace."""
    monkeypatch.setattr(unprivileged, "_USER_NAMESPACE", ("no-such-program",))

    with pytest.raises(PostgresError, match="Run as an ordinary user, or keep the data in a folder"):
        PostgresServer(closed_folder / "data").start()


@pytest.mark.skipif(not IS_ROOT or not shutil.which("unshare"), reason="needs root and user namespaces")
def test_an_ordinary_user_starts_it(closed_folder: Path) -> None:
    """Most people are not root."""
    if subprocess.run([*NAMESPACE, "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no user namespaces")
    process = stack(closed_folder / "data", prefix=NAMESPACE)
    port, _ = said(process)

    socket.create_connection(("127.0.0.1", port), 5).close()

    ended(process)


# Why not, in a sentence


def test_a_port_in_use_is_said(data: Path) -> None:
    """The most frequent reason of all."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PostgresError, match=f"Port {port} is used by another program"):
            PostgresServer(data).start(port)


def test_data_of_another_version_is_left_alone(data: Path) -> None:
    """An upgrade of Postgres is a decision; nothing is deleted or converted in passing."""
    server = PostgresServer(data)
    server.start()
    server.stop()
    (data / "cluster" / "PG_VERSION").write_text("16\n")

    with pytest.raises(PostgresError, match="was made by PostgreSQL 16, and this is PostgreSQL 18"):
        server.start()


def test_a_platform_without_the_wheel_is_told_of_database_url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot have our Postgres may bring one."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(PostgresError, match="give its DATABASE_URL"):
        PostgresServer(folder / "data").start()


def test_a_folder_that_cannot_be_made_is_said(folder: Path) -> None:
    """A file where the folder should be, as root and as anybody."""
    (folder / "file").write_text("")

    with pytest.raises(PostgresError, match="cannot use"):
        PostgresServer(folder / "file" / "data").start()


def test_half_a_cluster_is_made_anew(folder: Path) -> None:
    """A kill in the first second leaves an unfinished folder, which nobody has to delete by hand."""
    unfinished = folder / "data" / "cluster.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    (folder / "data").chmod(0o711)
    server = PostgresServer(folder / "data")

    server.start()

    assert not unfinished.exists()
    server.stop()
