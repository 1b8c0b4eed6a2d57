"""Contract tests speak to one server each and say themselves where it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

_POINTERS = (
    "FIRESTORE_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
    "PUBSUB_EMULATOR_HOST",
)


@pytest.fixture(autouse=True, scope="module")
def _no_other_stack() -> Iterator[None]:
    """A whole stack that other tests keep running in this process must not be taken for Google."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _POINTERS:
            patch.delenv(name, raising=False)
        yield
