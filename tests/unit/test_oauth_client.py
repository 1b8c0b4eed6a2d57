"""The file of an OAuth client: both of its shapes are taken, and every other file is refused in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.local.oauth_client import EXAMPLE, ClientFileError, OAuthClient, read_client
from infra.local.options import options_of
from infra.local.stack import real_google

SECRET = "GOCSPX-nobody-may-read-this"
# As the console has them, word for word but for the names.
AT_GOOGLE = {
    "client_id": "1234-abcd.apps.googleusercontent.com",
    "project_id": "my-project",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "token_uri": "https://oauth2.googleapis.com/token",
    "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
    "client_secret": SECRET,
}
INSTALLED = {"installed": {**AT_GOOGLE, "redirect_uris": ["http://localhost"]}}
DASHBOARD = 8080


def web(*redirect_uris: str, **more: Any) -> dict[str, Any]:
    """A web client's file."""
    return {"web": {**AT_GOOGLE, "redirect_uris": list(redirect_uris or [EXAMPLE]), **more}}


def written(place: Path, content: object) -> Path:
    """The file on disk."""
    path = place / "client_secret.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def client(place: Path, content: object) -> OAuthClient:
    """The client in a file of this content."""
    return read_client(written(place, content), taken=DASHBOARD)


# What is taken ------------------------------------------------------------------------------------------------------


