"""PDF by PDFium, in a child process that may die without harm.

Pages with a text layer become text; runs of pages without one become small PDFs for recognition.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from shared.domain.errors import Skipped
from shared.domain.parts import Image, Locator, Pages, Part, State, Truncated
from shared.readers import child
from shared.readers.gather import Block, gather
from shared.readers.limits import Limits
from shared.readers.source import Source

_ASKED = 16  # pages in one question
_NAMED = 5  # damaged pages that a reason names


def read_pdf(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A PDF, page by page. Locators: the page."""
    with closing(source.seekable()) as file, _children.lend(limits) as reader:
        reader.open(file)
        yield from gather(_pages(reader, limits, after), after)
        reader.close_document()


def _pages(reader: Child, limits: Limits, after: State) -> Iterator[Block | Part]:
    page = int(after.get("page", 0)) + 1
    unreadable = [int(number) for number in after.get("unreadable", [])]
    bare: list[int] = []  # consecutive pages without a text layer, not yet handed over
    while page <= reader.pages:
        for text, shown in reader.ask("pages", first=page, last=min(page + _ASKED - 1, reader.pages)):
            if bare and (shown != "picture" or len(bare) == limits.window_pages):
                yield from _windows(reader, limits, bare, unreadable, keep=shown == "picture")
            if shown == "picture":
                bare.append(page)
            elif shown == "unreadable":
                unreadable.append(page)
            elif text.strip():
                yield Block(text.rstrip() + "\n\n", Locator(page_first=page, page_last=page), _state(page, unreadable))
            page += 1
    yield from _windows(reader, limits, bare, unreadable, keep=False)
    if unreadable:
        yield Truncated(_damaged(unreadable), {"page": reader.pages, "unreadable": []})


def _windows(reader: Child, limits: Limits, bare: list[int], unreadable: list[int], *, keep: bool) -> Iterator[Part]:
    """Hand over pages as windows. With `keep`, the run goes on: what did not fit begins the next window."""
    while bare:
        first = bare[0]
        count, pdf = reader.payload("window", first=first, last=bare[-1], most=limits.window_bytes)
        last = first + max(count, 1) - 1
        place = Locator(page_first=first, page_last=last)
        if count:
            yield Pages(pdf, place, _state(last, unreadable))
        elif png := _picture(reader, first, limits):
            yield Image(png, "image/png", place, _state(last, unreadable))
        else:
            unreadable.append(first)
        del bare[: last - first + 1]
        if keep:
            return


def _picture(reader: Child, page: int, limits: Limits) -> bytes:
    """A page that is too large for a window, drawn anew; nothing if it cannot be drawn."""
    try:
        return reader.payload("picture", page=page, most=limits.window_bytes)[1]
    except Skipped as fault:
        if fault.code != "broken":
            raise
        return b""


def _state(page: int, unreadable: list[int]) -> dict[str, Any]:
    return {"page": page, "unreadable": unreadable[:100]} if unreadable else {"page": page}


def _damaged(pages: list[int]) -> str:
    named = ", ".join(str(page) for page in pages[:_NAMED]) + (" and others" if len(pages) > _NAMED else "")
    return f"Page {named} is damaged" if len(pages) == 1 else f"Pages {named} are damaged"


class Child(child.Child):
    """A process with PDFium in it."""

    program = "pdf_child.py"
    thing = "PDF"

    def open(self, file: io.RawIOBase, **facts: Any) -> None:
        super().open(file, budget=self.limits.pdf_budget_bytes, pixels=self.limits.image_pixels, **facts)


_children = child.Children(Child)
