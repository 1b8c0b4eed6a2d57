"""Tokens are asked for, renewed, checked and ended as OAuth says, against a real token endpoint on a socket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from shared.adapters import oauth
from shared.config import Settings
from shared.domain.errors import BadRequest, ReconnectNeeded, Unavailable
from tests.contract.fake_http import Line, Request, Respond, Server, scripted


class Key(NamedTuple):
    """A signing key and its public half."""

    id: str
    signer: Any
    public: str


def new_key(key_id: str) -> Key:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signer = crypt.RSASigner.from_string(pem.decode(), key_id)  # type: ignore[no-untyped-call]
    return Key(key_id, signer, public.decode())


KEY, OTHER = new_key("k1"), new_key("k2")


def settings_for(url: str, **more: Any) -> Settings:
    values = {
        "oauth_client_id": "client-1",
        "connect_url": "https://connect.example",
        "oauth_token_url": f"{url}/token",
        "oauth_revoke_url": f"{url}/revoke",
        "oauth_certs_url": f"{url}/certs",
        "oauth_issuer": url,
        "push_audience": "https://functions.example",
        "push_service_account": "push@project.iam.gserviceaccount.com",
        "push_certs_url": f"{url}/certs",
        "push_issuer": url,
        "retry_base_seconds": 0.002,
    }
    return Settings(google_cloud_project="test", **{**values, **more})


def form_of(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def refused(error: str, status: int = 400) -> Respond:
    return lambda request, line: line.json({"error": error, "error_description": "secret details"}, status)


def signed(key: Key = KEY, key_id: str | None = None, **claims: Any) -> str:
    now = int(time.time())
    payload = {"iss": "https://accounts.google.com", "aud": "client-1", "sub": "7", "iat": now, "exp": now + 3600}
    token: bytes = jwt.encode(key.signer, {**payload, **claims}, key_id=key_id)  # type: ignore[no-untyped-call]
    return token.decode()


@pytest.fixture
def certs() -> Iterator[tuple[Server, dict[str, str]]]:
    keys = {KEY.id: KEY.public}

    def respond(request: Request, line: Line) -> None:
        line.json(keys, Cache_Control="public, max-age=3600")

    with Server(respond) as server:
        yield server, keys


def test_the_consent_page_is_asked_for_all_that_a_safe_flow_needs() -> None:
    """PKCE, state, nonce and a refresh token every time."""
    settings = settings_for("http://token.example")
    url = urlsplit(oauth.authorize_url(settings, "st", "no", oauth.challenge_of("v" * 43), "you@example.com"))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}

    assert url.netloc == "accounts.google.com"
    assert query["redirect_uri"] == "https://connect.example/callback"
    assert (query["access_type"], query["prompt"], query["response_type"]) == ("offline", "consent", "code")
    assert (query["state"], query["nonce"], query["login_hint"]) == ("st", "no", "you@example.com")
    assert query["code_challenge_method"] == "S256"
    assert "client_secret" not in query
    assert set(query["scope"].split()) == set(oauth.SCOPES)


def test_the_challenge_is_that_of_rfc_7636() -> None:
    """The example of the RFC's appendix B."""
    assert oauth.challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_a_code_becomes_tokens() -> None:
    """The one moment in which a refresh token is given."""
    answer = {
        "access_token": "at",
        "expires_in": 3599,
        "refresh_token": "rt",
        "scope": "openid https://www.googleapis.com/auth/userinfo.email",
        "id_token": "idt",
        "token_type": "Bearer",
    }
    with Server(lambda r, line: line.json(answer)) as server:
        grant = oauth.exchange_code(settings_for(server.url), "s3cret", "c0de", "verifier")

        assert (grant.access_token, grant.refresh_token, grant.expires_in, grant.id_token) == ("at", "rt", 3599, "idt")
        assert form_of(server.requests[0]) == {
            "grant_type": "authorization_code",
            "code": "c0de",
            "code_verifier": "verifier",
            "redirect_uri": "https://connect.example/callback",
            "client_id": "client-1",
            "client_secret": "s3cret",
        }
        assert "at" not in repr(grant).replace("Grant", "")


def test_a_grant_that_google_limits_says_how_long_it_lasts() -> None:
    """Only such a grant says so; all others last until somebody ends them."""
    for said, meant in ((604_799, 604_799), (None, None)):
        answer = {"access_token": "at", "expires_in": 3599, "refresh_token_expires_in": said}
        with Server(lambda r, line, answer=answer: line.json(answer)) as server:  # type: ignore[misc]
            grant = oauth.refresh(settings_for(server.url), "s3cret", "rt")

        assert grant.refresh_expires_in == meant


