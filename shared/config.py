"""Settings: one frozen object, and the only reader of the environment.

Every function reads the same names; a name that a function needs and that is missing is reported together with all
other missing ones, once, in a sentence. Endpoints default to Google's own. A one-machine stack sets other endpoints
and nothing else: no code asks where it runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any

from shared.domain.prices import PricesError, price_table


class SettingsError(Exception):
    """Settings are missing or malformed; the message names every one of them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, typed. The environment variable of a field is its name in capitals."""

    google_cloud_project: str
    # Where people and services reach the three doors.
    connect_url: str = ""  # oauth_callback's base address; the redirect URI is connect_url + "/callback"
    dashboard_url: str = ""
    webhook_url: str = ""
    # OAuth. The client secret and the keys that seal tokens live in Secret Manager, by resource name.
    oauth_client_id: str = ""
    oauth_client_secret: str = ""  # projects/P/secrets/S/versions/latest
    token_keys_secret: str = ""  # one Fernet key a line, newest first
    oauth_authorize_url: str = "https://accounts.google.com/o/oauth2/v2/auth"
    oauth_token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, not a secret
    oauth_revoke_url: str = "https://oauth2.googleapis.com/revoke"
    oauth_certs_url: str = "https://www.googleapis.com/oauth2/v1/certs"
    oauth_issuer: str = "https://accounts.google.com"
    # Who may push messages to the functions: the service account and the audience of its OIDC token, and who signs it.
    push_service_account: str = ""
    push_audience: str = ""
    push_certs_url: str = "https://www.googleapis.com/oauth2/v1/certs"
    push_issuer: str = "https://accounts.google.com"
    # Other dashboards that may speak for their own people: account=https://where.its.pages.are, separated by commas.
    service_callers: str = ""
    # What one person (or one address of strangers) may ask of one instance in a minute; 0 is no bound.
    requests_per_minute: int = 600
    searches_per_minute: int = 120  # each may cost a call of a model
    # Google's services.
    drive_endpoint: str = "https://www.googleapis.com"
    firestore_endpoint: str = "https://firestore.googleapis.com"  # for plain requests; the clients know theirs
    pubsub_endpoint: str = "https://pubsub.googleapis.com"
    secretmanager_endpoint: str = "https://secretmanager.googleapis.com"
    documentai_endpoint: str = "https://us-documentai.googleapis.com"
    documentai_processor: str = ""  # projects/P/locations/L/processors/ID/processorVersions/V: never a moving default
    documentai_imageless: bool = False  # 30 pages a request instead of 15, where the processor takes them so
    vertex_endpoint: str = "https://us-central1-aiplatform.googleapis.com"
    vertex_location: str = "us-central1"
    embedding_model: str = "gemini-embedding-001"
    embedding_dimensions: int = 768
    embedding_texts_per_request: int = 1
    embedding_tokens_per_request: int = 20_000
    # A new model or pipeline version reaches what was finished before: so many files under way at once, 0: none by
    # itself. Until it has reached them all, search asks for the old model's vectors, too.
    rollout_files: int = 0
    embedding_model_before: str = ""
    vertex_parallel_calls: int = 6  # of one instance, so that one chunk does not use up a quota
    entity_model: str = "gemini-3.5-flash-lite"
    prices: str = ""  # other prices than those of shared/domain/prices.py, as it says
    entities: str = "on"  # on, off, or a share such as 0.1 of a file's chunks
    # Postgres: a URL, or a Cloud SQL instance with IAM authentication.
    database_url: str = ""
    cloud_sql_instance: str = ""
    cloud_sql_address: str = ""  # the instance's address in our network; with it nothing but TLS is between it and us
    cloud_sql_ca: str = ""  # who signs the certificates of that address, in PEM
    cloud_sql_ip_type: str = "PRIVATE"  # PRIVATE, PUBLIC or PSC
    cloud_sql_user: str = ""
    cloud_sql_database: str = "drivestream"
    database_connections: int = 4
    statement_timeout_seconds: float = 60.0
    # Time limits, in seconds. All of them can be scaled down, so that a test need not wait for nine minutes.
    life_seconds: float = 480.0  # a streaming life stops and hands over before the 600 s lid
    lease_seconds: float = 660.0
    understanding_seconds: float = 420.0  # of one chunk; the last answer may take http_timeout_seconds more
    channel_seconds: float = 604_800.0
    channel_renewal_seconds: float = 86_400.0
    state_seconds: float = 600.0
    session_seconds: float = 2_592_000.0
    http_timeout_seconds: float = 60.0
    retry_base_seconds: float = 1.0
    sweep_seconds: float = 900.0  # how often the schedule looks for what no notification announced; 0: never
    silence_seconds: float = 120.0  # after a change that its channel should have announced by then
    listing_page: int = 1000  # files of one page of a listing; Drive gives 1000 at most
    metadata_seconds: float = 300.0  # how long a file's name and place are believed without asking Drive again
    first_sync: str = "ask"  # whether a person is told what reading will take, and asked, before it begins; or start
    # Drive's quotas of 2026 less a margin for what no account sees: bytes on the line when a reader stops, clocks of
    # which ours is one. `shared.domain.quota` says how each is divided. 0: not counted.
    drive_units_per_minute: int = 900_000
    drive_units_per_minute_and_person: int = 292_500
    drive_units_per_day: int = 360_000_000
    drive_bytes_per_day: int = 950 * 1000**3
    quota_kept_for_fresh: float = 0.1  # the share of each that first syncs leave to what is edited now
    quota_shards: int = 16  # documents that people share in an account
    quota_wait_seconds: float = 5.0  # a budget that opens within this time is waited for on the spot
    # Bounds, in bytes unless said otherwise.
    window_bytes: int = 2 * 1024 * 1024
    hold_bytes: int = 16 * 1024 * 1024  # a container up to this size is read into memory by one GET
    file_bytes: int = 5 * 1000**4
    text_bytes: int = 1024**3
    inflated_bytes: int = 20 * 1024**3
    child_memory_bytes: int = 512 * 1024 * 1024
    child_seconds: float = 60.0
    pipeline_version: str = "1"
    # Where traces go, by OTLP over HTTP, under OpenTelemetry's own names; nowhere by default; and which share of them.
    otel_exporter_otlp_traces_endpoint: str = ""
    otel_traces_sampler_arg: float = 0.05

    @property
    def pipeline(self) -> str:
        """What a file's passages and vectors depend on besides its content: work by other settings is other work, so
        that one revision of a file has one model and one way of being cut."""
        cut = "/imageless" if self.documentai_imageless else ""
        return f"{self.pipeline_version}/{self.embedding_model}/{self.embedding_dimensions}{cut}"

    @property
    def ocr_pages(self) -> int:
        """How many pages one request for recognition may have."""
        return 30 if self.documentai_imageless else 15

    @property
    def vouching(self) -> dict[str, str]:
        """The origin of the pages of each service account that may vouch for people."""
        return dict(_caller(said) for said in self.service_callers.split(",") if said.strip())

    @property
    def redirect_uri(self) -> str:
        """The one redirect address that is registered with Google."""
        return self.connect_url + "/callback"


def _on_or_off(said: str) -> bool:
    if said.strip().lower() not in ("on", "off"):
        raise ValueError(said)
    return said.strip().lower() == "on"


_CALLER = re.compile(r"\s*([^\s=@]+@[^\s=@]+)=(https?://[^\s/?#]+)/?\s*")


def _caller(said: str) -> tuple[str, str]:
    named = _CALLER.fullmatch(said)
    if named is None:
        raise ValueError(said)
    return named[1], named[2]


_READERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _on_or_off}
_PINNED = re.compile(r"projects/[^/]+/locations/[^/]+/processors/[^/]+/processorVersions/[^/]+")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from a mapping such as `os.environ`. Raises `SettingsError` that names every fault at once."""
    values: dict[str, Any] = {}
    faults = []
    for spec in fields(Settings):
        name = spec.name.upper()
        raw = environment.get(name)
        if raw is None or raw == "":
            if spec.default is MISSING:
                faults.append(f"{name} is not set")
            continue
        try:
            values[spec.name] = _READERS.get(str(spec.type), str)(raw)
        except ValueError:
            faults.append(f"{name} must be {'on or off' if spec.type == 'bool' else 'a number'}, not {raw!r}")
    try:
        price_table("", "", values.get("prices", ""))
    except PricesError as error:
        faults.append(str(error))
    try:
        for said in values.get("service_callers", "").split(","):
            if said.strip():
                _caller(said)
    except ValueError as error:
        faults.append(
            f"SERVICE_CALLERS must be like account@project.iam.gserviceaccount.com=https://pages, not {error}"
        )
    if values.get("first_sync", "ask") not in ("ask", "start"):
        faults.append(f"FIRST_SYNC must be ask or start, not {values['first_sync']!r}")
    processor = values.get("documentai_processor", "")
    if processor and not _PINNED.fullmatch(processor):
        faults.append(
            "DOCUMENTAI_PROCESSOR must name a version, like projects/P/locations/L/processors/ID/processorVersions/V:"
            " the default version changes, and with it the text of the pages"
        )
    if faults:
        raise SettingsError("Cannot start: " + "; ".join(faults) + ". Set them in the function's environment.")
    return Settings(**values)


@cache
def settings() -> Settings:
    """The settings of this process, read on first use and kept."""
    return read_settings(os.environ)
