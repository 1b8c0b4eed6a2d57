"""The local Google's sign-in, spoken to by google-auth and by a browser's requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import google.auth
import pytest
import requests
from google.auth import crypt, exceptions, jwt
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from google.oauth2.credentials import Credentials

from infra.local.google import GoogleServer

BACK = "http://127.0.0.1:1/callback"
DRIVE = "https://www.googleapis.com/auth/drive.readonly"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., GoogleServer]]:
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive/a.txt").write_text("a")
    servers = []

    def start(port: int = 0, **options: Any) -> GoogleServer:
        server = GoogleServer(
            tmp_path / "drive",
            tmp_path / "data",
            client_secret="hush",
            redirect_uris=[BACK],
            scan_seconds=60,
            **options,
        )
        servers.append(server)
        server.start(port)
        return server

    yield start
    for server in servers:
        server.stop()


def ask(server: GoogleServer, **more: str | None) -> requests.Response:
    """What the browser does when it is sent to Google."""
    query = {
        "client_id": "local-client", "redirect_uri": BACK, "response_type": "code", "scope": f"openid email {DRIVE}",
        "state": "st", "nonce": "n1", "access_type": "offline", "prompt": "consent", "code_challenge": CHALLENGE,
        "code_challenge_method": "S256", **more,
    }  # fmt: skip
    said = {name: value for name, value in query.items() if value is not None}
    url = f"{server.settings()['OAUTH_AUTHORIZE_URL']}?{urlencode(said)}"
    return requests.get(url, allow_redirects=False, timeout=10)


def decide(server: GoogleServer, page: requests.Response, **form: str) -> requests.Response:
    """What the browser sends when a button is pressed."""
    ticket = re.search(r'name="ticket" value="([^"]+)"', page.text)
    assert ticket
    action = re.search(r'action="([^"]+)"', page.text)
    assert action
    return requests.post(server.url + action[1], data={"ticket": ticket[1], **form}, allow_redirects=False, timeout=10)


def sent_back(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(BACK + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def exchange(server: GoogleServer, code: str, **more: str) -> requests.Response:
    form = {
        "grant_type": "authorization_code", "code": code, "client_id": "local-client", "client_secret": "hush",
        "redirect_uri": BACK, "code_verifier": VERIFIER, **more,
    }  # fmt: skip
    return requests.post(server.settings()["OAUTH_TOKEN_URL"], data=form, timeout=10)


def refresh(server: GoogleServer, token: str) -> str:
    """A fresh access token, by google-auth."""
    credentials = Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token=token, token_uri=server.settings()["OAUTH_TOKEN_URL"], client_id="local-client",
        client_secret="hush",
    )  # fmt: skip
    credentials.refresh(Request())  # type: ignore[no-untyped-call]
    return str(credentials.token)


def read(token: str, **options: Any) -> dict[str, Any]:
    """The claims of a JWT."""
    return dict(jwt.decode(token, **options))  # type: ignore[no-untyped-call]


def drive_status(server: GoogleServer, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}"}
    return requests.get(server.url + "/drive/v3/files", headers=headers, timeout=10).status_code


def test_a_person_consents_and_the_app_gets_tokens_that_google_auth_accepts(serve: Callable[..., GoogleServer]) -> None:
    """The whole connect flow: page, code, tokens, a verified id token, and Drive opens."""
    server = serve()
    page = ask(server)
    assert page.status_code == 200
    back = sent_back(decide(server, page, person="guest@example.com", decision="allow", **{f"scope:{DRIVE}": "on"}))
    assert back["state"] == "st"

    answer = exchange(server, back["code"])
    tokens = answer.json()
    claims = id_token.verify_token(
        tokens["id_token"], Request(), audience="local-client", certs_url=server.settings()["OAUTH_CERTS_URL"]
    )

    assert set(tokens["scope"].split()) == {"openid", EMAIL, DRIVE}
    assert tokens["expires_in"] == 3600
    assert answer.headers["Cache-Control"] == "no-store"
    assert claims["iss"] == server.settings()["OAUTH_ISSUER"]
    assert (claims["email"], claims["email_verified"], claims["nonce"]) == ("guest@example.com", True, "n1")
    assert re.fullmatch(r"\d{21}", claims["sub"])
    assert drive_status(server, tokens["access_token"]) == 200
    assert drive_status(server, refresh(server, tokens["refresh_token"])) == 200
    who = requests.get(
        server.url + "/v1/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}, timeout=10
    ).json()
    assert (who["sub"], who["email"]) == (claims["sub"], "guest@example.com")


def test_the_consent_page_needs_no_script_and_asks_nobody_else(serve: Callable[..., GoogleServer]) -> None:
    """It works with a keyboard, on a phone and without a network, and no other site can frame or change it."""
    page = ask(serve(), login_hint="guest@example.com", state='"><script>x</script>')
    policy = page.headers["Content-Security-Policy"]

    assert "<script" not in page.text
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:*;" in policy
    assert not re.search(r"(src|href)=", page.text)
    assert 'name="viewport"' in page.text
    assert page.text.count('type="radio"') == 2
    assert re.search(r'value="guest@example.com" checked', page.text)
    assert "See and download all your Google Drive files" in page.text
    assert "See your e-mail address" in page.text
    assert page.text.count("<label>") == page.text.count('<input type="radio"') + page.text.count('type="checkbox"')


def test_a_person_may_say_no_or_leave_drive_out(serve: Callable[..., GoogleServer]) -> None:
    """Cancel is access_denied; an unticked box is a scope that is missing from the answer."""
    server = serve()

    refused = sent_back(decide(server, ask(server), person="you@example.com", decision="cancel"))
    partly = sent_back(decide(server, ask(server), person="you@example.com", decision="allow"))
    tokens = exchange(server, partly["code"]).json()

    assert refused == {"error": "access_denied", "state": "st"}
    assert set(tokens["scope"].split()) == {"openid", EMAIL}
    assert drive_status(server, tokens["access_token"]) == 403


def test_a_consent_page_works_once(serve: Callable[..., GoogleServer]) -> None:
    """A form that is sent twice, or made up, grants nothing."""
    server = serve()
    page = ask(server)
    form = {"person": "you@example.com", "decision": "allow"}

    assert decide(server, page, **form).status_code == 302
    assert decide(server, page, **form).status_code == 400
    made_up = requests.post(server.url + "/o/oauth2/v2/consent", data={"ticket": "x", **form}, timeout=10)
    assert made_up.status_code == 400


@pytest.mark.parametrize(
    ("more", "status"),
    [({"client_id": "other"}, 401), ({"redirect_uri": BACK + "/"}, 400), ({"redirect_uri": "http://evil.test"}, 400)],
)  # fmt: skip
def test_an_unknown_app_or_address_is_never_redirected_to(
    serve: Callable[..., GoogleServer], more: dict[str, str], status: int
) -> None:
    """A redirect to an address that nobody registered would hand the code to a stranger."""
    answer = ask(serve(approve=True), **more)

    assert answer.status_code == status
    assert "Location" not in answer.headers


def test_other_faults_of_a_request_go_back_to_the_app(serve: Callable[..., GoogleServer]) -> None:
    """The app hears what was wrong, with its state."""
    server = serve(approve=True)

    assert sent_back(ask(server, response_type="token"))["error"] == "unsupported_response_type"
    assert sent_back(ask(server, scope=None))["error"] == "invalid_scope"
    assert sent_back(ask(server, code_challenge_method="plain"))["error"] == "invalid_request"
    assert sent_back(ask(server, code_challenge_method="plain"))["state"] == "st"


def test_a_code_is_worth_something_once_and_only_to_the_app_that_asked(serve: Callable[..., GoogleServer]) -> None:
    """A stolen code without its verifier, secret or address is useless; a second use takes everything back."""
    server = serve(approve=True)

    def code() -> str:
        return sent_back(ask(server))["code"]

    assert exchange(server, code(), code_verifier="w" * 64).json()["error"] == "invalid_grant"
    assert exchange(server, code(), code_verifier="").json()["error"] == "invalid_grant"
    assert exchange(server, code(), redirect_uri=BACK + "/").json()["error"] == "redirect_uri_mismatch"
    wrong = exchange(server, code(), client_secret="guess")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert exchange(server, "4/made-up").json()["error"] == "invalid_grant"
    late = code()
    server.faults.clock_offset = 601
    assert exchange(server, late).json()["error"] == "invalid_grant"
    twice = code()
    tokens = exchange(server, twice).json()
    assert drive_status(server, tokens["access_token"]) == 200
    again = exchange(server, twice)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert drive_status(server, tokens["access_token"]) == 401
    with pytest.raises(exceptions.RefreshError):
        refresh(server, tokens["refresh_token"])


def test_approval_without_a_page_takes_the_hinted_person_or_the_first(serve: Callable[..., GoogleServer]) -> None:
    """`--yes` connects without a browser."""
    server = serve(approve=True)

    def who(**more: str) -> Any:
        token = exchange(server, sent_back(ask(server, **more))["code"]).json()["id_token"]
        return read(token, verify=False)["email"]

    assert who() == "you@example.com"
    assert who(login_hint="guest@example.com") == "guest@example.com"


def test_a_refresh_token_comes_with_the_first_consent_only(serve: Callable[..., GoogleServer]) -> None:
    """An app that does not ask for consent again gets none the second time, as at Google."""
    server = serve(approve=True)

    def tokens(**more: str | None) -> Any:
        return exchange(server, sent_back(ask(server, **more))["code"]).json()

    assert "refresh_token" in tokens(prompt=None)
    assert "refresh_token" not in tokens(prompt=None)
    assert "refresh_token" in tokens()
    assert "refresh_token" not in tokens(access_type=None)


def test_only_the_newest_hundred_refresh_tokens_live(serve: Callable[..., GoogleServer]) -> None:
    """Google drops the oldest one silently; the app learns of it by invalid_grant."""
    server = serve()
    first, second = (server.grant("you@example.com")["refresh_token"] for _ in range(2))

    for _ in range(99):
        server.grant("you@example.com")

    with pytest.raises(exceptions.RefreshError) as error:
        refresh(server, first)
    assert error.value.args[1]["error"] == "invalid_grant"
    assert refresh(server, second)


def test_revoking_ends_the_tokens_that_belong_together(serve: Callable[..., GoogleServer]) -> None:
    """Disconnecting must leave nothing usable behind, whichever token is revoked."""
    server = serve()
    url = server.settings()["OAUTH_REVOKE_URL"]
    mine, other = server.grant("you@example.com"), server.grant("guest@example.com")
    newer = server.grant("you@example.com")

    assert requests.post(url, data={"token": mine["access_token"]}, timeout=10).status_code == 200
    assert drive_status(server, mine["access_token"]) == 401
    with pytest.raises(exceptions.RefreshError):
        refresh(server, mine["refresh_token"])
    with pytest.raises(exceptions.RefreshError):  # Google ends all that the account has granted to the app
        refresh(server, newer["refresh_token"])
    again = requests.post(url, data={"token": mine["refresh_token"]}, timeout=10)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_token")
    assert drive_status(server, other["access_token"]) == 200
    server.revoke("guest@example.com")
    assert drive_status(server, other["access_token"]) == 401


def test_access_tokens_end_and_refresh_tokens_outlive_a_restart(serve: Callable[..., GoogleServer]) -> None:
    """A token is worth an hour; a connection is worth years."""
    server = serve()
    tokens = server.grant("you@example.com")
    port = server.port
    signed = server.sign({"aud": "a", "email": "push@local"})
    server.stop()

    server = serve(port)
    assert drive_status(server, tokens["access_token"]) == 200
    certificates = requests.get(server.settings()["OAUTH_CERTS_URL"], timeout=10).json()
    assert read(signed, certs=certificates, audience="a")["email"] == "push@local"
    server.faults.clock_offset = 3_601
    assert drive_status(server, tokens["access_token"]) == 401
    fresh = refresh(server, tokens["refresh_token"])
    assert drive_status(server, fresh) == 200
    server.expire_access_tokens()
    assert drive_status(server, fresh) == 401


def test_the_database_of_tokens_holds_no_token(serve: Callable[..., GoogleServer], tmp_path: Path) -> None:
    """A copy of the data directory opens nobody's Drive."""
    server = serve(approve=True)
    code = sent_back(ask(server))["code"]
    tokens = exchange(server, code).json()
    server.stop()

    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())

    for secret in (code, tokens["access_token"], tokens["refresh_token"]):
        assert secret.encode() not in stored
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "data").iterdir()} == {0}