def test_an_unticked_drive_is_seen() -> None:
    """A person may allow everything but Drive; a missing name is no reason to turn them away."""
    assert oauth.missing_scopes({"openid", "https://www.googleapis.com/auth/userinfo.email"}) == {oauth.DRIVE_READONLY}
    assert oauth.missing_scopes({"openid", oauth.DRIVE_READONLY}) == frozenset()
    assert oauth.missing_scopes({"openid", "https://www.googleapis.com/auth/drive"}) == frozenset()
    assert oauth.missing_scopes({"https://www.googleapis.com/auth/drive.file"}) == {"openid", oauth.DRIVE_READONLY}
    assert oauth.missing_scopes(oauth.SCOPES) == frozenset()


def test_a_used_code_means_to_start_again() -> None:
    """It is the person's next step, not a lost connection."""
    with Server(refused("invalid_grant")) as server, pytest.raises(BadRequest):
        oauth.exchange_code(settings_for(server.url), "s", "c", "v")


def test_a_refresh_keeps_the_old_refresh_token_unless_a_new_one_comes() -> None:
    """Google sends none on renewal; None must not overwrite the stored one."""
    with Server(lambda r, line: line.json({"access_token": "at2"})) as server:
        grant = oauth.refresh(settings_for(server.url), "s", "rt")
        assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("at2", None, 3600)
        assert form_of(server.requests[0])["refresh_token"] == "rt"
    with Server(lambda r, line: line.json({"access_token": "at2", "refresh_token": "rt2"})) as server:
        assert oauth.refresh(settings_for(server.url), "s", "rt").refresh_token == "rt2"


@pytest.mark.parametrize(
    ("error", "status", "meaning"),
    [
        ("invalid_grant", 400, ReconnectNeeded),
        ("admin_policy_enforced", 400, ReconnectNeeded),
        ("access_denied", 403, ReconnectNeeded),
        ("invalid_rapt", 400, ReconnectNeeded),
        ("invalid_client", 401, oauth.OAuthMisconfigured),
        ("unauthorized_client", 401, oauth.OAuthMisconfigured),
        ("redirect_uri_mismatch", 400, oauth.OAuthMisconfigured),
        ("something_new", 400, oauth.OAuthMisconfigured),
        ("internal_failure", 400, Unavailable),
        ("temporarily_unavailable", 400, Unavailable),
        ("", 429, Unavailable),
        ("", 503, Unavailable),
    ],
)
def test_every_refusal_of_a_refresh_has_its_meaning(error: str, status: int, meaning: type[Exception]) -> None:
    """A passing fault taken for a lost grant would ask the person to connect again for nothing."""
    with Server(refused(error, status)) as server:
        with pytest.raises(meaning) as raised:
            oauth.refresh(settings_for(server.url), "s3cret-of-ours", "rt-of-theirs")

        assert type(raised.value) is meaning
        assert "secret" not in str(raised.value).replace("id, secret and", "")
        assert "rt-of-theirs" not in str(raised.value)
        assert len(server.requests) == (3 if meaning is Unavailable else 1)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"access_token": 5}'])
def test_an_answer_that_is_none_is_no_grant(answer: bytes) -> None:
    """A captive portal says 200 too."""
    with Server(lambda r, line: line.answer(200, answer)) as server, pytest.raises(Unavailable):
        oauth.refresh(settings_for(server.url), "s", "rt")


def test_a_broken_line_is_tried_again() -> None:
    """A renewal changes nothing that a second one would spoil."""
    good = json.dumps({"access_token": "at"}).encode()
    with Server(scripted(good, lambda r, line: line.hang_up())) as server:
        assert oauth.refresh(settings_for(server.url), "s", "rt").access_token == "at"
    with Server(scripted(good, lambda r, line: line.hang_up())) as server:
        with pytest.raises(Unavailable):
            oauth.exchange_code(settings_for(server.url), "s", "c", "v")
        assert len(server.requests) == 1


def test_a_redirecting_token_endpoint_gets_nothing_twice() -> None:
    """The client secret goes to the configured address only."""
    with (
        Server(lambda r, line: line.json({"access_token": "x"})) as canary,
        Server(lambda r, line: line.answer(307, Location=canary.url)) as server,
    ):
        with pytest.raises(oauth.OAuthMisconfigured):
            oauth.refresh(settings_for(server.url), "s", "rt")
        assert canary.connections == 0


def test_revoking_twice_is_revoking() -> None:
    """Whoever disconnects twice, or disconnected at Google already, is disconnected."""
    with Server(lambda r, line: line.answer(200)) as server:
        oauth.revoke(settings_for(server.url), "tok")
        assert form_of(server.requests[0]) == {"token": "tok"}
    with Server(refused("invalid_token")) as server:
        oauth.revoke(settings_for(server.url), "tok")
    with Server(refused("", 503)) as server, pytest.raises(Unavailable):
        oauth.revoke(settings_for(server.url), "tok")


