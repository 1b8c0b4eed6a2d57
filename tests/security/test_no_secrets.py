"""No secret rests or travels anywhere but where it is kept: not in a log, an answer, a message, a document or a row.

One stack with a process for each function lives through a connection, replays, forgeries, a sync and a disconnect;
then everything it has written and said is searched for every secret that was in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from google.cloud import pubsub_v1

from infra.local.hosting import FUNCTIONS
from infra.local.stack import PROJECT
from shared.adapters.sealing import Seal
from tests.faults.final_state import rows_of
from tests.faults.folder import write_folder
from tests.faults.machine import Machine, provide_database
from tests.faults.visitor import Visitor

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc"),
    pytest.mark.xdist_group("no_secrets"),  # one stack for all of them
]

# What a secret looks like, whichever one it is.
SHAPES = {
    "an access token": re.compile(rb"ya29\.[\w-]{40,}"),
    "a refresh token": re.compile(rb"1//[\w-]{50,}"),
    "a signed token": re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY"),
}
# Where secrets are kept: for the owner's eyes only. `google` is the local Google's own memory, not ours; Postgres keeps
# what its passwords are checked against, and its rows are searched by themselves.
KEPT = ("secrets/", "google/", "environment", "postgres/passwords.json", "postgres/cluster/")


@dataclass(frozen=True)
class Life:
    """Everything that a stack left behind, and every secret that was in it."""

    data: Path
    secrets: dict[str, str]
    said: dict[str, bytes]  # answers of our doors, and what the command printed
    rows: dict[str, bytes]  # every table
    refresh_tokens: list[str]


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    """Live it, end it, and collect."""
    place = Path(tempfile.mkdtemp(prefix="drivestream-secrets-"))
    folder = place / "drive"
    folder.mkdir()
    files = write_folder(folder, 100_000)
    layout = json.loads((folder / ".drive.json").read_text())
    layout["people"].append({"email": "leaver@example.com", "name": "Leaver", "folder": "leaver"})
    (folder / "leaver").mkdir()
    (folder / "leaver" / "note.txt").write_text("The leaver was here.")
    (folder / ".drive.json").write_text(json.dumps(layout))
    provide_database(place / "data")
    machine = Machine(place / "data", folder, "--processes")
    try:
        with machine.running(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", _environment(machine)["PUBSUB_EMULATOR_HOST"])
            _keep_all_messages()
            visitors = [_stay(machine, files), _leave(machine), _strangers(machine)]
        yield _collect(machine, visitors)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_the_search_for_secrets_would_find_them(life: Life) -> None:
    """A search that finds nothing proves nothing unless it knows what it looks for, and finds it where it is."""
    database = sqlite3.connect(life.data / "google" / "oauth.sqlite")
    granted = {row[0] for row in database.execute("SELECT refresh FROM grants")}
    database.close()

    assert len(life.refresh_tokens) == 1
    assert {hashlib.sha256(token.encode()).hexdigest() for token in life.refresh_tokens} <= granted
    kinds = {name.rstrip(" 0123456789") for name in life.secrets}
    assert kinds == {"OAuth client secret", "Fernet key", "database password of", "refresh token", "channel token",
                     "private key line", "code", "state", "session"}  # fmt: skip
    kept = b"".join(path.read_bytes() for path in _files(life.data) if _is_kept(path, life.data))
    for name in ("OAuth client secret", "Fernet key", "private key line 3"):
        assert any(found.startswith(name) for found in found_in(kept, life.secrets))
    assert b"file_streamer" in (life.data / "logs" / "file_streamer.log").read_bytes()
    assert len(_messages(life.data)) > 20


def test_no_file_but_the_few_that_keep_them_holds_a_secret(life: Life) -> None:
    """Logs, the documents of Firestore and the messages of Pub/Sub are read by more people than a vault is."""
    searched = [path for path in _files(life.data) if not _is_kept(path, life.data)]

    names = {str(path.relative_to(life.data)) for path in searched}
    assert {"firestore/firestore.sqlite3", "pubsub/pubsub.sqlite3", "postgres/postgres.log"} <= names
    assert {f"logs/{name}.log" for name in FUNCTIONS} <= names
    for path in searched:
        assert found_in(path.read_bytes(), life.secrets) == [], path


def test_where_secrets_are_kept_only_their_owner_may_look(life: Life) -> None:
    """Another user of the same machine must not read them."""
    for path in _files(life.data):
        if _is_kept(path, life.data):
            closed = [path, *path.relative_to(life.data).parents]
            assert any(
                not (life.data / part).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
                for part in closed
                if str(part) != "."
            ), path


def test_no_row_of_any_table_holds_a_secret(life: Life) -> None:
    """A backup of the database must open nobody's Drive."""
    assert {"user_google_credentials", "sessions", "signin_codes", "gdrive_webhooks", "gdrive_audit_log"} <= set(
        life.rows
    )
    for table, rows in life.rows.items():
        assert found_in(rows, life.secrets) == [], table


