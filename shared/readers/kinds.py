"""What kind of file this is: by what its beginning says, then by its name, and only then by the stated type."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.readers.encoding import wide
from shared.readers.tape import is_header

# Beginnings that only one kind of file has. A beginning that is plain letters counts only where zeros follow, as they
# do in every file of these kinds: a poem may begin with "BM" or "OTTO".
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"{\\rtf", "rtf"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (0, b"BM", "bmp"),
    (8, b"WEBP", "webp"),
    (8, b"WAVE", "audio"),
    (8, b"AVI ", "video"),
    (0, b"8BPS", "picture"),
    *((4, b"ftyp" + brand, "picture") for brand in (b"hei", b"hev", b"mif", b"msf", b"avi", b"crx")),  # HEIF, AVIF, CR3
    (0, b"\0\0\0\x0cjP  ", "picture"),  # JPEG 2000
    (0, b"\0\0\0\x0cJXL ", "picture"),
    (0, b"AT&TFORM", "djvu"),
    (4, b"ftypM4A", "audio"),
    (4, b"ftyp", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"\x00\x00\x01\xba", "video"),
    (0, b"ID3", "audio"),
    (0, b"\xff\xfb", "audio"),
    (0, b"\xff\xf3", "audio"),
    (0, b"OggS", "audio"),
    (0, b"fLaC", "audio"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "archive"),
    (0, b"Rar!\x1a\x07", "archive"),
    (0, b"(\xb5/\xfd", "archive"),
    (0, b"\x7fELF", "program"),
    (0, b"MZ", "program"),
    (0, b"\xca\xfe\xba\xbe", "program"),
    (0, b"\xcf\xfa\xed\xfe", "program"),
    (0, b"\x00asm", "program"),
    (0, b"wOFF", "font"),
    (0, b"wOF2", "font"),
    (0, b"OTTO", "font"),
    (0, b"\x00\x01\x00\x00\x00", "font"),
    (0, b"SQLite format 3\x00", "database"),
    (0, b"PAR1", "database"),
    (60, b"BOOKMOBI", "kindle"),
    (0, b"AC10", "cad"),
    (0, b"Salted__", "sealed"),  # OpenSSL
    (0, b"\x03\xd9\xa2\x9a", "sealed"),  # KeePass
)

# The main part of a zip that is a document, as its own table of contents states it.
_OFFICE = {
    b"wordprocessingml.document.main": "docx",
    b"wordprocessingml.template.main": "docx",
    b"word.template.macroEnabledTemplate.main": "docx",
    b"word.document.macroEnabled.main": "docx",
    b"spreadsheetml.sheet.main": "xlsx",
    b"spreadsheetml.template.main": "xlsx",
    b"excel.template.macroEnabled.main": "xlsx",
    b"excel.sheet.macroEnabled.main": "xlsx",
    b"sheet.binary.macroEnabled.main": "xlsb",
    b"presentationml.presentation.main": "pptx",
    b"presentationml.slideshow.main": "pptx",
    b"presentationml.template.main": "pptx",
    b"powerpoint.slideshow.macroEnabled.main": "pptx",
    b"powerpoint.template.macroEnabled.main": "pptx",
    b"powerpoint.presentation.macroEnabled.main": "pptx",
}
_MIMETYPES = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
    b"application/vnd.oasis.opendocument.presentation": "odp",
    b"application/vnd.oasis.opendocument.graphics": "odp",
    b"application/vnd.oasis.opendocument": "odf",
    b"application/epub+zip": "epub",
}
_IWORK = {"Index.zip", "index.apxl", "index.xml.gz", "QuickLook/Preview.pdf"}
# The streams that only one kind of old Office document has.
_STREAMS = {
    "\tDRMContent": "drm",
    "EncryptedPackage": "locked",
    "WordDocument": "doc",
    "PowerPoint Document": "ppt",
    "Workbook": "xls",
    "Book": "xls",
    "__properties_version1.0": "msg",
}
# Atomic groups: without them, many comments could be taken apart in more ways than there is time for.
_HTML = re.compile(
    rb"\s*+(?>(?><!--.{0,2000}?-->)\s*+)*+<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)")
_SVG = re.compile(
    rb"\s*+(?>(?><\?xml[^>]{0,200}\?>|<!--.{0,2000}?-->|<!DOCTYPE svg[^>\[]{0,400}>)\s*+)*+<svg[\s>]", re.DOTALL
)
_CARD = re.compile(rb"BEGIN:(?:VCALENDAR|VCARD)\r?\n", re.IGNORECASE)
_SEALED = re.compile(rb"-----BEGIN (?:PGP MESSAGE|ENCRYPTED)|age-encryption\.org/v1\n")
_POSTSCRIPT = re.compile(rb"%!PS-Adobe")
# A saved mail, or a web page saved as one: nothing but headers, two of those that a mail has among them.
_HEADERS = re.compile(rb"(?:[!-9;-~]{1,76}:[^\n]{0,998}\n(?:[ \t][^\n]{0,998}\n)*+){2,}+\r?\n")
_OF_MAIL = re.compile(
    rb"^(?:(from):|(date):|(message-id):|(received):|(mime-version):|(subject):|(content-type): multipart/)",
    re.IGNORECASE | re.MULTILINE,
)
_MAILBOX = re.compile(rb"From [^\n]{1,500}\d\d:\d\d[^\n]{0,500}\n[!-9;-~]{1,100}:")
_BEGINNINGS = (
    ("html", _HTML),
    ("svg", _SVG),
    ("card", _CARD),
    ("mailbox", _MAILBOX),
    ("sealed", _SEALED),
    ("postscript", _POSTSCRIPT),
)
_CONTROL = bytes(sorted({*range(32)} - {*b"\t\n\r\f\b\x1b"}))
_MUCH = 0.04  # of the beginning: more control characters than this is no text; noise has a tenth


def by_content(head: bytes) -> str | None:
    """The kind that a file's first bytes prove, `binary` for bytes that are no text of any encoding, else None."""
    if is_header(head[:512]):  # before all else: any other file may follow within the first bytes
        return "tar"
    if b"%PDF-" in head[:1024] and not head.startswith(b"PK"):  # an archive may begin with a PDF in it
        return "pdf"
    for at, signature, kind in _SIGNATURES:
        if head.startswith(signature, at) and (not signature.isascii() or b"\0" in head[:512] or kind == "rtf"):
            return kind
    if _BZIP2.match(head):
        return "bzip2"
    sample = head[:65_536]  # as much as `wide` looks at
    if sample.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) or wide(sample):
        return None  # UTF-16 or UTF-32: full of zeros, and text
    if len(sample) - len(sample.translate(None, _CONTROL)) > _MUCH * len(sample):
        return "binary"
    return next((kind for kind, begins in _BEGINNINGS if begins.match(head)), "mail" if _is_mail(head) else None)


