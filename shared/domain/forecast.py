"""What reading a Drive will take, from its listing alone: Drive's units, bytes, recognised pages, tokens, and time.

A listing says of each file its name, its type and its size, and of most a checksum. For each kind of file there is what
reading it costs, as three numbers: at least, likely, at most. docs/forecast.md says where they come from; a test holds
the kinds to what the readers take them for (`shared/readers/formats.py`). What a size cannot say, such as whether a PDF
was scanned, is why the numbers are three.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from shared.domain.files import DOCUMENT, DRAWING, PRESENTATION, SHORTCUT, SPREADSHEET

Three = tuple[float, float, float]  # at least, likely, at most
COUNTED = (
    "drive_units", "drive_bytes", "ocr_pages", "embedded_tokens", "model_input_tokens", "model_output_tokens",
    "seconds",
)  # fmt: skip
_LEARNT = ("embedded_tokens", "model_input_tokens", "model_output_tokens")

WINDOW = 2 * 1024 * 1024  # bytes that come before a file that cannot be read shows it
HELD = 16 * 1024 * 1024  # a container up to this size is one download; a larger one is read in blocks
ASK_UNITS, DOWNLOAD_UNITS = 5, 200  # of Drive's quota
UNITS_A_SECOND = 325_000 / 60  # of Drive's quota for one person
BYTES_A_SECOND = 10**12 / 86_400  # of Drive's threshold for a project
# Of an installation that has not read anything yet; after that its own pace is asked for.
FILES_A_SECOND: Three = (40.0, 8.0, 2.0)
PACE: Three = (0.6, 1.0, 2.5)  # times as long as its pace says

INSTRUCTION_TOKENS = 171  # of a request that looks for names, apart from its passages
REQUEST_TOKENS = 4_500  # of text in such a request that is full
AROUND = 1.07  # times the tokens of passages when they stand in a request, quoted and numbered
NAMED: Three = (0.01, 0.09, 0.5)  # tokens of names and relations for each token of prose
THIN: Three = (0.0, 0.02, 0.05)  # of a byte that lies beyond what is dense
FEW = 500  # bytes of a container: of texts longer than so much, those of twice the length are a third as many

# Of an installation that has read before: what it found counts beside what is said here.
FEWEST_READ = 200  # files, or it says nothing yet
AS_MUCH_AS = 300  # files of one installation resemble each other: so many count as much as what is said here
FURTHEST = 20.0  # times, that what it found is taken to be apart from what is said here


@dataclass(frozen=True, slots=True)
class Kind:
    """Files that are alike in what they cost. Sizes in bytes.

    `tokens` are those of one byte of its content: what is left behind the `wrappings`, which are what a file that holds
    nothing takes, of one maker or another. Beyond `dense` bytes of it are mostly pictures: little of that counts.
    `named` are tokens of names for one of these. `pages` are those of a file that must be recognised, and `page_bytes`
    what one takes where there are more the larger the file is. `stands_for` is the size to assume where none is told.
    """

    name: str
    title: str
    endings: str = ""
    types: str = ""
    tokens: Three = (0.0, 0.0, 0.0)
    wrappings: tuple[float, ...] = (0.0,)
    dense: Three = (inf, inf, inf)
    named: Three = NAMED
    pages: Three = (0.0, 0.0, 0.0)
    page_bytes: Three = (inf, inf, inf)
    page_tokens: Three = (0.0, 0.0, 0.0)
    received: Three = (1.0, 1.0, 1.0)  # of its bytes
    adds: Three = (0.0, 0.0, 0.0)  # bytes that an export has besides
    downloads: Three = (1.0, 1.0, 1.0)
    blocks: bool = False  # read in blocks where it is large
    most: float = inf  # bytes that are received of it
    stands_for: float = 0.0
    skipped: str = ""  # why it is not read


@dataclass(frozen=True, slots=True)
class Some:
    """Files of one type and ending, of about the same size. `fresh` are those whose content no other file has."""

    mime_type: str
    ending: str
    files: int
    bytes: int
    fresh: int
    unsized: bool = False
    empty: bool = False
    outside: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Files of one type and ending, of about the same size, that an installation has read once: what that took."""

    mime_type: str
    ending: str
    files: int
    bytes: int
    fresh: int
    embedded_tokens: int
    model_input_tokens: int
    model_output_tokens: int


