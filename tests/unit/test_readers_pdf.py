"""How much of a PDF is fetched."""

from __future__ import annotations

import random
from io import FileIO
from pathlib import Path

from shared.readers import Limits, PathSource, read
from shared.readers.limits import MIB
from tests.unit.reader_samples import pdf

PAGES = 160


def test_a_pdf_of_scans_is_not_fetched_anew_whenever_it_is_opened_again(tmp_path: Path) -> None:
    """PDFium keeps what it has parsed until a document is closed, and looks for a page among all that lie before it.
    Each of them lies beside its picture: looked for again and again, they once cost a scan of 600 MB nine gigabytes."""
    noise = random.Random(1)
    path = tmp_path / "scans.pdf"
    path.write_bytes(pdf([noise.randbytes(100_000) for _ in range(PAGES)]))
    source = Counted(path)

    parts = list(read(source, Limits(pdf_budget_bytes=MIB)))

    assert parts[-1].locator.page_last == PAGES  # type: ignore[union-attr]
    assert source.fetched < 3 * path.stat().st_size


class Counted(PathSource):
    """A file that counts the bytes that are read of it."""

    fetched = 0

    def seekable(self) -> FileIO:
        source = self

        class File(FileIO):
            def readinto(self, buffer: bytearray) -> int | None:  # type: ignore[override]
                count = super().readinto(buffer)
                source.fetched += count or 0
                return count

        return File(self.path)
