"""Where a text is cut: by what begins there, so that everybody who sees it cuts at the same place."""

from __future__ import annotations

import zlib

SEEN = 80  # characters that decide


def turning_point(text: str) -> int:
    """How well something begins with a paragraph that begins like this: of several, the lowest number does. It is
    chance, made of what stands there and of nothing before it. So the cuts of an edited text find back to where they
    were, as in content-defined chunking (Muthitacharoen, Chen, Mazieres: A Low-bandwidth Network File System, 2001)."""
    return zlib.crc32(" ".join(text[:SEEN].split()).encode("utf-8", "surrogatepass"))
