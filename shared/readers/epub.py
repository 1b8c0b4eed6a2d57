"""EPUB: the chapters in the order of reading, each through the reader of web pages."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from urllib.parse import unquote

from shared.domain.errors import Skipped
from shared.domain.parts import Locator, Part, State
from shared.readers.archive import Archive, Handler, broken, resolved
from shared.readers.gather import clean, gather, numbered
from shared.readers.limits import Limits
from shared.readers.markup import Page, told
from shared.readers.source import Source

_TITLE = 200
_ID, _HREF = 200, 1000
_PAGES = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}
_CONTENTS = {"application/x-dtbncx+xml", "application/xhtml+xml"}
# Letters' shapes may be scrambled, as publishers of fonts demand; whatever else is encrypted belongs to a seller.
_FONTS_ONLY = {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}

Told = tuple[str, Locator]


def read_epub(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A book. Locators: the chapter, by its title in the table of contents or else its file, and headings."""
    with closing(Archive(source.seekable(), limits)) as archive:
        _check_rights(archive)
        container = "META-INF/container.xml"
        package = next(archive.xml(container, Container()), "") if container in archive.names else ""
        if package not in archive.names:
            raise broken("it does not say where its text begins")
        book = Package(limits.parts)
        for _ in archive.xml(package, book):
            pass
        folder = package.rpartition("/")[0]
        paths = {identity: _path(folder, href) for identity, (href, _, _) in book.items.items()}
        pages = {identity for identity, (_, kind, _) in book.items.items() if kind in _PAGES}
        order = dict.fromkeys(paths[i] for i in book.spine if i in pages and paths[i] in archive.names)
        titles = _titles(archive, book, paths)
        sections: list[Callable[[], Iterator[Told]]] = [
            partial(_chapter, archive, path, titles.get(path) or clean(path[-_TITLE:])) for path in order
        ]
        yield from gather(numbered(sections, after), after)


def _check_rights(archive: Archive) -> None:
    rules = "META-INF/encryption.xml"
    if rules in archive.names and any(rule not in _FONTS_ONLY for rule in archive.xml(rules, Algorithms())):
        raise Skipped("The book is locked by its seller's copy protection (DRM).", code="drm")


def _chapter(archive: Archive, path: str, part: str) -> Iterator[Told]:
    for text, place in told(Chapter(), Entry(archive, path)):
        yield text, Locator(heading=place.heading, part=part)


def _titles(archive: Archive, book: Package, paths: dict[str, str]) -> dict[str, str]:
    """The chapters' titles by their files; none where the table of contents is damaged, for it is only that."""
    found = dict[str, str]()
    for identity, (_, kind, is_contents) in book.items.items():
        path = paths[identity]
        if is_contents and kind in _CONTENTS and path in archive.names:
            contents = Contents()
            try:
                for href, title in archive.xml(path, contents):
                    if len(found) < len(paths):
                        found.setdefault(_path(path.rpartition("/")[0], href), title)
            except Skipped as fault:
                if fault.code != "broken":
                    raise
    return found


def _path(folder: str, href: str) -> str:
    return resolved(folder, posixpath.normpath(unquote(href.partition("#")[0][:_HREF])))


class Chapter(Page):
    """A page of a book. What it calls itself in its head is for programs: often the name of its file."""

    def start(self, tag: str, attributes: str) -> None:
        if tag == "title":
            self._silent.append(tag)
        else:
            super().start(tag, attributes)


class Entry:
    """A part of the book as a source of its own."""

    size: int | None = None
    mime_type = "application/xhtml+xml"

    def __init__(self, archive: Archive, name: str) -> None:
        self.name, self._archive = name, archive

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        """Only from the beginning: that is how a page is read."""
        assert not start
        return map(memoryview, self._archive.feed(self.name))

    def seekable(self) -> io.RawIOBase:
        """Not of a page: it is read as it streams."""
        raise io.UnsupportedOperation


class Container(Handler[str]):
    """Where the package is described."""

    doctype = True

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "rootfile":
            self.out.append(attributes.get("full-path", ""))


class Algorithms(Handler[str]):
    """By what rule each encrypted part is encrypted."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "EncryptionMethod":
            self.out.append(attributes.get("Algorithm", "")[:100])


class Package(Handler[str]):
    """The parts of a book (reference, type, whether it is the table of contents), and the order of reading."""

    doctype = True

    def __init__(self, most: int) -> None:
        super().__init__()
        self.items = dict[str, tuple[str, str, bool]]()
        self.spine: list[str] = []
        self._most = most

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "item" and len(self.items) < self._most:
            kind = attributes.get("media-type", "")[:100]
            contents = kind == "application/x-dtbncx+xml" or "nav" in attributes.get("properties", "").split()
            self.items[attributes.get("id", "")[:_ID]] = (attributes.get("href", "")[:_HREF], kind, contents)
        elif name == "itemref" and len(self.spine) < self._most:
            self.spine.append(attributes.get("idref", "")[:_ID])


class Contents(Handler[tuple[str, str]]):
    """A table of contents, of either kind: references with the titles shown for them."""

    doctype = True

    def __init__(self) -> None:
        super().__init__()
        self._href = ""
        self._title: list[str] = []
        self._size = 0
        self._hears = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "a" and "href" in attributes:
            self._href, self._title, self._size, self._hears = attributes["href"], [], 0, True
        elif name == "navPoint":
            self._title, self._size = [], 0
        elif name == "text":
            self._hears = True
        elif name == "content":
            self._tell(attributes.get("src", ""))

    def text(self, text: str) -> None:
        if self._hears and self._size < _TITLE:
            self._title.append(text)
            self._size += len(text)

    def end(self, name: str) -> None:
        if name == "text":
            self._hears = False
        elif name == "a" and self._hears:
            self._hears = False
            self._tell(self._href)

    def _tell(self, href: str) -> None:
        title = clean(" ".join("".join(self._title).split()))[:_TITLE]
        if title and href:
            self.out.append((href, title))
