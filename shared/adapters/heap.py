"""How the C library keeps memory that was freed.

The GNU C library raises its own bound for what it takes from the system piece by piece, up to 32 MiB, as soon as a
large piece is freed once. From then on windows, blocks and messages of megabytes lie in the heap between small things
that live longer, and the holes they leave are never given back: a process grows with what it has read, not with what
it holds. https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's
_MMAP_BYTES = 1024 * 1024  # chunks of half a megabyte stay in the heap: mapping each would double the kernel's time
_TRIM_BYTES = 8 * 1024 * 1024  # free at the heap's end before it is given back


@cache
def bound() -> None:
    """From now on whatever is large goes back to the system when it is freed. Another C library than GNU's is left as
    it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
