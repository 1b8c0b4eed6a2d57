"""How much of a file a reader may cost. Beyond a bound a file is skipped, or truncated, with the bound named."""

from __future__ import annotations

from dataclasses import dataclass

from shared.config import Settings

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of DESIGN §4.6, in bytes and seconds unless said otherwise."""

    text_bytes: int = GIB  # text of one file, as UTF-8
    inflated_bytes: int = 20 * GIB  # all that a container's parts unpack to
    held_bytes: int = 200 * MIB  # a part of a container that must be known whole before the rest can be read
    ratio: int = 100  # unpacked against packed ...
    ratio_from: int = MIB  # ... once a part has unpacked to this much
    parts: int = 10_000  # entries of a container
    nesting: int = 1  # how deep files within files are opened
    hold_bytes: int = 16 * MIB  # a file within a file that must be read from its middle
    xml_depth: int = 256
    step_seconds: float = 60.0  # of the processor, from one piece of text of a container to the next
    row_bytes: int = 10 * MIB  # one row of a table
    notebook_bytes: int = 8 * MIB  # parsed as a notebook; a larger one is read as plain JSON
    workbook_bytes: int = 20 * MIB  # of an old or binary workbook, which is held whole in a child process
    image_pixels: int = 40_000_000
    window_pages: int = 15  # pages of one window for recognition ...
    window_bytes: int = 2 * MIB  # ... and its bytes
    pdf_budget_bytes: int = 32 * MIB  # PDFium keeps what it has parsed: reopen the document after this much
    child_memory_bytes: int = 512 * MIB
    child_seconds: float = 60.0  # one step of a child process
    children: int = 2  # child processes at once

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The bounds that settings say; the others keep their defaults."""
        return cls(
            text_bytes=settings.text_bytes,
            inflated_bytes=settings.inflated_bytes,
            hold_bytes=settings.hold_bytes,
            window_pages=settings.ocr_pages,
            child_memory_bytes=settings.child_memory_bytes,
            child_seconds=settings.child_seconds,
        )


def amount(count: float) -> str:
    """A number of bytes as a person says it: 1 GB, 512 MB, 200 KB."""
    for unit, name in ((GIB, "GB"), (MIB, "MB"), (KIB, "KB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count:.4g} bytes"