def _is_mail(head: bytes) -> bool:
    headers = _HEADERS.match(head, 0, 16_384)
    found = {found.lastindex for found in _OF_MAIL.finditer(headers[0])} if headers else set()
    return len(found) >= 3 or found >= {5, 7}


def of_zip(names: Mapping[str, int] | set[str], content_types: bytes, mimetype: bytes) -> str:
    """The kind of a zip, by its entries' names, its `[Content_Types].xml` and its `mimetype`."""
    for stated, kind in _OFFICE.items():
        if stated in content_types:
            return kind
    for stated, kind in _MIMETYPES.items():
        if mimetype.startswith(stated):
            return kind
    if any(name.endswith(".iwa") or name in _IWORK for name in names):
        return "iwork"
    return "program" if {"META-INF/MANIFEST.MF", "AndroidManifest.xml"} & set(names) else "zip"


def of_ole(directory: bytes, named: str | None) -> str:
    """An old Office file, or a new one that is locked with a password, by the names in its directory: all look alike
    from outside."""
    for stream, kind in _STREAMS.items():
        if stream.encode("utf-16-le") + b"\0\0" in directory:
            return kind
    if named in ("docx", "xlsx", "pptx", "xlsb"):
        return "locked"
    return named if named and named in _STREAMS.values() else "ole"
