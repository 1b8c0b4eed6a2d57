"""The formats, one row each: what is read, by whom, and what a person is told where nothing is read.

A new format is one function and one row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from shared.domain.files import TABS
from shared.domain.parts import Part, State
from shared.readers.cards import read_cards
from shared.readers.drawing import read_svg
from shared.readers.epub import read_epub
from shared.readers.images import read_image, read_tiff
from shared.readers.limits import Limits
from shared.readers.mail import read_mail, read_mailbox
from shared.readers.markup import read_html
from shared.readers.notebook import read_notebook
from shared.readers.odf import read_odp, read_ods, read_odt
from shared.readers.pdf import read_pdf
from shared.readers.rtf import read_rtf
from shared.readers.sheets import read_xlsx
from shared.readers.slides import read_pptx
from shared.readers.source import Source
from shared.readers.table import read_table
from shared.readers.tabs import read_tabs
from shared.readers.tape import read_tar
from shared.readers.text import read_markdown, read_plain
from shared.readers.unpack import read_packed
from shared.readers.unzip import read_zip
from shared.readers.word import read_docx
from shared.readers.workbook import read_workbook

Reader = Callable[[Source, Limits, State], Iterator[Part]]
Needs = Literal["stream", "seek", "child", "nothing"]


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file. `docs/formats.md` is made of these rows.

    `needs` says how it is read: as one stream, by seeking, in a child process, or not at all; then `how` is the
    sentence that the person is shown, and `code` its stable name.
    """

    kind: str
    title: str
    extensions: str
    mime_types: str
    needs: Needs
    read: Reader | None
    locator: str
    bound: str
    how: str
    code: str = "unsupported"


def _text(kind: str, title: str, extensions: str, mime_types: str, how: str = "") -> Format:
    how = how or "Decoded as it streams, cut at paragraphs, lines, sentences."
    return Format(kind, title, extensions, mime_types, "stream", read_plain, "bytes, lines", "text", how)


def _no(kind: str, title: str, extensions: str, mime_types: str, why: str, code: str = "unsupported") -> Format:
    return Format(kind, title, extensions, mime_types, "nothing", None, "", "", why, code)


def _image(kind: str, title: str, extensions: str) -> Format:
    how = "For recognition as it is; above 2 MiB made smaller, in grey, in a child process."
    return Format(
        kind, title, extensions, f"image/{kind}", "child", read_image, "the file", "40 million points", how, "image"
    )


def _packed(kind: str, title: str, extensions: str, mime_types: str) -> Format:
    how = "Unpacked as it streams, and read as what it is; of a packed TAR archive its files."
    place, bound = "name of the file in it, and the place in that", "unpacked bytes, ratio, one level"
    return Format(kind, title, extensions, mime_types, "stream", read_packed, place, bound, how)


_CODE = (
    "py pyi js mjs cjs ts tsx jsx java kt kts scala groovy c h cc cpp cxx hpp hh cs go rs rb php pl pm lua r jl swift "
    "m mm sh bash zsh fish ps1 bat cmd sql hs lhs ml mli fs fsx clj cljs ex exs erl hrl elm dart vue svelte css scss "
    "sass less graphql gql proto thrift tf tfvars hcl gradle cmake mk makefile dockerfile gitignore asm s f90 f for "
    "pas vb vbs nim zig sol v sv vhd vhdl tcl awk sed el lisp scm rkt diff patch bzl bazel nix"
)
_UNPACKED = "unpacked bytes, ratio, XML depth and names"
_OPEN = "application/vnd.oasis.opendocument."
_OFFICE = "application/vnd.openxmlformats-officedocument."

