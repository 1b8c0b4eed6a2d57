"""How much a day allows: quotas of Google's services, and what this system's own parts come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_DRIVE = "developers.google.com/workspace/drive/api/guides/limits, projects of 2026-05-01 and later"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many units a minute, or a day where `minutes` is 1440."""

    name: str
    what: str
    amount: float
    minutes: int
    source: str

    def days(self, units: float) -> float:
        """How long so many units take."""
        return units / self.amount * self.minutes / 1440


_TABLE = (
    Limit("drive-project-minute", "Drive units of the project a minute", 1_000_000, 1, _DRIVE),
    Limit("drive-person-minute", "Drive units of one person a minute", 325_000, 1, _DRIVE),
    Limit("drive-day", "Drive units of the project a day", 400_000_000, 1440, _DRIVE + "; cannot be raised"),
    Limit("drive-bytes-day", "bytes out of Drive a day", 1e12, 1440, _DRIVE + "; cannot be raised"),
    Limit("ocr-requests-minute", "Document AI requests a minute", 600, 1, "usual default; unconfirmed"),
    Limit("embedding-tokens-minute", "tokens to embed a minute", 5_000_000, 1, "usual default; unconfirmed"),
    Limit("passages-minute", "passages into the database a minute, on two cores", 363 * 60, 1,
          "docs/performance.md, Writing passages, with both indexes; cores beyond two count in proportion"),
)  # fmt: skip
LIMITS: Mapping[str, Limit] = {limit.name: limit for limit in _TABLE}
UNITS = {"list": 100, "read": 5, "download": 200}  # of one request