def test_no_answer_of_a_door_holds_a_secret(life: Life) -> None:
    """What a browser gets may be cached, logged and looked at by its extensions."""
    assert len(life.said) > 30
    for name, answer in life.said.items():
        assert found_in(answer, life.secrets) == [], name


def found_in(text: bytes, secrets: dict[str, str]) -> list[str]:
    """The names of the secrets in it, plain or in the encodings in which they travel."""
    found = [name for name, shape in SHAPES.items() if shape.search(text)]
    return found + [name for name, secret in secrets.items() if any(form in text for form in _forms(secret))]


def _forms(secret: str) -> Iterable[bytes]:
    yield secret.encode()
    yield quote(secret, safe="").encode()
    for shift in range(3):  # within a longer text that was encoded whole
        encoded = base64.b64encode(b"\0" * shift + secret.encode())
        yield encoded[4 if shift else 0 : -4]


# Living ---------------------------------------------------------------------------------------------------------------


def _stay(machine: Machine, files: int) -> Visitor:
    """Connect, read, use every page, and come back with old addresses."""
    visitor = Visitor(machine)
    visitor.connect("ada@example.com")
    visitor.wait_until_read(files)
    for file in visitor.files():
        visitor.get(f"/api/files/{file['id']}")
        visitor.get(f"/files/{file['id']}", headers={"Accept": "text/html"})
    for path in ("/", "/api/search?q=ferry", "/metrics", "/healthz", "/api/status", "/api/jobs/none"):
        visitor.get(path)
    for old in [answer.url for answer in visitor.seen if re.search(r"[?&](code|state)=", answer.url)]:
        visitor.get(old)  # used up: refused, and the refusal is logged
    return visitor


def _leave(machine: Machine) -> Visitor:
    """Connect and disconnect: the grant is used once more and given back."""
    visitor = Visitor(machine)
    visitor.connect("leaver@example.com")
    visitor.wait_until_read(1)
    receipt = visitor.ask("POST", "/api/disconnect").json()["receipt"]
    machine.until(
        lambda: "Everything was erased" in visitor.get(f"/?receipt={receipt}", headers={"Accept": "text/html"}).text,
        "to erase somebody",
    )
    return visitor


def _strangers(machine: Machine) -> Visitor:
    """Forged requests to every function's own door."""
    visitor = Visitor(machine)
    ports = json.loads((machine.data / "ports.json").read_text())
    for name in FUNCTIONS:
        address = f"http://127.0.0.1:{machine.port if name == 'dashboard' else ports[name]}"
        for headers in ({}, {"Authorization": "Bearer forged"}, {"X-Goog-Channel-ID": "a" * 20}):
            visitor.ask("POST", address + "/", headers=headers, data=b"{}")
            visitor.ask("GET", address + "/callback?code=4/forged&state=forged", headers=headers)
    return visitor


