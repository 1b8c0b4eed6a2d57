"""Which encoding some bytes are in: a mark decides, then proof, then statistics."""

from __future__ import annotations

import codecs
import re
from functools import cache

_SAMPLE = 65_536  # enough for the patterns; chardet gets all
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins with UTF-16's mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSETS = re.compile(
    "iso|latin|windows|cp|koi8|kz|mac|utf|us-?ascii|ascii|ansi|gb|big5|euc|shift|sjis|ks|johab|hz|tis"
)
# What a text says of itself: web pages, XML, style sheets, source code, TeX. Only at its beginning.
_HEAD = 4096
_SAYS = re.compile(
    rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w-]+)|\A<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([\w.-]+)"
    rb"|\A@charset\s+[\"']([\w-]+)|\A(?:[^\n]{0,200}\n)?[ \t]*#[^\n]{0,200}?coding[:=][ \t]*([\w.-]+)"
    rb"|\\usepackage\s*\[([\w-]+)\]\s*\{inputenc\}",
    re.IGNORECASE,
)
_SAME = b"azAZ09<>= \n"  # in ASCII and in nearly all that came after it
_OTHER_RUNS = re.compile("[^\x00-\x7f\ufffd]+")


def detect(sample: bytes, *, whole: bool) -> tuple[str, int, bool]:
    """Encoding, length of the byte order mark, and whether the sample proves it (plain ASCII proves nothing).

    A mark decides; then the zeros that UTF-16 and UTF-32 leave; then strict UTF-8; then what the text says of itself,
    where that can be; then chardet.
    """
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding, len(mark), True
    if encoding := wide(sample):
        return encoding, 0, True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, whole)
    except UnicodeDecodeError:
        likely = guess(sample)
        return likely if likely == "utf-8" else declared(sample) or likely, 0, True
    encoding = _escaped(sample)
    return encoding, 0, encoding != "utf-8" or not sample.isascii()


def wide(sample: bytes) -> str:
    """UTF-16 or UTF-32 without a mark, told by zeros on one side of each unit; empty for anything else."""
    sample = sample[: min(len(sample), _SAMPLE) // 4 * 4]
    units = len(sample) // 2
    if sample.count(0) < max(units // 100, 2):
        return ""
    for encoding in ("utf-32-le", "utf-32-be"):  # hardly anything else decodes: every fourth byte must be zero
        if _reads(sample, encoding):
            return encoding
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > even * 20:
        return "utf-16-le" if _reads(sample, "utf-16-le") else ""
    return "utf-16-be" if even > odd * 20 and _reads(sample, "utf-16-be") else ""


def guess(sample: bytes) -> str:
    """The likeliest encoding that has ASCII in it as it is. UTF-8 with little damage stays UTF-8."""
    text = sample.decode("utf-8", "replace")
    damage, other = text.count("\ufffd"), sum(map(len, _OTHER_RUNS.findall(text)))
    if damage * 20 < other or (damage == 1 and text.endswith("\ufffd") and other > 1):
        return "utf-8"
    import chardet  # 16 ms that most files do not need

    found = chardet.detect(sample)["encoding"] or "cp1252"
    try:
        encoding = codecs.lookup(found).name
    except LookupError:
        return "cp1252"
    return encoding if _legacy(encoding) else "cp1252"  # it believes a page that says EBCDIC


def declared(sample: bytes) -> str:
    """The encoding that a text states at its beginning; empty where it states none, or one that it is not in."""
    says = _SAYS.search(sample[:_HEAD])
    codec = known(says[says.lastindex or 0].decode("ascii")) if says else ""
    if not codec or not _legacy(codec):
        return ""
    text = sample.decode(codec, "replace")
    return codec if text.count("\ufffd") * 20 <= len(text) - len(text.encode("ascii", "ignore")) else ""


def known(charset: str) -> str:
    """Python's name of a charset that is one of text; empty for others. Python has codecs that are none, and slow
    ones. Who says Latin-1 means Windows' own, as every browser and mail program knows."""
    charset = charset.strip().strip("'\"").lower()
    if not _CHARSETS.match(charset):
        return ""
    try:
        codec = codecs.lookup(charset).name
    except (LookupError, ValueError):  # a NUL in the name
        return ""
    return "cp1252" if codec == "iso8859-1" else codec


@cache
def _legacy(codec: str) -> bool:
    """Whether this is an encoding of old that has ASCII in it as it is."""
    return not codec.startswith(("utf", "ascii")) and _SAME.decode(codec, "replace").encode() == _SAME


@cache
def single_byte(encoding: str) -> bool:
    """Whether every byte is one character, whatever stands before it."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for byte in range(256):
        decoder.reset()
        if len(decoder.decode(bytes([byte]))) != 1:  # the beginning of something
            return False
    return True


def _reads(sample: bytes, encoding: str) -> bool:
    """Whether the sample decodes, and to what people write."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return False
    return sum(map(len, _WRITTEN.findall(text))) > 0.9 * len(text)


_WRITTEN = re.compile(r"[\w\s!-/:-@\[-`{-~\u2010-\u203b\u20ac\u3000-\u303f\uff00-\uffef\U0001f000-\U0001faff]+")


def _escaped(sample: bytes) -> str:
    """ASCII with escape characters: a terminal's colours, or an ISO 2022 encoding of old mail."""
    if b"\x1b$" in sample:
        for encoding in ("iso2022_jp_2", "iso2022_kr"):
            try:
                codecs.getincrementaldecoder(encoding)().decode(sample)
            except UnicodeDecodeError:
                continue
            return encoding
    return "utf-8"
