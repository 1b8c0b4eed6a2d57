"""PDF: text as people read it, however a program wrote it down, and no scan that hides behind a stamp."""

from __future__ import annotations

import hashlib
from itertools import chain

import pytest

from shared.domain.parts import Pages, Text
from tests.unit import reader_samples as make
from tests.unit.reader_checks import goes_on_exactly, parts, texts

LEFT = [(50.0, 700 - 10.0 * n, f"left line {n} tells of the otters") for n in range(20)]
RIGHT = [(330.0, 700 - 10.0 * n, f"right line {n} tells of the mills") for n in range(20)]
HEAD = (50.0, 740.0, "A heading that runs over both of the columns of this page from its left to its right edge")
FOOT = (50.0, 40.0, "A footnote that runs over both of the columns of this page from its left to its right edge")


def read_page(*placed: tuple[float, float, str]) -> list[str]:
    return texts(make.drawn_pdf(make.words_at(*placed)), "a.pdf")[0][0].split("\n")[:-2]


@pytest.mark.parametrize("order", ["across", "shuffled", "as read"])
def test_columns_are_read_one_behind_the_other(order: str) -> None:
    """Newspapers, papers, scans with a layer of text: many programs write line by line across the columns."""
    placed = {
        "across": [HEAD, *chain.from_iterable(zip(LEFT, RIGHT, strict=True)), FOOT],
        "shuffled": [FOOT, *chain.from_iterable(zip(RIGHT, LEFT, strict=True)), HEAD],
        "as read": [HEAD, *LEFT, *RIGHT, FOOT],
    }[order]

    assert read_page(*placed) == [text for _, _, text in (HEAD, *LEFT, *RIGHT, FOOT)]


def test_three_columns_with_a_heading_between_them() -> None:
    """What lies across the columns ends what stands above it."""
    columns = [
        [(40.0 + 180 * c, 700 - 14.0 * n, f"c{c} n{n} many otters and mills") for n in range(16)] for c in range(3)
    ]
    between = (
        40.0,
        700 - 14.0 * 8 + 7,
        "A heading over all three of the columns that goes on and on to the very end of it",
    )
    across = list(chain.from_iterable(zip(*columns, strict=True)))

    told = read_page(*across[:24], between, *across[24:])

    upper, lower = ([text for column in columns for _, _, text in column[a : a + 8]] for a in (0, 8))
    assert told == [*upper, between[2], *lower]


def test_lines_written_from_the_bottom_are_read_from_the_top() -> None:
    """Some programs draw so."""
    assert read_page(*reversed(LEFT)) == [text for _, _, text in LEFT]


def test_lines_that_nearly_touch_keep_their_letters() -> None:
    """A narrow page: the letters of one line reach into the next."""
    near = [(x, 400 - 6.0 * n, text) for n, (x, _, text) in enumerate(LEFT)]

    assert read_page(*reversed(near)) == [text for _, _, text in near]


def test_a_table_is_read_row_by_row() -> None:
    """Two columns that are none: who is to know which number belongs to which bridge?"""
    places = ["Dunmere", "The old mill at Halden", "Sill"]
    rows = [(places[n % 3], f"{n * 7} otters") for n in range(18)]
    placed = chain.from_iterable(
        ((50.0, 700 - 14.0 * n, a), (330.0, 700 - 14.0 * n, b)) for n, (a, b) in enumerate(rows)
    )

    told = " ".join(" ".join(read_page(*placed)).split())

    assert told == " ".join(f"{a} {b}" for a, b in rows)


STAMP = (50.0, 20.0, "Scanned by the office of mills, page 17 of 30")
WHOLE = b"q 612 0 0 792 0 0 cm /I Do Q\n"
STRIPS = b"".join(b"q 612 0 0 80 0 %d cm /I Do Q\n" % (n * 79) for n in range(10))
CORNER = b"q 200 0 0 200 300 500 cm /I Do Q\n"
LETTER = [(50.0, 700 - 14.0 * n, "a line of a letter that has a picture behind it") for n in range(9)]


@pytest.mark.parametrize(
    ("content", "form", "pages"),
    [
        (WHOLE + make.words_at(STAMP), b"", True),
        (STRIPS + make.words_at(STAMP), b"", True),
        (b"/X Do\n" + make.words_at(STAMP), WHOLE, True),
        (b"q 10 0 0 10 0 0 cm /X Do Q\n" + make.words_at(STAMP), b"q 61.2 0 0 79.2 0 0 cm /I Do Q\n", True),
        (STRIPS + make.words_at((50, 20, "17")), b"", True),
        (CORNER + make.words_at(STAMP), b"", False),
        (WHOLE + make.words_at(*LETTER), b"", False),
        (b"/X Do\n" + make.words_at(STAMP), CORNER.replace(b"200 0 0 200", b"20 0 0 20"), False),
    ],
    ids=["stamp", "strips", "in a form", "in a larger form", "number", "logo", "background", "small in a form"],
)
def test_a_scan_with_a_stamp_is_a_scan(content: bytes, form: bytes, pages: bool) -> None:
    """A scanner's own line on each page must not keep what is on the page from being recognised."""
    found = parts(make.drawn_pdf(content, form), "a.pdf")

    assert [type(part) for part in found] == [Pages if pages else Text]


def test_a_pdf_that_only_its_owner_locked_is_read() -> None:
    """Anybody may open it without a password; printing and the like are forbidden, reading is not."""
    content = locked("Otters are counted at night by lamp")

    assert texts(content, "a.pdf")[0][0] == "Otters are counted at night by lamp\n\n"
    goes_on_exactly(content, "a.pdf")


def locked(text: str) -> bytes:
    """A PDF under an owner's password, by the oldest rule (40 bits), which is short enough to write here."""
    pad = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
    name, allowed = b"C" * 16, -4
    owner = _rc4(hashlib.md5(b"owner" + pad[:27]).digest()[:5], pad)
    key = hashlib.md5(pad + owner + allowed.to_bytes(4, "little", signed=True) + name).digest()[:5]
    user = _rc4(key, pad)
    drawn = make.words_at((50, 700, text))
    packed = _rc4(hashlib.md5(key + b"\4\0\0\0\0").digest()[:10], drawn)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(packed), packed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P %d>>" % (owner.hex().encode(), user.hex().encode(), allowed),
    ]
    return make.document(objects, b"/Encrypt 6 0 R/ID[<%s><%s>]" % (name.hex().encode(), name.hex().encode()))


def _rc4(key: bytes, content: bytes) -> bytes:
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out = bytearray()
    i = j = 0
    for byte in content:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)
