"""PPTX: slides in their order, each with its notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from shared.domain.parts import Locator, Part, State
from shared.readers.archive import Archive, Handler, main_part, relations
from shared.readers.gather import Flow, gather, numbered
from shared.readers.limits import Limits
from shared.readers.source import Source

Told = tuple[str, Locator]


def read_pptx(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A presentation. Locators: the slide, and `notes` where the words are the speaker's."""
    with closing(Archive(source.seekable(), limits)) as archive:
        deck = main_part(archive)
        slides = {identity: path for identity, kind, path in relations(archive, deck) if kind == "slide"}
        order = dict.fromkeys(slides[identity] for identity in archive.xml(deck, Order()) if identity in slides)
        sections: list[Callable[[], Iterator[Told]]] = [
            partial(_slide, archive, path, number) for number, path in enumerate(order, 1)
        ]
        yield from gather(numbered(sections, after), after)


def _slide(archive: Archive, path: str, number: int) -> Iterator[Told]:
    yield from archive.xml(path, Shapes(Locator(slide=number)))
    for _, kind, beside in relations(archive, path):
        if kind == "notesSlide":
            yield from archive.xml(beside, Shapes(Locator(slide=number, part="notes")))


class Order(Handler[str]):
    """The relation ids of the slides, as they are shown."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sldId":
            self.out.extend(value for key, value in attributes.items() if key.endswith(":id"))


class Shapes(Handler[Told]):
    """The paragraphs of a slide's shapes and tables. The slide's number and date on a notes page are left out."""

    def __init__(self, locator: Locator) -> None:
        super().__init__()
        self._locator = locator
        self._flow = Flow(self._told)
        self._hears = False
        self._silent = 0
        self._in_row = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._silent or name in ("Fallback", "fld"):
            self._silent += 1
        elif name == "t":
            self._hears = True
        elif name == "br":
            self._flow.add("\n")
        elif name == "tab":
            self._flow.add("\t")
        elif name == "tr":
            self._in_row = True

    def text(self, text: str) -> None:
        if self._hears and not self._silent:
            self._flow.add(text)

    def end(self, name: str) -> None:
        if self._silent:
            self._silent -= 1
        elif name == "t":
            self._hears = False
        elif name == "tc":
            self._flow.add("\t")
        elif name == "tr":
            self._in_row = False
            self._flush("\n")
        elif name == "p":
            if self._in_row:
                self._flow.add(" ")
            else:
                self._flush("\n")
        elif name == "txBody" and not self._in_row:
            self._told("\n")

    def _flush(self, separator: str) -> None:
        begun, text = self._flow.begun, self._flow.take()
        cells = "\t".join(cell.strip() for cell in text.split("\t")).rstrip() if separator else text
        if cells or begun:
            self._told(cells + separator)

    def _told(self, text: str) -> None:
        self.out.append((text, self._locator))
