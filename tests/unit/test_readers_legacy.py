"""Old and binary Office files: workbooks are read in a child process, the rest says what could be done."""

from __future__ import annotations

import io
import os
import random
import struct
from pathlib import Path

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Text
from shared.readers import BytesSource, Limits, PathSource, read
from shared.readers import workbook as workbook_reader
from tests.unit import document_samples as make
from tests.unit import reader_samples

GOLDEN = Path(__file__).parents[1] / "golden" / "files"


def texts(content: bytes, name: str, limits: Limits | None = None) -> list[tuple[str, dict[str, object]]]:
    found = read(BytesSource(content, name), limits)
    return [(part.text, part.locator.as_json()) for part in found if isinstance(part, Text)]


def refused(content: bytes, name: str, limits: Limits | None = None) -> Skipped:
    with pytest.raises(Skipped) as caught:
        texts(content, name, limits)
    return caught.value


def ole(*streams: str, beyond: int = 0) -> bytes:
    """The header and the directory of an old Office document with these streams."""
    entries = b"".join(_entry(name) for name in ("Root Entry", *streams))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHH", 62, 3, 0xFFFE, 9) + bytes(16)
    header += struct.pack("<I", beyond)
    return header.ljust(512, b"\0") + bytes(beyond * 512) + entries.ljust(4096, b"\0")


def _entry(name: str) -> bytes:
    return name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<HB", 2 * len(name) + 2, 2) + bytes(61)


def test_a_binary_workbook_gives_its_rows() -> None:
    """Numbers as people see them; empty cells keep their place."""
    content = make.xlsb([["Place", "", "Otters"], [], ["Dunmere", "", 14.0], ["x" * 40_000, 0.1 + 0.2]])

    found = texts(content, "b.xlsb")

    assert found[0] == ("Place\t\tOtters\nDunmere\t\t14\n", {"sheet": "Bin", "row_first": 1, "row_last": 3})
    assert "".join(text for text, _ in found[1:]) == "x" * 40_000 + "\t0.3\n"
    assert {place["row_first"] for _, place in found[1:]} == {4}


def test_an_old_workbook_is_told_by_its_content() -> None:
    """Whatever it is called; and what only is called so is read as what it is."""
    content = (GOLDEN / "calc.xls").read_bytes()

    assert texts(content, "no name says it")[0][1]["sheet"] == texts(content, "a.doc")[0][1]["sheet"]
    assert texts(b"a\tb\n1\t2\n", "report.xls") == [
        ("a\tb\n1\t2\n", {"byte_start": 0, "byte_end": 8, "line_first": 1, "line_last": 2})
    ]


STREAMS = [
    ("WordDocument", "a.bin", "unsupported", "Word"),
    ("PowerPoint Document", "a.bin", "unsupported", "PowerPoint"),
    ("__properties_version1.0", "a.bin", "unsupported", "Outlook"),
    ("EncryptedPackage", "a.bin", "encrypted", "password"),
    ("\tDRMContent", "a.docx", "encrypted", "rights management"),
    ("Contents", "a.pub", "unsupported", "before 2007"),
    ("Contents", "a.docx", "encrypted", "password"),
]


@pytest.mark.parametrize(("stream", "name", "code", "said"), STREAMS)
@pytest.mark.parametrize("beyond", [0, 600])
def test_what_is_not_read_says_what_could_be_done(stream: str, name: str, code: str, said: str, beyond: int) -> None:
    """The directory may lie behind all else; the name may say nothing."""
    why = refused(ole("\x05SummaryInformation", stream, beyond=beyond), name)

    assert (why.code, said in why.reason) == (code, True)


def test_a_workbook_that_must_be_held_whole_must_be_small() -> None:
    """It is named with its bound, and with a way out."""
    why = refused(make.xlsb([["x" * 900]]), "big.xlsb", Limits(workbook_bytes=500))

    assert why.code == "too_large"
    assert "XLSX" in why.reason


def test_torn_and_damaged_workbooks_end_with_a_reason() -> None:
    """Native code reads them: whatever happens to it happens in the child."""
    whole = (GOLDEN / "calc.xls").read_bytes()
    binary = make.xlsb([["x", 1.0]] * 50)
    for content, name in ((whole, "a.xls"), (binary, "a.xlsb")):
        for size in (600, len(content) // 2, len(content) - 30):
            assert refused(content[:size], name).code in ("broken", "too_heavy", "no_text")


def test_cells_far_apart_do_not_take_the_function_along() -> None:
    """calamine makes room for every cell between the first and the last: thirty gigabytes of nothing."""
    far = bytearray(make.xlsb([["first", "x"], ["last", "y"]]))
    content = _far_apart(bytes(far))

    assert refused(content, "far.xlsb", Limits(child_memory_bytes=256 << 20)).code in ("too_heavy", "broken")
    assert texts(make.xlsb([["next"]]), "next.xlsb")


def _far_apart(content: bytes) -> bytes:
    import zipfile

    entries = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            entries[name] = archive.read(name)
    sheet = entries["xl/worksheets/sheet1.bin"]
    sheet = sheet.replace(struct.pack("<IIII", 0, 1, 0, 1), struct.pack("<IIII", 0, 1_048_575, 0, 16_383), 1)
    row = b"\x00\x11" + struct.pack("<I", 1)
    assert row in sheet
    sheet = sheet.replace(row, b"\x00\x11" + struct.pack("<I", 1_048_575), 1)
    last = struct.pack("<III", 1, 0, 1) + b"y"
    assert last in sheet
    entries["xl/worksheets/sheet1.bin"] = sheet.replace(last, struct.pack("<III", 16_383, 0, 1) + b"y", 1)
    return reader_samples.zipped(entries)


def test_no_child_stays_behind_a_workbook() -> None:
    """What a workbook took, its process would keep."""
    texts(make.xlsb([["x"]]), "a.xlsb")

    assert not workbook_reader._children.lent
    assert not workbook_reader._children.free


def test_noise_under_an_old_name_ends_in_a_state() -> None:
    """A header and nothing that belongs to it."""
    dice = random.Random(5)
    for seed in range(8):
        content = ole("Workbook") + dice.randbytes(2000 * seed)
        assert refused(content, "a.xls").code in ("broken", "too_heavy", "no_text")


def test_a_workbook_on_disk_reads_like_its_bytes(tmp_path: Path) -> None:
    """The child asks for blocks, wherever they lie."""
    content = make.xlsb([[f"row {n}", os.urandom(30).hex()] for n in range(9000)])
    (tmp_path / "a.xlsb").write_bytes(content)

    assert list(read(PathSource(tmp_path / "a.xlsb"))) == list(read(BytesSource(content, "a.xlsb")))