FORMATS: tuple[Format, ...] = (
    _text("text", "Plain text", "txt text asc nfo readme license changelog authors copying", "text/plain"),
    Format(
        "markdown",
        "Markdown",
        "md markdown mdown mkd mdx qmd rmd",
        "text/markdown text/x-markdown",
        "stream",
        read_markdown,
        "bytes, lines, headings",
        "text",
        "Decoded as it streams, cut at headings and paragraphs.",
    ),
    Format(
        "csv",
        "CSV table",
        "csv tsv tab",
        "text/csv text/tab-separated-values",
        "stream",
        read_table,
        "bytes, lines, rows",
        "text, one row",
        "Decoded as it streams, cut behind whole rows.",
    ),
    _text(
        "json", "JSON", "json jsonl ndjson geojson json5 jsonc har webmanifest", "application/json application/x-ndjson"
    ),
    _text(
        "yaml",
        "YAML, TOML, INI",
        "yaml yml toml ini cfg conf properties env editorconfig",
        "application/yaml text/yaml application/x-yaml application/toml",
    ),
    _text(
        "xml",
        "XML",
        "xml xsd xsl xslt rss atom kml gpx plist xlf opml dtd",
        "application/xml text/xml application/rss+xml application/atom+xml",
    ),
    _text(
        "code",
        "Source code",
        _CODE,
        "text/javascript application/javascript application/x-sh text/x-python "
        "text/x-script.python text/css application/sql",
    ),
    _text("log", "Log", "log out err trace", "text/x-log"),
    _text(
        "prose",
        "TeX, reStructuredText, AsciiDoc, Org",
        "tex latex bib rst adoc asciidoc org textile wiki",
        "application/x-tex text/x-tex text/x-rst",
    ),
    _text("subtitles", "Subtitles", "srt vtt sbv ass", "application/x-subrip text/vtt"),
    Format(
        "card",
        "Calendar and contacts",
        "ics ical vcf vcard",
        "text/calendar text/vcard text/x-vcard",
        "stream",
        read_cards,
        "bytes, lines, the event or the contact",
        "text",
        "Event by event, contact by contact, with their lines unfolded and their values decoded.",
    ),
    Format(
        "html",
        "Web page",
        "html htm xhtml",
        "text/html application/xhtml+xml",
        "stream",
        read_html,
        "headings",
        "text",
        "Parsed as it streams; scripts and styles are left out.",
    ),
    Format(
        "notebook",
        "Jupyter notebook",
        "ipynb",
        "application/x-ipynb+json application/vnd.jupyter",
        "stream",
        read_notebook,
        "cell",
        "8 MB, a larger one is read as JSON",
        "Cells in order, with the text they print.",
    ),
    Format(
        "docx",
        "Word document",
        "docx docm dotx dotm",
        f"{_OFFICE}wordprocessingml.document {_OFFICE}wordprocessingml.template "
        "application/vnd.ms-word.document.macroEnabled.12 application/vnd.ms-word.template.macroEnabled.12",
        "seek",
        read_docx,
        "headings, or the name of the side text",
        _UNPACKED,
        "Unpacked and parsed as it streams: body, tables, notes, comments, headers, footers.",
    ),
    Format(
        "xlsx",
        "Excel workbook",
        "xlsx xlsm xltx xltm",
        f"{_OFFICE}spreadsheetml.sheet {_OFFICE}spreadsheetml.template "
        "application/vnd.ms-excel.sheet.macroEnabled.12 application/vnd.ms-excel.template.macroEnabled.12",
        "seek",
        read_xlsx,
        "sheet, rows",
        _UNPACKED,
        "Row by row; shared texts are reached through checkpoints of the unpacking.",
    ),
    Format(
        "tabs",
        "Google Sheet that no export holds",
        "gsheet-tabs",
        TABS,
        "stream",
        read_tabs,
        "sheet, rows",
        "text; 10 MB for one row",
        "Asked for tab by tab and row by row at the Sheets API.",
    ),
    Format(
        "pptx",
        "PowerPoint presentation",
        "pptx pptm ppsx ppsm potx potm",
        f"{_OFFICE}presentationml.presentation {_OFFICE}presentationml.slideshow {_OFFICE}presentationml.template "
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12 "
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.12",
        "seek",
        read_pptx,
        "slide, notes",
        _UNPACKED,
        "Slide by slide in their order, each with its notes.",
    ),
    Format(
        "pdf",
        "PDF",
        "pdf",
        "application/pdf",
        "child",
        read_pdf,
        "page",
        "time and memory of the child process",
        "Page by page in a child process; pages without text become small PDFs for recognition.",
    ),
    _no("locked", "Locked Office document", "", "", "The document is protected with a password.", "encrypted"),
    Format(
        "odt",
        "OpenDocument text",
        "odt ott",
        _OPEN + "text " + _OPEN + "text-template",
        "seek",
        read_odt,
        "headings, or the name of the side text",
        _UNPACKED,
        "Unpacked and parsed as it streams: body, tables, notes, comments, headers, footers.",
    ),
    Format(
        "ods",
        "OpenDocument spreadsheet",
        "ods ots",
        _OPEN + "spreadsheet " + _OPEN + "spreadsheet-template",
        "seek",
        read_ods,
        "sheet, rows",
        _UNPACKED,
        "Row by row as it streams; rows that repeat are told once, with their numbers.",
    ),
    Format(
        "odp",
        "OpenDocument presentation, drawing",
        "odp otp odg otg",
        f"{_OPEN}presentation {_OPEN}presentation-template {_OPEN}graphics {_OPEN}graphics-template",
        "seek",
        read_odp,
        "slide, notes",
        _UNPACKED,
        "Slide by slide as it streams, each with its notes.",
    ),
    Format(
        "epub",
        "Electronic book",
        "epub",
        "application/epub+zip",
        "seek",
        read_epub,
        "chapter, headings",
        _UNPACKED,
        "Chapter by chapter in the order of reading, each as a web page.",
    ),
    Format(
        "rtf",
        "Rich text",
        "rtf",
        "application/rtf text/rtf text/richtext",
        "stream",
        read_rtf,
        "headings, or the name of the side text",
        "text, depth of groups",
        "Parsed as it streams; pictures and embedded objects are passed over.",
    ),
    Format(
        "svg",
        "SVG drawing",
        "svg",
        "image/svg+xml",
        "stream",
        read_svg,
        "title, description, or the drawing's title",
        "text",
        "Its words as it streams; scripts, styles and pictures are left out.",
    ),
    Format(
        "xls",
        "Old Excel workbook",
        "xls xlt",
        "application/vnd.ms-excel",
        "child",
        read_workbook,
        "sheet, rows",
        "20 MB; time and memory of the child process",
        "Held whole in a child process, told row by row.",
    ),
    Format(
        "xlsb",
        "Binary Excel workbook",
        "xlsb",
        "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
        "child",
        read_workbook,
        "sheet, rows",
        "20 MB; time and memory of the child process",
        "Held whole in a child process, told row by row.",
    ),
    _no(
        "doc",
        "Old Word document",
        "doc dot",
        "application/msword",
        "A Word document of before 2007 is not read; saved as DOCX, or opened as a Google document, it can be.",
    ),
    _no(
        "ppt",
        "Old PowerPoint presentation",
        "ppt pps pot",
        "application/vnd.ms-powerpoint",
        "A PowerPoint presentation of before 2007 is not read; saved as PPTX, or opened in Google Slides, it can be.",
    ),
    _no(
        "msg",
        "Outlook message",
        "msg",
        "application/vnd.ms-outlook",
        "A message saved by Outlook is not read; saved as EML it can be.",
    ),
    _no(
        "ole",
        "Other old Office document",
        "pub vsd mpp",
        "",
        "An Office document of before 2007 is not read; saved in a format of today it can be.",
    ),
    _no(
        "odf",
        "Other OpenDocument file",
        "odf odb odc odm",
        "",
        "An OpenDocument file of this kind holds formulas, charts or a database, no text that is read.",
    ),
    Format(
        "mail",
        "Mail, web page saved as one file",
        "eml mht mhtml",
        "message/rfc822 multipart/related application/x-mimearchive",
        "stream",
        read_mail,
        "attachment, and the place in it",
        "attachments: one level, 16 MB each where they are read from their middle",
        "Letterhead, text, and each attachment as what it is.",
    ),
    Format(
        "mailbox",
        "Mailbox",
        "mbox",
        "application/mbox",
        "stream",
        read_mailbox,
        "message, attachment, and the place in it",
        "attachments: one level, 16 MB each where they are read from their middle",
        "Message by message as it streams, each read like a saved mail.",
    ),
    _no(
        "drm",
        "Office document under rights management",
        "",
        "",
        "The document is protected by rights management; only the programs of those who may read it can open it.",
        "encrypted",
    ),
    _no(
        "sealed",
        "Encrypted file",
        "gpg pgp age kdbx p7m",
        "application/pgp-encrypted application/pkcs7-mime",
        "The file is encrypted.",
        "encrypted",
    ),
    _no(
        "kindle",
        "Kindle book",
        "mobi azw azw3 kfx",
        "application/x-mobipocket-ebook application/vnd.amazon.ebook",
        "A Kindle book is not read; as EPUB it can be.",
    ),
    _no("djvu", "DjVu document", "djvu djv", "image/vnd.djvu", "A DjVu document is not read; as PDF it can be."),
    _no(
        "postscript",
        "PostScript",
        "ps eps ai",
        "application/postscript",
        "A PostScript file is a program that draws; as PDF it can be read.",
    ),
    _no("cad", "CAD drawing", "dwg", "image/vnd.dwg application/acad", "A CAD drawing is not read; as PDF it can be."),
    _no(
        "iwork",
        "Apple iWork document",
        "pages numbers key",
        "",
        "An Apple Pages, Numbers or Keynote file is not read; exported as PDF it can be.",
    ),
    _image("png", "PNG image", "png"),
    _image("jpeg", "JPEG image", "jpg jpeg jpe jfif"),
    _image("gif", "GIF image", "gif"),
    _image("bmp", "BMP image", "bmp"),
    _image("webp", "WebP image", "webp"),
    Format(
        "tiff",
        "TIFF image",
        "tif tiff",
        "image/tiff",
        "child",
        read_tiff,
        "page",
        "40 million points a page; 10,000 pages",
        "Page by page, for recognition; a page above 2 MiB is made smaller in a child process.",
    ),
    _no(
        "picture",
        "Other image",
        "heic heif avif jp2 jxl psd raw cr2 cr3 nef dng arw ico",
        "image/*",
        "An image of a kind that text recognition does not take; saved as JPEG, PNG or PDF it can be read.",
        "image",
    ),
    _no(
        "audio",
        "Audio",
        "mp3 m4a wav ogg oga flac aac wma opus mid",
        "audio/*",
        "An audio file: it holds sound, no text.",
        "audio",
    ),
    _no(
        "video",
        "Video",
        "mp4 mov avi mkv webm wmv m4v mpg mpeg",
        "video/*",
        "A video: it holds pictures and sound, no text.",
        "video",
    ),
    Format(
        "zip",
        "ZIP archive",
        "zip",
        "application/zip application/x-zip-compressed",
        "seek",
        read_zip,
        "name of the file in it, and the place in that",
        "10,000 files, unpacked bytes, ratio, one level",
        "File by file, each read as what it is; archives within it are only named.",
    ),
    Format(
        "tar",
        "TAR archive",
        "tar",
        "application/x-tar application/tar",
        "stream",
        read_tar,
        "name of the file in it, and the place in that",
        "10,000 files, one level, 16 MB each where they are read from their middle",
        "File by file as it streams, each read as what it is; archives within it are only named.",
    ),
    _packed("gzip", "Packed file (gzip)", "gz tgz", "application/gzip application/x-gzip"),
    _packed("bzip2", "Packed file (bzip2)", "bz2 tbz2 tbz", "application/x-bzip2 application/x-bzip"),
    _packed("xz", "Packed file (xz)", "xz txz", "application/x-xz"),
    _no(
        "archive",
        "Archive",
        "7z rar zst lz4 lzma cab iso dmg",
        "application/x-7z-compressed application/vnd.rar application/x-rar-compressed application/zstd",
        "A packed archive of this kind is not read; as ZIP, or as TAR with gzip, bzip2 or xz, it can be.",
        "archive",
    ),
    _no(
        "program",
        "Program",
        "exe dll so dylib class jar apk wasm msi o a pyc",
        "application/x-msdownload application/java-archive application/vnd.android.package-archive",
        "A program: it holds code for machines, no text for people.",
        "program",
    ),
    _no("font", "Font", "ttf otf woff woff2 eot", "font/*", "A font: it holds the shapes of letters, no text.", "font"),
    _no(
        "database",
        "Database",
        "sqlite sqlite3 db parquet mdb accdb",
        "application/vnd.sqlite3",
        "A database file is not read.",
        "database",
    ),
    _no(
        "form",
        "Google Form",
        "",
        "application/vnd.google-apps.form",
        "A Google Form cannot be read through Drive.",
        "native",
    ),
    _no(
        "site",
        "Google Site",
        "",
        "application/vnd.google-apps.site",
        "A Google Site cannot be read through Drive.",
        "native",
    ),
    _no(
        "map",
        "Google My Map",
        "",
        "application/vnd.google-apps.map",
        "A Google map cannot be read through Drive.",
        "native",
    ),
    _no(
        "native",
        "Other Google file",
        "",
        "application/vnd.google-apps.*",
        "A Google file of a kind that Drive offers no text of.",
        "native",
    ),
    _no(
        "binary",
        "Unknown",
        "bin dat",
        "application/octet-stream",
        "The file is of a kind that holds no text, or none that is known here.",
    ),
)
