"""Links to the place where a passage stands, as far as Google's own viewers can be sent there. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from functions.dashboard.words import safe_link

# A fragment means to another viewer what it likes.
_GOOGLES = frozenset({"drive.google.com", "docs.google.com"})


def link_to(file: Mapping[str, Any], locator: Mapping[str, Any] | None) -> str | None:
    """The address of a passage: the page of a PDF, else its file's own; None where there is none to go to safely.

    Google's editors name a slide, a tab or a heading by an id that no export of theirs carries, so their files open at
    the beginning rather than at a wrong place.
    """
    link = safe_link(file["web_view_link"])
    at = locator or {}
    page = at.get("page_first")
    if link is None or at.get("part") or file["mime_type"] != "application/pdf" or not isinstance(page, int):
        return link
    parts = urlsplit(link)
    if parts.scheme != "https" or parts.hostname not in _GOOGLES:
        return link
    return parts._replace(fragment=f"page={page}").geturl()