def assertion(info: dict[str, str], **claims: str) -> str:
    """What a service account's client signs to ask for a token."""
    now = int(time.time())
    signer = crypt.RSASigner.from_service_account_info(info)  # type: ignore[no-untyped-call]
    said = {"iss": info["client_email"], "aud": info["token_uri"], "iat": now, "exp": now + 3600, **claims}
    return str(jwt.encode(signer, said).decode())  # type: ignore[no-untyped-call]


def test_a_service_account_works_without_google(
    serve: Callable[..., GoogleServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`google.auth.default()` finds the throw-away account and needs nobody on the network."""
    server = serve()
    path = server.service_account_file()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())  # type: ignore[no-untyped-call]

    assert (project, bool(credentials.token)) == ("local", True)
    assert path.stat().st_mode & 0o077 == 0


def test_a_service_account_s_signature_is_exchanged_for_tokens(serve: Callable[..., GoogleServer]) -> None:
    """Access tokens and OIDC tokens come from the key file's token_uri; only the account's own signature counts."""
    server = serve()
    info = json.loads(server.service_account_file().read_text())

    def exchanged(signed: str) -> requests.Response:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
        return requests.post(info["token_uri"], data=form, timeout=10)

    access = exchanged(assertion(info, scope=DRIVE)).json()
    # google-auth names Google's own endpoint as the audience, whatever token_uri says.
    oidc = exchanged(assertion(info, target_audience="https://door", aud="https://oauth2.googleapis.com/token")).json()
    certificates = server.settings()["OAUTH_CERTS_URL"]
    claims = id_token.verify_token(oidc["id_token"], Request(), audience="https://door", certs_url=certificates)

    assert access["access_token"].startswith("ya29.")
    assert drive_status(server, access["access_token"]) == 401
    assert (claims["email"], claims["email_verified"]) == (info["client_email"], True)
    for wrong in ("x.y.z", "", assertion(info, iss="someone@else"), assertion(info, aud="https://elsewhere")):
        assert exchanged(wrong).json()["error"] == "invalid_grant"


def test_token_faults_can_be_injected(serve: Callable[..., GoogleServer]) -> None:
    """invalid_grant, a server error, and an answer that is lost after the work was done."""
    server = serve()
    token = server.grant("you@example.com")["refresh_token"]

    server.faults.fail("token", 400, "invalid_grant")
    with pytest.raises(exceptions.RefreshError) as error:
        refresh(server, token)
    assert error.value.args[1]["error"] == "invalid_grant"
    server.faults.fail("token", 503, "temporarily_unavailable")
    assert refresh(server, token)
    assert server.faults.calls["token"] == 3