@dataclass(slots=True)
class Expected:
    """What is expected of one kind."""

    files: int = 0
    listed_bytes: int = 0
    counted: dict[str, list[float]] = field(default_factory=lambda: {name: [0.0, 0.0, 0.0] for name in COUNTED})

    def add(self, name: str, three: Iterable[float]) -> None:
        """So much more of it, at least, likely and at most."""
        self.counted[name] = [one + more for one, more in zip(self.counted[name], three, strict=True)]

    def as_row(self, kind: str) -> dict[str, Any]:
        """As Postgres keeps it."""
        counted = {name: [round(one, 2) for one in three] for name, three in self.counted.items()}
        return {"kind": kind, "files": self.files, "listed_bytes": self.listed_bytes, "expected": counted}


@dataclass(frozen=True, slots=True)
class Pace:
    """What an installation has understood lately, and in how many seconds."""

    files: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def seconds_for(self, files: int, received: Three, units: Three) -> Three:
        """How long reading takes, by the pace, or by Drive's quotas where they are the slower."""
        if self.files >= 100 and self.seconds:
            by_files = files * self.seconds / self.files
            by_bytes = received[1] * self.seconds / self.bytes if self.bytes else 0.0
            usual = max(by_files, by_bytes)
            taken = tuple(usual * times for times in PACE)
        else:
            taken = tuple(files / each for each in FILES_A_SECOND)
        bounds = zip(taken, received, units, strict=True)
        low, likely, high = (max(a, b / BYTES_A_SECOND, c / UNITS_A_SECOND) for a, b, c in bounds)
        return low, likely, high


_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
_PROSE: Three = (0.2, 0.25, 0.36)
_NONE: Three = (0.0, 0.0, 0.0)
_ONE_PAGE: Three = (1.0, 1.0, 1.0)

