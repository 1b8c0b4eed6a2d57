"""What the counted units cost, in US dollars for a million of each, with where and when that was read.

List prices of the services' smallest tier, before discounts and taxes: an estimate to act on, not a bill. The setting
PRICES replaces any of them: {"ocr_pages": 1500, "embedded_tokens": 0.15}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

COUNTERS = (
    "drive_units", "drive_bytes", "ocr_pages", "embedded_tokens", "model_input_tokens", "model_output_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million of what a counter counts."""

    counter: str
    dollars: Decimal
    source: str
    read_on: str


_DRIVE = "developers.google.com/workspace/drive/api/guides/limits: no charge within the quotas"
_OCR = "cloud.google.com/document-ai/pricing: Enterprise OCR, 1.50 for 1,000 pages up to 5 million a month; unconfirmed"
_LISTINGS = "listings of third parties; unconfirmed"
_ANY = {
    "drive_units": Price("drive_units", Decimal(0), _DRIVE, "2026-11-23"),
    "drive_bytes": Price("drive_bytes", Decimal(0), _DRIVE, "2026-11-23"),
    "ocr_pages": Price("ocr_pages", Decimal(1500), _OCR, "2026-11-23"),
}
# By model: of the vectors' model the tokens in, of the entities' model the tokens in and out.
_EMBEDDING = {
    "gemini-embedding-001": ("0.15", _LISTINGS, "2026-11-23"),
    "gemini-embedding-2": ("0.20", _LISTINGS, "2026-11-23"),
    "text-embedding-005": ("0.10", "0.025 for a million characters, at four a token; " + _LISTINGS, "2026-11-23"),
    "text-multilingual-embedding-002": ("0.10", "as text-embedding-005; " + _LISTINGS, "2026-11-23"),
    "lexical-hashing-001": ("0", "computed on this machine", "2026-11-27"),
}
_GENERATING = {
    "gemini-3.5-flash-lite": ("0.30", "2.50", _LISTINGS, "2026-11-27"),
    "gemini-3.1-flash-lite": ("0.25", "1.50", _LISTINGS, "2026-11-27"),
}
# What the project itself runs on, for ./dev plan: nobody counts these by file.
_LIST = "list prices of us-central1, without free allowances; unconfirmed"
_SERVICES = {
    "function_vcpu_seconds": ("24", "Cloud Run functions, 0.000024 a second; " + _LIST),
    "function_gib_seconds": ("2.5", "Cloud Run functions, 0.0000025 a second; " + _LIST),
    "function_requests": ("0.40", "Cloud Run functions; " + _LIST),
    "message_bytes": (
        "0.0000364",
        "Pub/Sub, 40 for a TiB, published and delivered each; pricing page, third-party copy",
    ),
    "firestore_reads": ("0.30", "Firestore, 0.03 for 100,000; " + _LIST),
    "firestore_writes": ("0.90", "Firestore, 0.09 for 100,000; " + _LIST),
    "log_bytes": ("0.000466", "Cloud Logging, 0.50 for a GiB; " + _LIST),
    "sql_vcpu_hours": (
        "41300",
        "Cloud SQL for PostgreSQL, 0.0413 an hour, twice that where it is highly available; " + _LIST,
    ),
    "sql_gib_hours": ("7000", "Cloud SQL memory, 0.0070 an hour, as above; " + _LIST),
    "sql_disk_gib_months": ("170000", "Cloud SQL SSD, 0.17 a month, as above; " + _LIST),
    "sql_backup_gib_months": ("80000", "Cloud SQL backups, 0.08 a month; " + _LIST),
}
_UNKNOWN = Decimal(0), "no price is known for this model: set PRICES", ""


class PricesError(ValueError):
    """The setting PRICES is not a JSON object of prices."""


def price_table(embedding_model: str, entity_model: str, said: str = "") -> dict[str, Price]:
    """A price for every counter. `said` is the setting PRICES. Raises `PricesError`."""
    table = dict(_ANY)
    dollars, source, read_on = _EMBEDDING.get(embedding_model, _UNKNOWN)
    table["embedded_tokens"] = Price("embedded_tokens", Decimal(dollars), f"{embedding_model}: {source}", read_on)
    read, written, source, read_on = _GENERATING.get(entity_model, (_UNKNOWN[0], *_UNKNOWN))
    for counter, dollars in (("model_input_tokens", read), ("model_output_tokens", written)):
        table[counter] = Price(counter, Decimal(dollars), f"{entity_model}: {source}", read_on)
    for counter, amount in _said(said).items():
        table[counter] = Price(counter, amount, "the setting PRICES", "")
    return table


def service_prices() -> dict[str, Price]:
    """A price for everything that the project runs on."""
    return {name: Price(name, Decimal(amount), source, "2026-11-27") for name, (amount, source) in _SERVICES.items()}


def dollars_for(counted: Mapping[str, int], prices: Iterable[Price]) -> Decimal:
    """What the counted units cost."""
    return sum((counted[price.counter] * price.dollars for price in prices), Decimal(0)) / 1_000_000


def _said(text: str) -> dict[str, Decimal]:
    if not text:
        return {}
    try:
        given = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError as error:
        raise PricesError("PRICES is not JSON") from error
    if not isinstance(given, dict) or not all(
        counter in COUNTERS and isinstance(amount, Decimal) and 0 <= amount < 10**9 for counter, amount in given.items()
    ):
        raise PricesError(f"PRICES is an object with any of {', '.join(COUNTERS)}, in dollars for a million of each")
    return given
