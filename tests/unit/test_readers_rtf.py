"""Rich text: what people wrote, without what their word processors wrote about it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Text, Truncated
from shared.readers import BytesSource, read

ROOT = Path(__file__).parents[2]


def texts(content: str, name: str = "a.rtf", window: int = 2 << 20) -> list[tuple[str, dict[str, object]]]:
    source = BytesSource(content.encode("latin-1"), name, window_bytes=window)
    return [(part.text, part.locator.as_json()) for part in read(source) if isinstance(part, Text)]


def text(content: str) -> str:
    return "".join(piece for piece, _ in texts(r"{\rtf1\ansi\ansicpg1252 " + content + "}"))


def test_headings_tables_notes_and_margins_have_their_places() -> None:
    """By outline level or by the style's name, as Word and others say it."""
    found = texts(
        r"{\rtf1\ansi{\fonttbl{\f0\fswiss Arial;}}{\colortbl;\red0;}{\*\generator Pen 1.0;}{\info{\title no}}"
        r"{\stylesheet{\s0 Normal;}{\s1\qc heading 1;}{\*\cs10 Default;}{\s7{\*\keyname x}Heading 2;}}"
        r"{\header\pard the head\par}"
        r"\pard\s1 Chapter\par\pard Fish & chips{\footnote\pard a note}, please\par"
        r"\pard\s7 Detail\par"
        r"\trowd\pard\intbl a\par b\cell c\cell\row\trowd\pard\intbl d\cell e\cell\row"
        r"\pard\outlinelevel0 Next\par\pard the end{\*\annotation\pard a remark}"
        r"{\field{\*\fldinst HYPERLINK x}{\fldrslt here}}{\pict 89504e47\par 0d0a}{\*\unknown{not} this}\par}"
    )

    assert found == [
        ("the head\n\n", {"part": "header"}),
        ("a note\n\n", {"heading": "Chapter", "part": "footnotes"}),
        ("Chapter\n\nFish & chips, please\n\n", {"heading": "Chapter"}),
        ("Detail\n\na b\tc\nd\te\n", {"heading": "Chapter > Detail"}),
        ("a remark\n\n", {"heading": "Next", "part": "comments"}),
        ("Next\n\nthe endhere\n\n", {"heading": "Next"}),
    ] or found == [
        ("the head\n\n", {"part": "header"}),
        ("Chapter\n\n", {"heading": "Chapter"}),
        ("a note\n\n", {"heading": "Chapter", "part": "footnotes"}),
        ("Fish & chips, please\n\n", {"heading": "Chapter"}),
        ("Detail\n\na b\tc\nd\te\n", {"heading": "Chapter > Detail"}),
        ("Next\n\n", {"heading": "Next"}),
        ("a remark\n\n", {"heading": "Next", "part": "comments"}),
        ("the endhere\n\n", {"heading": "Next"}),
    ]


CHARACTERS = [
    (r"F\'fc\'dfe", "Füße"),
    (r"\u8220?quoted\u8221? \u-10179?\u-8704?", "“quoted” 😀"),
    (r"\uc2\u8364\'80\'80 \uc0\u8364 5\uc1\u8364?.", "€ €5€."),
    (r"{\uc3\u8364 abc}\u8364 xy", "€€y"),
    (r"a\~b\_c\-d \{e\} \\ \emdash\bullet f", "a\u00a0b-cd {e} \\ —•f"),
    (r"one\line two\tab three", "one\ntwo\tthree"),
    (r"{\fonttbl{\f3\fcharset204 x;}}\f3 \'cf\'f0\'e8\'e2\'e5\'f2{\plain\'fc}", "Приветü"),
    (r"{\fonttbl\f0\fnil\fcharset128 Mincho;}\f0\'93\'fa\'96\'7b\'8c\'ea", "日本語"),
    ("\\ansicpg1250 \\'b3\\'f3d\\'9f", "łódź"),
    ("brok\r\nen li\nnes", "broken lines"),
    (r"{\upr{plain}{\*\ud{\u1055?}}}", "plain"),
    (r"{\pict\bin9 }}}{{{\\\x after}b", "b"),
    (r"\bin3 }}}rest", "rest"),
    (r"{\*\shpinst\shpleft1{\sp{\sn x}{\sv 1}}{\shptxt in a box}}", "in a box"),
]


@pytest.mark.parametrize(("content", "said"), CHARACTERS, ids=[row[1][:12] for row in CHARACTERS])
def test_characters_are_what_their_writer_saw(content: str, said: str) -> None:
    """Code pages of fonts, Unicode with stand-ins, escapes: thirty years of ways to write a letter."""
    assert text(content) == said + "\n\n"


def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    """A control word that falls between two windows is one word."""
    content = (
        r"{\rtf1{\fonttbl{\f1\fcharset204 x;}}" + r"\f1 \'cf\u1088?\par {\*\x no}\pard\outlinelevel1 H\par " * 900 + "}"
    )
    whole = texts(content)

    assert all(texts(content, window=window) == whole for window in (1, 7, 64, 65))


def test_what_only_is_named_like_a_rich_text_is_read_as_text() -> None:
    """The bytes do not lie."""
    assert texts("just words\n", "a.rtf")[0][0] == "just words\n"
    assert texts(r"{\rtf1 words}", "a.doc")[0][0] == "words\n\n"


def test_a_torn_file_keeps_its_beginning_and_says_so() -> None:
    """An upload that broke off is still worth searching, up to there."""
    found = list(read(BytesSource(rb"{\rtf1 {\b words\par more", "a.rtf")))

    assert [type(part) for part in found] == [Text, Truncated]


def test_deep_groups_are_refused() -> None:
    """Each open group is memory."""
    with pytest.raises(Skipped) as caught:
        texts(r"{\rtf1 x" + "{" * 300)

    assert caught.value.code == "too_deep"


HOSTILE = {
    "hex": r"\'e4" * 200_000,
    "groups": "{}" * 250_000,
    "words": r"\f" * 250_000,
    "unicode": r"\u8364" * 90_000,
    "styles": r"{\stylesheet" + "".join(rf"{{\s{n} heading 1;}}" for n in range(30_000)) + "}",
    "fonts": r"{\fonttbl" + "".join(rf"{{\f{n}\fcharset204 x;}}" for n in range(30_000)) + "}",
    "notes": r"{\footnote x}" * 50_000,
    "one run": "x" * 2_000_000,
    "backslashes": "\\" * 2_000_000,
    "numbers": r"\fs" + "9" * 2_000_000,
    "letters": "\\" + "a" * 2_000_000,
    "binary": r"\bin999999999 " + "x" * 2_000_000,
    "cells": r"\intbl x\cell" * 50_000,
}
MEASURE = """
import resource, sys
from shared.readers import BytesSource, read
from tests.unit.test_readers_rtf import HOSTILE
content = (r"{\\rtf1 " + HOSTILE[sys.argv[1]] + "}").encode("latin-1")
try:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for part in read(BytesSource(content, "a.rtf")):
        pass
except Exception as fault:
    assert type(fault).__name__ == "Skipped", fault
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_no_rich_text_takes_long_or_much(name: str) -> None:
    """Half a megabyte of anything or more: seconds, and memory for a paragraph."""
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, name], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    assert int(ran.stdout) < 16 * 1024
    assert time.monotonic() - began < 60
