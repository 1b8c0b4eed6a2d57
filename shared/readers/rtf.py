"""RTF as it streams: groups, control words and bytes in the code page of their font.

Memory is that of one paragraph, of the open groups and of the tables of fonts and styles, whatever the file's size.
Pictures and what a program keeps for itself are passed over as they come.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.parts import Locator, Part, State
from shared.readers.archive import broken, too_deep
from shared.readers.gather import LONG, Flow, clean, gather, numbered
from shared.readers.limits import Limits
from shared.readers.source import Source

_TITLE = 200
_TABLE = 10_000  # fonts, styles
_AHEAD = 64  # characters: a control word that begins so far before a piece's end is whole
_TOKEN = re.compile(
    r"\\([a-zA-Z]{1,32})(-?[0-9]{1,9})?[ ]?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]{1,4096})|\\"
)
# What holds no words of the text. Any other group that begins with `\*` may be passed over, too.
_SILENT = {
    "colortbl", "info", "pict", "fldinst", "listtext", "pntext", "nonshppict", "xe", "tc", "sp", "objdata", "objclass",
    "objname", "datafield", "themedata", "colorschememapping", "datastore", "latentstyles", "generator", "filetbl",
    "revtbl", "rsidtbl", "atnid", "atnauthor", "atntime", "atndate", "atnref", "atnparent", "bkmkstart", "bkmkend",
}  # fmt: skip
_HEARD = {"shpinst", "shptxt", "shprslt", "annotation", "footnote", "txfieldtext", "fonttbl", "stylesheet"}
_SIDES = {
    "footnote": "footnotes", "annotation": "comments",
    "header": "header", "headerl": "header", "headerr": "header", "headerf": "header",
    "footer": "footer", "footerl": "footer", "footerr": "footer", "footerf": "footer",
}  # fmt: skip
_SIGNS = {
    "tab": "\t", "line": "\n", "lbr": "\n", "emdash": "\u2014", "endash": "\u2013", "lquote": "\u2018",
    "rquote": "\u2019", "ldblquote": "\u201c", "rdblquote": "\u201d", "bullet": "\u2022", "emspace": " ",
    "enspace": " ", "qmspace": " ",
}  # fmt: skip
_SYMBOLS = {"~": "\u00a0", "_": "-", "\\": "\\", "{": "{", "}": "}", "\t": "\t"}
_PAGES = {"ansi": "cp1252", "mac": "mac_roman", "pc": "cp437", "pca": "cp850"}
_CHARSETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "big5", 161: "cp1253", 162: "cp1254",
    163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
    255: "cp437",
}  # fmt: skip

_CONTROL = {"par", "sect", "page", "cell", "nestcell", "row", "pard", "intbl", "s", "outlinelevel", "f", "uc", "plain"}
_CONTROL |= {"ansicpg", "ansi", "mac", "pc", "pca"}
_KNOWN = _CONTROL | set(_SIGNS) | {"u", "bin", "fcharset"}  # all others say how it looks

Told = tuple[str, Locator]


def read_rtf(source: Source, limits: Limits, after: State) -> Iterator[Part]:
    """A rich text. Locators: headings, or the name of the side text."""
    return gather(numbered([lambda: _told(source, limits)], after), after)


def _told(source: Source, limits: Limits) -> Iterator[Told]:
    text = Rich(limits.xml_depth)
    held = ""
    for window in source.windows():
        for at in range(0, len(window), LONG):
            held += str(window[at : at + LONG], "latin-1")
            held = text.feed(held, final=False)
            yield from text.out
            text.out.clear()
    text.feed(held, final=True)
    whole = text.finish()
    yield from text.out
    if not whole:
        raise broken("it ends in the middle")


@dataclass(slots=True)
class _Group:
    """What holds until the group's closing brace."""

    silent: bool = False
    font: int = -1
    fallback: int = 1  # characters behind a `\\u` that stand in for it
    table: str = ""  # the table that is being filled: fonts or styles
    side: bool = False  # a note, a header: text of its own
    fresh: bool = False  # nothing has been said in it
    starred: bool = False

    def inner(self) -> _Group:
        """A group that begins within this one."""
        return _Group(self.silent, self.font, self.fallback, self.table, fresh=True)


