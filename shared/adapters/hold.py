"""The first step of every transaction that writes for a person."""

from __future__ import annotations

from shared.adapters.postgres import Transaction
from shared.domain.errors import Rejected


def hold(tx: Transaction) -> None:
    """Keep the person from being erased until this transaction ends. Raises `Rejected` when they are leaving."""
    person = tx.row("hold_person")
    if person is None or person["status"] == "erasing":
        raise Rejected("The person has disconnected.", code="not_connected")
