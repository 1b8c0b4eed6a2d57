"""Where received bytes go."""

from __future__ import annotations

import mmap

# How far into a page a buffer begins. The kernel copies what it received with the processor's string moves. Current AMD
# processors take four times as long for these where the target begins 16 bytes into a page and the source at its start:
# just where malloc puts a large block, and so a bytearray. docs/performance.md has the figures.
_PAGE_OFFSET = 1024
_SMALL = 128 * 1024  # malloc takes these from its heap, where no two begin alike


def buffer(size: int) -> memoryview:
    """A new buffer of so many bytes, fast to receive into. It is freed with its last view."""
    if size < _SMALL:
        return memoryview(bytearray(size))
    return memoryview(mmap.mmap(-1, _PAGE_OFFSET + size))[_PAGE_OFFSET:]