def test_a_good_id_token_says_who_it_is(certs: tuple[Server, dict[str, str]]) -> None:
    """And Google's keys are fetched once, not for every message."""
    server, _ = certs
    settings = settings_for(server.url)
    assert oauth.verify_id_token(settings, signed(nonce="n"), "client-1", "n")["sub"] == "7"
    assert oauth.verify_id_token(settings, signed(iss=server.url), "client-1")["sub"] == "7"
    assert len(server.requests) == 1


NOW = int(time.time())


@pytest.mark.parametrize(
    "token",
    [
        signed(aud="someone-else"),
        signed(iss="https://evil.example"),
        signed(exp=NOW - 3600, iat=NOW - 7200),
        signed(iat=NOW + 3600, exp=NOW + 7200),
        signed(nonce="other"),
        signed(OTHER),
        signed(OTHER, KEY.id),
        signed()[:-4] + "AAAA",
        "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.eyJzdWIiOiI3In0.",
        "not-a-token",
        "a.b.c",
        "",
        "ä.ö.ü",
    ],
)
def test_a_bad_id_token_is_refused(certs: tuple[Server, dict[str, str]], token: str) -> None:
    """Audience, issuer, time, nonce, key and signature: each of them alone decides."""
    server, _ = certs
    with pytest.raises(BadRequest) as raised:
        oauth.verify_id_token(settings_for(server.url), token, "client-1", "n")
    assert raised.value.status == 403


def test_a_new_signing_key_is_looked_up(certs: tuple[Server, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Google changes its keys without asking; a flood of forged key ids must not become a flood of requests."""
    server, keys = certs
    settings = settings_for(server.url)
    oauth.verify_id_token(settings, signed(), "client-1")
    keys[OTHER.id] = OTHER.public
    for _ in range(5):
        with pytest.raises(BadRequest):
            oauth.verify_id_token(settings, signed(OTHER), "client-1")
    assert len(server.requests) == 1

    monkeypatch.setattr(oauth, "_CERTS_AGAIN", 0.0)
    for key in (OTHER, KEY, OTHER):
        assert oauth.verify_id_token(settings, signed(key), "client-1")["sub"] == "7"
    assert len(server.requests) == 2


def test_without_keys_nobody_is_refused_for_good() -> None:
    """A key server that is down says nothing about the caller."""
    with Server(refused("", 503)) as server, pytest.raises(Unavailable):
        oauth.verify_id_token(settings_for(server.url), signed(), "client-1")


def test_only_our_own_pusher_may_push(certs: tuple[Server, dict[str, str]]) -> None:
    """The functions' door for messages is on the internet."""
    server, _ = certs
    settings = settings_for(server.url)
    ours: dict[str, Any] = {
        "aud": "https://functions.example",
        "email": "push@project.iam.gserviceaccount.com",
        "email_verified": True,
    }

    oauth.verify_push_token(settings, "Bearer " + signed(**ours))
    for wrong in (
        {"email": "x@evil.example"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"aud": "client-1"},
    ):
        with pytest.raises(BadRequest) as raised:
            oauth.verify_push_token(settings, signed(**{**ours, **wrong}))
        assert raised.value.status == 403
    for unset in ("push_audience", "push_service_account"):
        with pytest.raises(oauth.OAuthMisconfigured):
            oauth.verify_push_token(settings_for(server.url, **{unset: ""}), signed(**ours))


def test_who_signs_for_people_does_not_sign_for_pushes_nor_the_other_way_round() -> None:
    """Beside the real Google, a broker on one's own machine signs what it pushes; it must not say who a person is."""

    def respond(request: Request, line: Line) -> None:
        line.json({OTHER.id: OTHER.public} if request.target == "/push-certs" else {KEY.id: KEY.public})

    with Server(respond) as server:
        settings = settings_for(server.url, push_certs_url=f"{server.url}/push-certs", push_issuer="http://broker")
        ours: dict[str, Any] = {
            "iss": "http://broker",
            "aud": settings.push_audience,
            "email": settings.push_service_account,
            "email_verified": True,
        }

        oauth.verify_push_token(settings, signed(OTHER, **ours))
        assert oauth.verify_id_token(settings, signed(iss=server.url), "client-1")["sub"] == "7"
        with pytest.raises(BadRequest):
            oauth.verify_push_token(settings, signed(**ours))
        for claims in ({}, {"iss": "http://broker"}):
            with pytest.raises(BadRequest):
                oauth.verify_id_token(settings, signed(OTHER, **claims), "client-1")
        with pytest.raises(BadRequest):
            oauth.verify_id_token(settings, signed(iss="http://broker"), "client-1")


def test_what_a_person_reads_when_they_said_no() -> None:
    """An error in the address bar becomes a sentence, never an echo."""
    assert "did not allow" in oauth.consent_refused("access_denied").reason
    assert "<script>" not in oauth.consent_refused("<script>").reason
