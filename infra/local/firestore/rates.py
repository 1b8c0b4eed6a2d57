"""How often each document is written. The service takes about one sustained write per second and document."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable

WINDOW_SECONDS = 1.0


class WriteRates:
    """Writes per document since the server started, and the most that one document had within a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._recent: deque[tuple[float, str]] = deque()
        self._window: Counter[str] = Counter()
        self._peaks: Counter[str] = Counter()

    def record(self, documents: Iterable[str]) -> None:
        """Count one write for each of the documents."""
        now = time.monotonic()
        with self._lock:
            while self._recent and self._recent[0][0] <= now - WINDOW_SECONDS:
                self._forget(self._recent.popleft()[1])
            for document in documents:
                self._recent.append((now, document))
                self._counts[document] += 1
                self._window[document] += 1
                self._peaks[document] = max(self._peaks[document], self._window[document])

    def _forget(self, document: str) -> None:
        self._window[document] -= 1
        if not self._window[document]:
            del self._window[document]

    def counts(self) -> dict[str, int]:
        """Writes per document (`collection/id`)."""
        with self._lock:
            return dict(self._counts)

    def peaks(self) -> dict[str, int]:
        """The most writes that each document had within any one second."""
        with self._lock:
            return dict(self._peaks)
