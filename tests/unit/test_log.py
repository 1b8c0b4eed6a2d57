"""Log lines: one JSON object each, with what Cloud Logging needs and nothing that is secret."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from infra.local.google.keys import Keys
from shared import log

UNTOUCHED = [
    "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms",  # a Drive id of 44 characters
    "1HGmOJiQ8VsG7p05K9PZfWuq891-mMBxv",  # and one of 33
    "6c0f4f0e-54a5-4b43-9d43-3a0d5f3c1d11",
    "sha256:" + "0123456789abcdef" * 4,
    "/drive/v3/files/1HGmOJiQ8VsG7p05K9PZfWuq891-mMBxv?alt=media",
    "The file is larger than the bound of 5000000000000 bytes.",
    "2026-11-23T16:00:00.000Z",
]


@pytest.fixture(autouse=True)
def _quiet_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.unbind()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    log.unbind()


def canaries() -> dict[str, str]:
    """One of each kind of secret that passes through Drivestream."""
    key = Fernet.generate_key()
    return {
        "access token": "ya29.a0AfH6SMBx-canary_" + secrets.token_urlsafe(60),
        "refresh token": "1//0g" + secrets.token_urlsafe(48),
        "authorization code": "4/0AX4XfWh" + secrets.token_urlsafe(40),
        "client secret": "GOCSPX-" + secrets.token_urlsafe(21),
        "channel token": secrets.token_urlsafe(32),
        "state": "A" + secrets.token_urlsafe(48)[1:],
        "sealing key": key.decode(),
        "sealed token": Fernet(key).encrypt(b"x").decode(),
        "bearer": "Bearer abc.def-ghi",
    }


@pytest.mark.parametrize("kind", canaries())
@pytest.mark.parametrize(
    "around", ["{}", "token={}", 'Authorization: "{}"', "{{'x': '{}'}}", "({}),", "https://a/b?c={}&d=1"]
)
def test_a_secret_never_reaches_a_line(capsys: pytest.CaptureFixture[str], kind: str, around: str) -> None:
    """A log is read by many more people than a vault."""
    canary = canaries()[kind]
    log.bind(bound=around.format(canary))

    log.event(around.format(canary), field=around.format(canary), nested={"x": [around.format(canary)]})

    out = capsys.readouterr().out
    assert canary not in out
    assert out.count("[redacted]") >= 3
    json.loads(out)


def test_the_token_of_a_push_and_a_password_in_an_address_are_redacted(tmp_path: Path) -> None:
    """Signed tokens and database addresses come along in the errors of libraries."""
    token = Keys(tmp_path, lambda: 1.8e9).sign({"aud": "x"}, "https://issuer")

    assert log.redact(f"refused {token}!") == "refused [redacted]!"
    assert "s3cret" not in log.redact("postgresql://app:s3cret@10.0.0.1:5432/drivestream")
    assert "10.0.0.1" in log.redact("postgresql://app:s3cret@10.0.0.1:5432/drivestream")


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_helps_to_find_a_fault_stays(text: str) -> None:
    """A log that hides everything helps nobody."""
    assert log.redact(f"said {text} here") == f"said {text} here"


def test_a_stack_keeps_its_lines_and_loses_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """The text of an exception is written by libraries that do not know what is secret."""
    canary = canaries()["refresh token"]
    try:
        raise ValueError(f"cannot use {canary}")
    except ValueError as error:
        log.failure("unexpected", error)

    line = json.loads(capsys.readouterr().out)
    assert line["severity"] == "ERROR"
    assert line["error"] == "ValueError"
    assert "test_log.py" in line["stack"]
    assert canary not in json.dumps(line)


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\u2028\u0085", "\ud800", "\x00\x1b[31m", "x" * 100_000])
def test_one_event_is_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A name with a line break must not be able to write a line of its own."""
    log.event("named", name=text)

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["name"] == text


def test_bound_fields_are_on_every_line_until_they_are_unbound(capsys: pytest.CaptureFixture[str]) -> None:
    """All lines of one message can be found by its id, and none of the next one."""
    log.bind(job_id="j")
    log.bind(index=3, nothing=None)
    log.event("one", index=4)
    log.unbind()
    log.event("two")

    one, two = map(json.loads, capsys.readouterr().out.splitlines())
    labels = {"logging.googleapis.com/labels": {"job_id": "j"}}
    assert one == {"severity": "INFO", "message": "one", "job_id": "j", "index": 4, **labels}
    assert two == {"severity": "INFO", "message": "two"}


def test_what_a_line_is_about_is_a_label_too(capsys: pytest.CaptureFixture[str]) -> None:
    """One filter on a file finds its lines in every service; a label is text, and other fields are none."""
    log.bind(function="ai_processor", user_id="u", file_id="f", job_id="j", lane="ocr", attempt=2, index=7)

    log.event("done", seconds=0.5)

    line = json.loads(capsys.readouterr().out)
    labels = {"function": "ai_processor", "user_id": "u", "file_id": "f", "job_id": "j", "lane": "ocr"}
    assert line["logging.googleapis.com/labels"] == labels
    assert {"attempt": 2, "index": 7, "seconds": 0.5, **labels}.items() <= line.items()


def test_libraries_speak_through_the_same_door(capsys: pytest.CaptureFixture[str]) -> None:
    """Their warnings are JSON too; their chatter, which may hold addresses with tokens, is not written."""
    log.configure()
    log.configure()

    logging.getLogger("urllib3").debug("GET /?token=ya29.secretsecret")
    logging.getLogger("urllib3").info("GET /?token=ya29.secretsecret")
    logging.getLogger("urllib3").warning("Retrying with %s", "ya29.secretsecret")

    line = json.loads(capsys.readouterr().out)
    assert line == {"severity": "WARNING", "message": "Retrying with [redacted]", "logger": "urllib3"}