KINDS = (
    Kind(
        "text", "Text and Markdown",
        "txt text asc nfo readme license changelog authors copying md markdown mdown mkd mdx qmd rmd tex latex bib rst "
        "adoc asciidoc org textile wiki log out err trace srt vtt sbv ass ics ical vcf vcard",
        "text/plain text/markdown text/x-markdown application/x-tex text/x-tex text/x-rst text/x-log text/* "
        "application/x-subrip text/vtt text/calendar text/vcard text/x-vcard",
        tokens=_PROSE,
    ),
    Kind(
        "code", "Code and settings",
        "yaml yml toml ini cfg conf properties env editorconfig py pyi js mjs cjs ts tsx jsx java kt kts scala groovy "
        "c h cc cpp cxx hpp hh cs go rs rb php pl pm lua r jl swift m mm sh bash zsh fish ps1 bat cmd sql hs lhs ml "
        "mli fs fsx clj cljs ex exs erl hrl elm dart vue svelte css scss sass less graphql gql proto thrift tf tfvars "
        "hcl gradle cmake mk makefile dockerfile gitignore asm s f90 f for pas vb vbs nim zig sol v sv vhd vhdl tcl "
        "awk sed el lisp scm rkt diff patch bzl bazel nix",
        "application/yaml text/yaml application/x-yaml application/toml text/javascript application/javascript "
        "application/x-sh text/x-python text/x-script.python text/css application/sql",
        tokens=(0.22, 0.25, 0.4), named=(0.002, 0.015, 0.2),
    ),
    Kind(
        "tables", "Tables and records as text",
        "csv tsv tab json jsonl ndjson geojson json5 jsonc har webmanifest xml xsd xsl xslt rss atom kml gpx plist xlf "
        "opml dtd",
        "text/csv text/tab-separated-values application/json application/x-ndjson application/geo+json application/xml "
        "text/xml application/rss+xml application/atom+xml",
        tokens=(0.22, 0.25, 0.5), named=(0.005, 0.08, 0.5),
    ),
    Kind(
        "web", "Web pages",
        "html htm xhtml svg ipynb",
        "text/html application/xhtml+xml image/svg+xml application/x-ipynb+json application/vnd.jupyter",
        tokens=(0.02, 0.12, 0.25),
    ),
    Kind(
        "mail", "Mail",
        "eml mht mhtml mbox",
        "message/rfc822 multipart/related application/x-mimearchive application/mbox",
        tokens=(0.01, 0.05, 0.25), named=(0.05, 0.3, 0.8), pages=(0.0, 0.3, 3.0), page_tokens=(0, 40, 900),
    ),
    Kind(
        "word", "Documents of word processors",
        "docx docm dotx dotm odt ott",
        f"{_OFFICE}wordprocessingml.document {_OFFICE}wordprocessingml.template {_OPEN}text {_OPEN}text-template "
        "application/vnd.ms-word.document.macroEnabled.12 application/vnd.ms-word.template.macroEnabled.12",
        tokens=(0.2, 0.5, 0.75), wrappings=(2_500, 7_000, 10_300, 13_000, 35_000, 36_600),
        dense=(4_000, 6_000, 300_000), blocks=True,
    ),
    Kind(
        "book", "Books and rich text",
        "epub rtf", "application/epub+zip application/rtf text/rtf text/richtext",
        tokens=(0.02, 0.3, 0.7), wrappings=(0, 1_000, 3_000), dense=(2_000_000,) * 3, blocks=True,
    ),
    Kind(
        "sheet", "Workbooks",
        "xlsx xlsm xltx xltm xlsb xls xlt ods ots",
        f"{_OFFICE}spreadsheetml.sheet {_OFFICE}spreadsheetml.template {_OPEN}spreadsheet {_OPEN}spreadsheet-template "
        "application/vnd.ms-excel.sheet.macroEnabled.12 application/vnd.ms-excel.template.macroEnabled.12 "
        "application/vnd.ms-excel application/vnd.ms-excel.sheet.binary.macroEnabled.12",
        tokens=(0.1, 0.27, 1.2), wrappings=(1_500, 4_900, 5_900, 8_500), named=(0.02, 0.2, 0.6), blocks=True,
    ),
    Kind(
        "slides", "Presentations and drawings",
        "pptx pptm ppsx ppsm potx potm odp otp odg otg",
        f"{_OFFICE}presentationml.presentation {_OFFICE}presentationml.slideshow {_OFFICE}presentationml.template "
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12 "
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.12 "
        "application/vnd.ms-powerpoint.template.macroEnabled.12 "
        f"{_OPEN}presentation {_OPEN}presentation-template {_OPEN}graphics {_OPEN}graphics-template",
        tokens=(0.005, 0.03, 0.2), wrappings=(1_000, 20_000, 28_000), dense=(20_000, 30_000, 500_000), blocks=True,
    ),
    Kind(
        "pdf", "PDF",
        "pdf", "application/pdf",
        tokens=(0.0, 0.02, 0.15), wrappings=(300, 10_000, 50_000), dense=(2_000_000,) * 3,
        pages=(0.0, 0.3, 1.0), page_bytes=(inf, 1_000_000, 40_000), page_tokens=(50, 400, 900), blocks=True,
    ),
    Kind(
        "image", "Pictures to recognise",
        "png jpg jpeg jpe jfif gif bmp webp tif tiff", "image/png image/jpeg image/gif image/bmp image/webp image/tiff",
        pages=_ONE_PAGE, page_tokens=(0, 40, 600),
    ),
    Kind(
        "archive", "Archives and packed files",
        "zip tar gz tgz bz2 tbz2 tbz xz txz",
        "application/zip application/x-zip-compressed application/x-tar application/tar application/gzip "
        "application/x-gzip application/x-bzip2 application/x-bzip application/x-xz",
        tokens=(0.0, 0.6, 1.2), wrappings=(0, 200, 500), dense=(0, 15_000, 20_000_000), blocks=True,
        pages=(0.0, 0.5, 10.0), page_tokens=(0, 40, 900),
    ),
    Kind("document", "Google Docs", types=DOCUMENT, tokens=_PROSE, stands_for=6_000),
    Kind(
        "spreadsheet", "Google Sheets", types=SPREADSHEET, tokens=(0.1, 0.25, 1.5), named=(0.02, 0.2, 0.6),
        stands_for=5_000, adds=(1_000, 5_000, 10_000),
    ),
    Kind(
        "presentation", "Google Slides", types=PRESENTATION, tokens=(0.02, 0.25, 0.36), stands_for=5_000,
        adds=(2_000, 20_000, 60_000),
    ),
    Kind("drawing", "Google Drawings", types=DRAWING, tokens=(0.0, 0.05, 0.2), stands_for=2_000),
    Kind(
        "opaque", "Files of kinds that hold no text",
        "doc dot ppt pps pot msg pub vsd mpp odf odb odc odm gpg pgp age kdbx p7m mobi azw azw3 kfx djvu djv ps eps ai "
        "dwg pages numbers key heic heif avif jp2 jxl psd raw cr2 cr3 nef dng arw ico mp3 m4a wav ogg oga flac aac wma "
        "opus mid mp4 mov avi mkv webm wmv m4v mpg mpeg 7z rar zst lz4 lzma cab iso dmg exe dll so dylib class jar apk "
        "wasm msi o a pyc ttf otf woff woff2 eot sqlite sqlite3 db parquet mdb accdb bin dat",
        "image/* audio/* video/* font/* application/msword application/vnd.ms-powerpoint application/vnd.ms-outlook "
        "application/pgp-encrypted application/pkcs7-mime application/x-mobipocket-ebook application/vnd.amazon.ebook "
        "application/postscript application/acad application/x-7z-compressed application/vnd.rar "
        "application/x-rar-compressed application/zstd application/x-msdownload application/java-archive "
        "application/vnd.android.package-archive application/vnd.sqlite3 image/vnd.djvu image/vnd.dwg",
        most=WINDOW, skipped="They hold no text, or none that is read; each is looked at, since names may be wrong.",
    ),
    # Whether it is text is seen when it is read.
    Kind("unknown", "Files of an unknown kind", tokens=(0.0, 0.2, 0.36), received=(0.0, 1.0, 1.0)),
    Kind("empty", "Empty files", downloads=_NONE, skipped="There is nothing in them."),
    Kind("outside", "Outside the selected folders", skipped="They lie outside the folders that you selected."),
    Kind("closed", "Not to be downloaded", skipped="Their owners do not allow you to download them."),
    Kind(
        "pointer", "Forms, sites, shortcuts",
        skipped="Drive has no text of them; what a shortcut leads to is read by itself.",
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
_UNTOUCHED = frozenset({"outside", "closed", "pointer"})  # nothing is downloaded, and nothing counted
_BY_ENDING = {ending: kind for kind in KINDS for ending in kind.endings.split()}
_BY_TYPE = {mime_type.lower(): kind for kind in KINDS for mime_type in kind.types.split()}


def kind_of(mime_type: str, ending: str) -> Kind:
    """What a file is taken for by its name and by the type that Drive states, as the readers take it before they have
    seen it."""
    plain = mime_type.split(";")[0].strip().lower()
    if plain.startswith("application/vnd.google-apps."):
        return _BY_TYPE.get(plain, BY_NAME["pointer"])
    family = plain.split("/")[0] + "/*"
    return _BY_ENDING.get(ending) or _BY_TYPE.get(plain) or _BY_TYPE.get(family) or BY_NAME["unknown"]


def forecast(
    listed: Iterable[Some], pace: Pace, *, entities: float = 1.0, kinds: Mapping[str, Kind] = BY_NAME
) -> dict[str, Expected]:
    """What is expected of each kind. `entities` is the share of texts in which names are looked for, `kinds` what an
    installation has learnt of them."""
    found: defaultdict[str, Expected] = defaultdict(Expected)
    for some in listed:
        kind = kinds[_kind(some).name]
        expected = found[kind.name]
        expected.files += some.files
        expected.listed_bytes += some.bytes
        if kind.name not in _UNTOUCHED:
            _expect(expected, kind, some, entities)
    for expected in found.values():
        units, received = (_three(expected.counted[name]) for name in ("drive_units", "drive_bytes"))
        if units[2]:
            expected.add("seconds", pace.seconds_for(expected.files, received, units))
    return dict(found)


def learnt(read: Iterable[Read]) -> dict[str, Kind]:
    """The kinds, as they are told and as this installation has found them: the more it has read of one, the more that
    counts. How much a model names of a text is also learnt from all kinds together, where few files of one were read.
    """
    told: defaultdict[str, _Told] = defaultdict(_Told)
    for one in read:
        kind = kind_of(one.mime_type, one.ending)
        if not kind.skipped:
            told[kind.name].add(kind, one)
            told[""].add(kind, one)
    return {name: _learnt(kind, told[name], told[""]) for name, kind in BY_NAME.items()}


def share(said: str) -> float:
    """The setting ENTITIES as a share of 1."""
    chosen = said.strip().lower()
    return {"on": 1.0, "off": 0.0}[chosen] if chosen in ("on", "off") else float(chosen)


def _kind(some: Some) -> Kind:
    kind = kind_of(some.mime_type, some.ending)
    if some.outside:
        return BY_NAME["outside"]
    if kind.name == "pointer" or some.mime_type == SHORTCUT:
        return BY_NAME["pointer"]
    if some.closed:
        return BY_NAME["closed"]
    return BY_NAME["empty"] if some.empty and not some.unsized else kind


def _expect(expected: Expected, kind: Kind, some: Some, entities: float) -> None:
    """Add what files of about one size cost: each as the mean of them."""
    files, size = some.files, kind.stands_for if some.unsized else some.bytes / some.files
    fresh = some.fresh / some.files
    blocks = kind.blocks and size > HELD
    downloads = (2.0, size / HELD + 1, size / WINDOW + 2) if blocks else kind.downloads
    received = (0.05, 0.6, 1.2) if blocks else kind.received
    expected.add("drive_units", (files * (ASK_UNITS + DOWNLOAD_UNITS * each) for each in downloads))
    parts = zip(received, kind.adds, strict=True)
    expected.add("drive_bytes", (files * (min(size, kind.most) * each + more) for each, more in parts))
    pages = [files * (each + size / per) for each, per in zip(kind.pages, kind.page_bytes, strict=True)]
    expected.add("ocr_pages", pages)
    content = _content(kind, size)
    for at in range(3):
        text = files * kind.tokens[at] * content[at] + pages[at] * kind.page_tokens[at]
        requests = max(files, text / REQUEST_TOKENS) if kind.tokens[at] else pages[at]
        asked = entities * (text * AROUND + requests * INSTRUCTION_TOKENS) if text else 0.0
        named = entities * text * kind.named[at]
        amounts = (text * fresh, asked, named)
        for name, amount in zip(("embedded_tokens", "model_input_tokens", "model_output_tokens"), amounts, strict=True):
            expected.counted[name][at] += amount


def _content(kind: Kind, size: float) -> Three:
    """How many bytes of a file are its content. Who made it is guessed by its size: the less would be left behind a
    maker's wrapping, the likelier is that maker, since more files hold little than much."""
    left = [size - wrapping for wrapping in kind.wrappings if wrapping < size] or [size * 0.02]
    odds = [(each + FEW) ** -1.5 for each in left]
    likely = sum(each * odd for each, odd in zip(left, odds, strict=True)) / sum(odds)
    whole = (min(left), likely, max(left))
    low, middle, high = (
        min(each, dense) + thin * max(0.0, each - dense)
        for each, dense, thin in zip(whole, kind.dense, THIN, strict=True)
    )
    return low, middle, high


@dataclass(slots=True)
class _Told:
    """What reading some files took, beside what was to be expected."""

    files: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    expected: Expected = field(default_factory=Expected)

    def add(self, kind: Kind, read: Read) -> None:
        self.files += read.files
        _expect(self.expected, kind, Some(kind.name, "", read.files, read.bytes, read.fresh), 1.0)
        self.taken.update({name: getattr(read, name) for name in _LEARNT})

    def times(self, name: str) -> float:
        """How many times what was likely has come."""
        likely = self.expected.counted[name][1]
        return self.taken[name] / likely if likely else 1.0


def _learnt(kind: Kind, told: _Told, everything: _Told) -> Kind:
    tokens, pages, named = kind.tokens, kind.page_tokens, kind.named
    if told.files >= FEWEST_READ:
        times = told.times("embedded_tokens")
        tokens, pages = (_blend(three, times, told.files) for three in (tokens, pages))
    by = told if told.files >= FEWEST_READ else everything
    if by.files >= FEWEST_READ and by.taken["model_input_tokens"]:
        times = by.times("model_output_tokens") * by.expected.counted["model_input_tokens"][1]
        named = _blend(named, times / by.taken["model_input_tokens"], by.files)
    return replace(kind, tokens=tokens, page_tokens=pages, named=named)


def _blend(said: Three, times: float, files: int) -> Three:
    """What is likely moves to what was found, which is so many `times` of it, by the weight of the files; the ends draw
    near to it by half of that, and hold both."""
    low, likely, high = said
    if not likely:
        return said
    found = likely * min(max(times, 1 / FURTHEST), FURTHEST)
    weight = files / (files + AS_MUCH_AS)
    blended = likely * (found / likely) ** weight
    least, most = (blended * (end / likely) ** (1 - weight / 2) for end in (low, high))
    return min(least, likely, found), blended, max(most, likely, found)


def _three(numbers: list[float]) -> Three:
    low, likely, high = numbers
    return low, likely, high