def test_a_desktop_client_has_people_sent_back_to_any_port(tmp_path: Path) -> None:
    """RFC 8252, 7.3: the port of a desktop app is chosen when it starts."""
    found = client(tmp_path, INSTALLED)

    assert (found.id, found.secret) == (AT_GOOGLE["client_id"], SECRET)
    assert (found.door, found.port, found.addresses) == ("", 0, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_web_client_has_people_sent_back_where_it_is_registered(tmp_path: Path, host: str) -> None:
    """Google compares the whole address, letter by letter."""
    found = client(tmp_path, web("https://app.example/callback", f"http://{host}:9123/callback"))

    assert (found.door, found.port) == (f"http://{host}:9123", 9123)


def test_of_two_registered_ports_the_dashboard_keeps_its_own(tmp_path: Path) -> None:
    """One client serves whoever has the dashboard on 8080 and whoever has it elsewhere."""
    found = client(tmp_path, web(f"http://127.0.0.1:{DASHBOARD}/callback", "http://127.0.0.1:9123/callback"))

    assert found.port == 9123


def test_google_is_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names an older page of consent; nothing is left that points at a stand-in, or at a webhook."""
    for name in ("DRIVE_ENDPOINT", "OAUTH_AUTHORIZE_URL", "OAUTH_TOKEN_URL", "OAUTH_REVOKE_URL", "OAUTH_CERTS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OAUTH_ISSUER", "https://issuer.example")

    environment = real_google(client(tmp_path, INSTALLED))

    assert environment["DRIVE_ENDPOINT"] == "https://www.googleapis.com"
    assert environment["OAUTH_AUTHORIZE_URL"] == "https://accounts.google.com/o/oauth2/v2/auth"
    assert environment["OAUTH_TOKEN_URL"] == "https://oauth2.googleapis.com/token"
    assert environment["OAUTH_REVOKE_URL"] == "https://oauth2.googleapis.com/revoke"
    assert environment["OAUTH_CERTS_URL"] == "https://www.googleapis.com/oauth2/v1/certs"
    assert environment["OAUTH_ISSUER"] == "https://issuer.example"
    assert environment["OAUTH_CLIENT_ID"] == AT_GOOGLE["client_id"]
    assert environment["WEBHOOK_URL"] == ""
    assert "CONNECT_URL" not in environment
    assert SECRET not in str(environment)


def test_addresses_on_this_machine_stand_for_googles(tmp_path: Path) -> None:
    """So the whole way can be walked against a Google of one's own."""
    here = {
        "auth_uri": "http://127.0.0.1:9000/o/oauth2/v2/auth",
        "token_uri": "http://localhost:9000/token",
        "auth_provider_x509_cert_url": "http://[::1]:9000/certs",
    }

    environment = real_google(client(tmp_path, web(**here)))

    for setting, name in (("AUTHORIZE", "auth_uri"), ("TOKEN", "token_uri"), ("CERTS", "auth_provider_x509_cert_url")):
        assert environment[f"OAUTH_{setting}_URL"] == here[name]
    assert environment["CONNECT_URL"] + "/callback" == EXAMPLE


def test_the_secret_is_not_shown_with_the_client(tmp_path: Path) -> None:
    """A traceback or a debug line prints its objects."""
    assert SECRET not in repr(client(tmp_path, INSTALLED))


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Desktop app"),
        (f'{{"installed": {{"client_secret": "{SECRET}"', "not the file of an OAuth client"),
        ("[" * 50_000, "not the file of an OAuth client"),
        ("\ufffe", "not the file of an OAuth client"),
        ([INSTALLED], "not the file of an OAuth client"),
        ({"installed": SECRET}, "not the file of an OAuth client"),
        ({"type": "service_account", "private_key": SECRET}, "the key of a service account"),
        ({"type": "authorized_user", "client_secret": SECRET}, "the credentials of a person"),
        ({"installed": {"client_secret": SECRET}}, "lacks a client_id"),
        ({"installed": {**AT_GOOGLE, "client_id": "x\nDRIVE_ENDPOINT=http://evil.example"}}, "lacks a client_id"),
        ({"installed": {**AT_GOOGLE, "client_secret": ""}}, "lacks the client_secret"),
        ({"web": AT_GOOGLE}, re.escape(EXAMPLE)),
        (web("https://app.example/callback"), "no redirect URI on this machine"),
        (web("http://127.0.0.1/callback"), "no redirect URI on this machine"),
        (web("http://127.0.0.1:8090"), "no redirect URI on this machine"),
        (web("http://127.0.0.1:8090/callback/"), "no redirect URI on this machine"),
        (web("http://127.0.0.1:70000/callback"), "no redirect URI on this machine"),
        (web("http://127.0.0.1:8090/callback\n"), "no redirect URI on this machine"),
        (web(f"http://127.0.0.1:{DASHBOARD}/callback"), f"port {DASHBOARD}.*--port"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_any_other_file_is_refused_in_a_sentence_that_says_what_to_do(
    tmp_path: Path, content: object, words: str
) -> None:
    """The console offers many files; whoever took the wrong one needs the right one's name, and no secret on screen."""
    with pytest.raises(ClientFileError, match=words) as raised:
        client(tmp_path, content)

    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert len(str(raised.value)) - len(str(tmp_path)) < 250


@pytest.mark.parametrize("name", ["auth_uri", "token_uri", "auth_provider_x509_cert_url"])
@pytest.mark.parametrize("address", [
    "https://evil.example/token", "http://oauth2.googleapis.com/token", "https://oauth2.googleapis.com.evil.example/",
    "https://oauth2.googleapis.com@evil.example/", "https://oauth2.googleapis.com:444/token", "https://googleapis.com/",
    "http://127.0.0.1@evil.example/", "http://127.0.0.1:80@evil.example/", "http://127.0.0.1.evil.example/",
    "http://evil.example\\@127.0.0.1/", "https://127.0.0.1/token", "http://127.0.0.1:9000/token\nX=1", "token", "", 7,
])  # fmt: skip
def test_secrets_go_to_google_or_to_this_machine_and_nowhere_else(tmp_path: Path, name: str, address: object) -> None:
    """A file from somebody else must not have a person's grant sent to somebody else."""
    with pytest.raises(ClientFileError, match=f"the {name} in .* is neither Google's nor on this machine"):
        client(tmp_path, {"installed": {**AT_GOOGLE, name: address}})


# On the command line ------------------------------------------------------------------------------------------------


def test_with_google_changes_are_polled_and_the_data_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Grants of the real Google and those of stand-ins are never kept together."""
    options = options_of(["--google", str(written(tmp_path, INSTALLED))])

    assert (options.sweep_seconds, options.data.name) == (5.0, "data-google")
    assert options.google is not None
    assert options_of([]).google is None
    assert options_of([]).data.name == "data"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--yes"], "--yes"),
        (["--folder", "/"], "--folder"),
        (["--drive", "http://127.0.0.1:9", "--token", "t"], "--drive"),
        (["--sweep", "0"], "--sweep"),
        (["--port", "8090"], "8090"),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_does_not_go_with_the_real_google_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    """Before anything is started."""
    with pytest.raises(SystemExit) as ended:
        options_of(["--google", str(written(tmp_path, web())), *more])

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in said
    assert said.count("\n") == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A download is in another folder more often than not."""
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(SystemExit):
            options_of(["--google", str(path)])

        assert f"{path} cannot be read" in capsys.readouterr().err
