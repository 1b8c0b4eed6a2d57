"""Secret Manager: values by resource name, checked, and kept for a few minutes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, cast

from google.auth.credentials import Credentials

from shared.adapters.google_calls import BadAnswer, InvalidArgument, classified, patiently
from shared.config import Settings
from shared.domain.errors import Unavailable

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

SERVICE = "Secret Manager"
KEPT_SECONDS = 300.0
# Somebody waits at a door behind this: a few seconds of patience in all.
PATIENCE = 1 / 10


class Secrets:
    """The secrets of one process. A value is asked for once, however many threads want it, and kept for five minutes,
    so that a rotated key is used everywhere soon after."""

    def __init__(self, settings: Settings, *, credentials: Credentials | None = None) -> None:
        self._settings = settings
        self._credentials = credentials
        self._client: SecretManagerServiceClient | None = None
        self._making = threading.Lock()
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, resource_name: str, *, fresh: bool = False) -> bytes:
        """The value of `projects/P/secrets/S/versions/V`; `fresh` asks again for one that is kept.

        Raises `Unavailable` when it cannot be had: nothing goes on without its secret, and nothing older than five
        minutes is used in its place.
        """
        asked_at = time.monotonic()
        with self._making:
            asking = self._asking[resource_name]
        with asking:
            kept_at, value = self._kept.get(resource_name, (-KEPT_SECONDS, b""))
            # Whoever waited here while another thread asked takes that answer, also a fresh one.
            good_from = asked_at if fresh else asked_at - KEPT_SECONDS
            if resource_name in self._kept and kept_at > good_from:
                return value
            value = patiently(
                lambda: self._access(resource_name), base_seconds=self._settings.retry_base_seconds * PATIENCE
            )
            self._kept[resource_name] = (time.monotonic(), value)
            return value

    def made_at(self, resource_name: str) -> datetime:
        """When this version of a secret was made. Raises `Unavailable` where that cannot be told."""

        def ask() -> datetime:
            try:
                with classified(SERVICE):
                    version = self._made().get_secret_version(
                        name=resource_name, timeout=self._settings.http_timeout_seconds, retry=None
                    )
            except InvalidArgument as error:
                raise Unavailable(f"{SERVICE} does not know {resource_name}: {error.reason}", code="refused") from error
            return cast("datetime", version.create_time)  # the client's own kind of one

        return patiently(ask, base_seconds=self._settings.retry_base_seconds * PATIENCE)

    def _access(self, resource_name: str) -> bytes:
        import google_crc32c

        try:
            with classified(SERVICE):
                answer = self._made().access_secret_version(
                    name=resource_name, timeout=self._settings.http_timeout_seconds, retry=None
                )
        except InvalidArgument as error:
            # A disabled version or a wrong name: a person mends that, and the work must still be there then.
            raise Unavailable(f"{SERVICE} does not give {resource_name}: {error.reason}", code="refused") from error
        payload = answer.payload
        if "data_crc32c" in payload and payload.data_crc32c != google_crc32c.value(payload.data):
            raise BadAnswer(f"{SERVICE} sent a damaged value.")
        return bytes(payload.data)

    def _made(self) -> SecretManagerServiceClient:
        with self._making:
            if self._client is None:
                from google.api_core.client_options import ClientOptions
                from google.cloud.secretmanager_v1 import SecretManagerServiceClient

                self._client = SecretManagerServiceClient(
                    credentials=self._credentials,
                    transport="rest",
                    client_options=ClientOptions(api_endpoint=self._settings.secretmanager_endpoint),
                )
            return self._client
