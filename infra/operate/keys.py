"""The secret that holds the keys of sealed tokens, as an operator changes it: one Fernet key a line, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import google_crc32c
from google.api_core.client_options import ClientOptions
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from infra.operate.command import Refused
from shared.adapters.google_clients import classified
from shared.adapters.secrets import SERVICE, Secrets
from shared.config import Settings


class KeyRing:
    """Versions of the secret. Old ones stay: whoever destroys one decides that no backup needs it."""

    def __init__(self, config: Settings) -> None:
        self._secret, _, version = config.token_keys_secret.partition("/versions/")
        if version != "latest":
            raise Refused(
                f"The functions read {config.token_keys_secret}, so a new version would be seen by nobody: have them "
                "read versions/latest first."
            )
        self._seconds = config.http_timeout_seconds
        self._secrets = Secrets(config)
        self._client = SecretManagerServiceClient(
            transport="rest", client_options=ClientOptions(api_endpoint=config.secretmanager_endpoint)
        )

    def keys(self) -> list[bytes]:
        """The keys of the newest version, the one that seals first."""
        return [line.strip() for line in self._secrets.get(self._latest, fresh=True).splitlines() if line.strip()]

    def made_at(self) -> datetime:
        """When the newest version was added."""
        return self._secrets.made_at(self._latest)

    def add(self, keys: Sequence[bytes]) -> str:
        """Add a version with these keys; its name."""
        data = b"\n".join(keys)
        payload = {"data": data, "data_crc32c": google_crc32c.value(data)}
        with classified(SERVICE):
            answer = self._client.add_secret_version(
                request={"parent": self._secret, "payload": payload}, timeout=self._seconds
            )
        return str(answer.name)

    @property
    def _latest(self) -> str:
        return f"{self._secret}/versions/latest"