def _keep_all_messages() -> None:
    """A subscription that nobody reads, for each topic: nothing that is ever said is forgotten."""
    topics = json.loads((Path(__file__).resolve().parents[2] / "infra" / "topology.json").read_text())["topics"]
    with pubsub_v1.SubscriberClient() as subscriber:
        for topic in topics:
            subscriber.create_subscription(
                name=f"projects/{PROJECT}/subscriptions/kept-{topic}", topic=f"projects/{PROJECT}/topics/{topic}"
            )


# Collecting -----------------------------------------------------------------------------------------------------------


def _collect(machine: Machine, visitors: list[Visitor]) -> Life:
    data = machine.data
    rows, sealed = _tables(data)
    keys = (data / "secrets" / "token-keys.made").read_bytes()
    refresh_tokens = [Seal(lambda: keys).open(user_id, text) for user_id, text in sealed]
    google = f":{json.loads((data / 'ports.json').read_text())['google']}/"
    secrets = {
        "OAuth client secret": (data / "secrets" / "oauth-client-secret.made").read_text().strip(),
        "Fernet key": keys.decode().strip(),
        **{
            f"database password of {number}": password
            for number, password in enumerate(json.loads((data / "postgres" / "passwords.json").read_text()).values())
        },
        **{f"refresh token {number}": token for number, token in enumerate(refresh_tokens)},
        **{f"channel token {number}": token for number, token in enumerate(_channel_tokens(data))},
        **_lines_of_key(data),
        **_passed_along(visitors),
    }
    said = {"what the command said": machine.said().encode()}
    for visitor in visitors:
        for answer in visitor.seen:
            if google in answer.url:
                continue  # Google's page may show its own ticket
            # Where a browser is sent, and its cookies, are how codes and sessions reach their owner.
            headers = {name: value for name, value in answer.headers.items() if name not in ("Location", "Set-Cookie")}
            said[f"{len(said)} {answer.request.method} {answer.url}"] = repr(headers).encode() + answer.content
    return Life(data, secrets, said, rows, refresh_tokens)


def _tables(data: Path) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
    """Every table as text, and (user id, sealed refresh token) of everybody."""
    with rows_of(data) as rows:
        names = [
            json.loads(row[0])
            for row in rows(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        ]
        tables = {name: "\n".join(map(str, rows(f'SELECT t::text FROM "{name}" t'))).encode() for name in names}
        sealed = [
            (json.loads(user_id), json.loads(text))
            for user_id, text in rows("SELECT user_id::text, refresh_token_sealed FROM user_google_credentials")
        ]
    return tables, sealed


def _channel_tokens(data: Path) -> list[str]:
    database = sqlite3.connect(data / "google" / "drive.sqlite")
    tokens = [row[0] for row in database.execute("SELECT token FROM channels WHERE token IS NOT NULL")]
    database.close()
    return tokens


def _lines_of_key(data: Path) -> dict[str, str]:
    key = json.loads((data / "google" / "service-account.json").read_text())["private_key"]
    lines = [line for line in key.splitlines() if len(line) == 64]
    return {f"private key line {number}": line for number, line in enumerate(lines)}


def _passed_along(visitors: list[Visitor]) -> dict[str, str]:
    """Codes, states and sessions that went through the browsers."""
    found: dict[str, str] = {}
    for visitor in visitors:
        for answer in visitor.seen:
            asked = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
            for name in ("code", "state"):
                found |= {f"{name} {len(found)}": value for value in asked.get(name, []) if len(value) > 20}
            if "session" in answer.cookies:
                found[f"session {len(found)}"] = answer.cookies["session"]
    return found


def _environment(machine: Machine) -> dict[str, str]:
    lines = (machine.data / "environment").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def _messages(data: Path) -> list[int]:
    database = sqlite3.connect(data / "pubsub" / "pubsub.sqlite3")
    found = [row[0] for row in database.execute("SELECT id FROM messages")]
    database.close()
    return found


def _files(data: Path) -> list[Path]:
    return [path for path in data.rglob("*") if path.is_file()]


def _is_kept(path: Path, data: Path) -> bool:
    return str(path.relative_to(data)).startswith(KEPT)