class Rich:
    """Tokens become paragraphs and table rows, each with the headings above it."""

    def __init__(self, depth: int) -> None:
        self.out: list[Told] = []
        self._most = depth
        self._group, self._groups = _Group(), list[_Group]()
        self._page = "cp1252"
        self._fonts, self._levels = dict[int, str](), dict[int, int]()
        self._font = self._style = -1  # that are being declared
        self._name = ""
        self._raw = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._skip = self._binary = self._high = 0
        self._path: list[tuple[int, str]] = []
        self._level, self._in_table = -1, False
        self._part: str | None = None
        self._flow = Flow(self._tell)
        self._around: list[tuple[Flow, int, bool, str | None]] = []

    def feed(self, text: str, *, final: bool) -> str:
        """Take as many tokens as are whole; what is left comes again with more behind it."""
        at, stop = 0, len(text) if final else len(text) - _AHEAD
        while at < stop:
            if self._binary:
                step = min(self._binary, len(text) - at)
                self._binary -= step
                at += step
                continue
            found = _TOKEN.match(text, at)
            assert found is not None
            at = found.end()
            kind = found.lastindex
            if kind == 1 or kind == 2:
                if found[1] in _KNOWN or self._group.fresh or self._skip:
                    self._word(found[1], int(found[2]) if found[2] else None)
            elif kind == 3:
                self._byte(found[3])
            elif kind == 4:
                self._symbol(found[4])
            elif kind == 5:
                self._brace(found[5])
            elif kind == 6:
                self._bytes(found[6])
        return text[at:]

    def finish(self) -> bool:
        """The end of the file. Whether it is the end of the text, too."""
        whole = not self._groups
        while self._groups:
            self._brace("}")
        self._end_paragraph()
        return whole

    def _brace(self, brace: str) -> None:
        self._decode()
        self._skip = 0
        if brace == "{":
            if len(self._groups) >= self._most:
                raise too_deep(self._most)
            self._groups.append(self._group)
            self._group = self._group.inner()
            return
        if self._group.side:
            self._end_paragraph()
            self._flow, self._level, self._in_table, self._part = self._around.pop()
        outer = self._groups.pop() if self._groups else _Group()
        if outer.table and not self._group.silent:
            self._declared()
        self._group = outer

    def _symbol(self, symbol: str) -> None:
        if symbol == "*":
            self._group.starred = True
        elif symbol in "\r\n":
            self._word("par", None)
        elif not self._skipped():
            self._say(_SYMBOLS.get(symbol, ""))

    def _word(self, word: str, number: int | None) -> None:
        if word == "bin":
            self._decode()
            self._binary = max(number or 0, 0)
            return
        if self._group.fresh:
            self._open(word)
        if word == "u" and number is not None:
            self._unicode(number)
        elif self._group.silent or self._skipped():
            return
        elif word in _SIGNS:
            self._say(_SIGNS[word])
        elif self._group.table:
            self._declare(word, number)
        else:
            self._decode()
            self._control(word, number)

    def _open(self, word: str) -> None:
        """The first word of a group says what the group is."""
        group = self._group
        group.fresh = False
        if word in _SILENT or (group.starred and word not in _HEARD):
            group.silent = True
        elif word in ("fonttbl", "stylesheet"):
            group.table = word
        elif word in _SIDES and not group.silent:
            self._around.append((self._flow, self._level, self._in_table, self._part))
            self._flow, self._level, self._in_table, self._part = Flow(self._tell), -1, False, _SIDES[word]
            group.side = True

    def _control(self, word: str, number: int | None) -> None:
        match word:
            case "par" | "sect" | "page":
                self._flow.add(" ") if self._in_table else self._end_paragraph()
            case "cell" | "nestcell":
                self._flow.add("\t")
            case "row":
                self._end_row()
            case "pard":
                self._level, self._in_table = -1, False
            case "intbl":
                self._in_table = True
            case "s":
                self._level = self._levels.get(number or 0, -1)
            case "outlinelevel" if number is not None and 0 <= number < 9:
                self._level = number + 1
            case "f":
                self._group.font = number or 0
            case "uc":
                self._group.fallback = min(max(number or 0, 0), 100)
            case "ansicpg" if number:
                self._page = _codec(f"cp{number}") or self._page
            case "ansi" | "mac" | "pc" | "pca":
                self._page = _PAGES[word]
            case "plain":
                self._group.font = -1

    def _declare(self, word: str, number: int | None) -> None:
        """Inside the table of fonts or styles."""
        if self._group.table == "fonttbl" and word == "f":
            self._font = number or 0
        elif word == "fcharset" and len(self._fonts) < _TABLE and (page := _CHARSETS.get(number or 0)):
            self._fonts[self._font] = page
        elif self._group.table == "stylesheet" and word == "s":
            self._style = number or 0
        elif self._group.table == "stylesheet" and word == "outlinelevel" and number is not None and 0 <= number < 9:
            self._keep_level(number + 1)

    def _declared(self) -> None:
        """An entry of a table ends."""
        name = self._name.strip().rstrip(";").strip().lower()
        if self._group.table == "stylesheet":
            if found := re.fullmatch(r"heading (\d)", name):
                self._keep_level(int(found[1]))
            elif name == "title":
                self._keep_level(0)
        self._name, self._style = "", -1

    def _keep_level(self, level: int) -> None:
        if len(self._levels) < _TABLE:
            self._levels[max(self._style, 0)] = level

    def _unicode(self, number: int) -> None:
        if not self._group.silent:
            code = number & 0xFFFF
            if 0xD800 <= code < 0xDC00:
                self._high = code
            elif 0xDC00 <= code < 0xE000:
                self._say(chr(0x10000 + ((self._high & 0x3FF) << 10) + (code & 0x3FF)) if self._high else "\ufffd")
                self._high = 0
            else:
                self._say(chr(code))
        self._skip = self._group.fallback

    def _skipped(self) -> bool:
        """Whether this stands in for a character that was given already."""
        if self._skip:
            self._skip -= 1
            return True
        return False

    def _byte(self, digits: str) -> None:
        if not self._skipped() and not self._group.silent:
            self._hold(bytes.fromhex(digits))

    def _bytes(self, text: str) -> None:
        if self._skip:
            count = min(self._skip, len(text))
            self._skip -= count
            text = text[count:]
        if self._group.silent or not text:
            return
        self._group.fresh = False
        self._hold(text.encode("latin-1"))

    def _hold(self, content: bytes) -> None:
        """Bytes of one font, decoded together: a character may have several. Of a long run in equal pieces."""
        self._raw += content
        while len(self._raw) > LONG:
            self._decoder = self._decoder or codecs.getincrementaldecoder(self._encoding())("replace")
            self._add(self._decoder.decode(self._raw[:LONG]))
            del self._raw[:LONG]

    def _encoding(self) -> str:
        return self._fonts.get(self._group.font, self._page)

    def _say(self, text: str) -> None:
        self._decode()
        self._add(text)

    def _decode(self) -> None:
        if self._decoder:
            self._add(self._decoder.decode(self._raw, True))
        elif self._raw:
            self._add(self._raw.decode(self._encoding(), "replace"))
        self._raw.clear()
        self._decoder = None

    def _add(self, text: str) -> None:
        if self._group.silent:
            return
        if self._group.table:
            self._name = (self._name + text)[:_TITLE]
        else:
            self._flow.add(text)

    def _end_paragraph(self) -> None:
        self._decode()
        begun, text = self._flow.begun, self._flow.take()
        if text.strip() and self._level >= 0 and not begun:
            title = " ".join(clean(text).split())[:_TITLE]
            self._path = [*(step for step in self._path if step[0] < self._level), (self._level, title)]
        if text.strip() or begun:
            self._tell(text + "\n\n")

    def _end_row(self) -> None:
        begun, text = self._flow.begun, self._flow.take()
        row = "\t".join(cell.strip() for cell in text.split("\t")).rstrip()
        if row or begun:
            self._tell(row + "\n")

    def _tell(self, text: str) -> None:
        heading = " > ".join(title for _, title in self._path) or None
        self.out.append((clean(text), Locator(heading=heading, part=self._part)))


def _codec(name: str) -> str | None:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None
