"""The local Google's keys: what signs id tokens and push tokens, and a throw-away service account."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

UNIVERSE = "drivestream.test"
SERVICE_ACCOUNT = "drivestream@local.iam.gserviceaccount.com"


class Keys:
    """Two RSA keys in the data directory, made on first use, readable by the owner only."""

    def __init__(self, data: Path, now: Callable[[], float]) -> None:
        self._now = now
        self._signing = _private_key(data / "google-signing-key.pem")
        self._service = _private_key(data / "service-account-key.pem")
        public = self._signing.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.kid = hashlib.sha256(public).hexdigest()[:40]
        self._certificate = _certificate(self._signing)
        self._signer = crypt.RSASigner(self._signing, self.kid)  # type: ignore[no-untyped-call]

    def sign(self, claims: Mapping[str, Any], issuer: str) -> str:
        """An RS256 JWT. `iss`, `iat` and `exp` (one hour) are filled in where the claims do not say."""
        now = int(self._now())
        token: bytes = jwt.encode(  # type: ignore[no-untyped-call]
            self._signer, {"iss": issuer, "iat": now, "exp": now + 3600, **claims}
        )
        return token.decode()

    def certificates(self) -> dict[str, str]:
        """X.509 certificates in PEM by key id, as Google's `/oauth2/v1/certs` lists them."""
        return {self.kid: self._certificate}

    def service_account(self, token_uri: str) -> dict[str, str]:
        """What a service account's key file says."""
        return {
            "type": "service_account",
            "project_id": "local",
            "private_key_id": self.kid[:20],
            "private_key": _pem(self._service).decode(),
            "client_email": SERVICE_ACCOUNT,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
            # Another universe than Google's: otherwise google-auth asks Google where this account may be used.
            "universe_domain": UNIVERSE,
        }

    def service_claims(self, assertion: str, token_uri: str) -> dict[str, Any]:
        """The claims of a JWT that the service account signed. Raises ValueError when it did not, or too long ago."""
        # google-auth names Google's own endpoint as the audience, whatever the key file's token_uri says.
        audiences = [token_uri, "https://oauth2.googleapis.com/token"]
        public = self._service.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
            assertion, certs=public, audience=audiences, clock_skew_in_seconds=60
        )
        return dict(claims)


def write_private(path: Path, text: bytes) -> None:
    """Replace a file by one that only its owner may read; a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
    draft.replace(path)


def service_account_file(path: Path, keys: Keys, token_uri: str) -> Path:
    """Write the key file that makes `google.auth.default()` work without Google."""
    write_private(path, json.dumps(keys.service_account(token_uri), indent=2).encode())
    return path


def _private_key(path: Path) -> rsa.RSAPrivateKey:
    if not path.exists():
        write_private(path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    # Checking the primes takes 0.1 s, and the file is our own.
    key = serialization.load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} does not hold an RSA key; delete it and start again")
    return key


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local.google")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
