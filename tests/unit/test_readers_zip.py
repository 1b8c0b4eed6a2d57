"""Archives: every file in them is read as what it is or has its reason, and no bomb goes off."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from shared.domain.errors import Skipped, Unavailable
from shared.domain.parts import Image, Pages, Text, Truncated
from shared.readers import BytesSource, Limits, read
from tests.unit import reader_samples as make
from tests.unit.reader_checks import (
    arrives_in_any_pieces,
    drained,
    goes_on_exactly,
    measured,
    mutations,
    parts,
    refused,
    texts,
)

DICE = random.Random(11)
NOISE = DICE.randbytes(60_000)


def mixed(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of what people pack together."""
    return make.zipped(
        {
            "notes/": "",
            "notes/plan.md": "# Plan\n\nfirst\n\n## Later\n\nsecond\n",
            "notes/résumé.txt": "words and words\n" * 2000,
            "song.mp3": b"ID3\0\0\0" + NOISE[:900],
            "table.csv": "a,b\n" + "1,2\n" * 3000,
            "letter.docx": make.docx(make.paragraph("Dear all", "Heading1") + make.paragraph("fish. " * 3000)),
            "scan.pdf": make.pdf(["sixteen letters and more", make.SCAN, make.SCAN, "the last of the pages"]),
            "older.zip": make.zipped({"x.txt": "y"}),
            "empty.txt": "",
            "noise": b"\1\2" + NOISE[:3000],
            "page.html": "<h1>T</h1><p>body</p>",
            "__MACOSX/._plan.md": b"\0\5\x16\7" + bytes(60),
            "end.log": "the end",
        },
        method,
    )


def test_an_archive_is_read_file_by_file() -> None:
    """What somebody packed is looked for by its words and by its name."""
    found = parts(mixed(), "all.zip")
    told = [(part.text, part.locator.as_json()) for part in found if isinstance(part, Text)]
    first = {str(place["part"]): (text, place) for text, place in reversed(told)}

    assert first["notes/plan.md"] == (
        "notes/plan.md\n\n# Plan\n\nfirst\n\n",
        {
            "byte_start": 0,
            "byte_end": 15,
            "line_first": 1,
            "line_last": 4,
            "heading": "Plan",
            "part": "notes/plan.md",
        },
    )
    assert told[1][1]["heading"] == "Plan > Later"
    assert first["table.csv"][1]["row_first"] == 1
    assert first["letter.docx"][1] == {"heading": "Dear all", "part": "letter.docx"}
    assert first["scan.pdf"][1] == {"page_first": 1, "page_last": 1, "part": "scan.pdf"}
    assert first["page.html"][0] == "page.html\n\nT\n\nbody\n\n"
    assert first["end.log"][0] == "end.log\n\nthe end"
    windows = [part.locator.as_json() for part in found if isinstance(part, Pages)]
    assert windows == [{"page_first": 2, "page_last": 3, "part": "scan.pdf"}]
    assert {name: text for name, (text, _) in first.items() if text.startswith(name + ": ")} == {
        "song.mp3": "song.mp3: An audio file: it holds sound, no text.\n",
        "older.zip": "older.zip: An archive within another file is not opened.\n",
        "empty.txt": "empty.txt: The file is empty.\n",
        "noise": "noise: The file is of a kind that holds no text, or none that is known here.\n",
    }
    assert not {name for name in first if name.startswith("__MACOSX") or name.endswith("/")}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_an_archive_goes_on_exactly_and_arrives_in_any_pieces(method: int) -> None:
    """A life may end in the middle of a file, behind a note, in a PDF."""
    goes_on_exactly(mixed(method), "all.zip")
    arrives_in_any_pieces(mixed(method), "all.zip")


def test_what_cannot_be_read_at_first_is_named_once_something_can() -> None:
    """The names are held back until then; a life that ends among them must not change anything."""
    content = make.zipped({"1.mp3": b"ID3\0", "2.mp3": b"ID3\0", "3.txt": "words", "4.mp3": b"ID3\0"})

    assert [place["part"] for _, place in texts(content, "a.zip")] == ["1.mp3", "2.mp3", "3.txt", "4.mp3"]
    goes_on_exactly(content, "a.zip")


def test_an_archive_of_which_nothing_can_be_read_has_a_reason() -> None:
    """`indexed` would be a lie, and `skipped` without a reason a riddle."""
    nothing = refused(make.zipped({"a.mp3": b"ID3\0", "b.wasm": b"\0asm"}), "a.zip")
    one = refused(make.zipped({"a.zip": make.zipped({"a.txt": "x"})}), "a.zip")

    assert (nothing.code, nothing.reason) == (
        "archive",
        "None of the 2 files in the archive can be read. a.mp3: An audio file: it holds sound, no text.",
    )
    assert (one.code, one.reason[:44]) == ("nested", "The one file in the archive cannot be read. ")
    assert refused(make.zipped({}), "a.zip").code == "empty"
    assert refused(make.zipped({"folder/": ""}), "a.zip").code == "empty"


def changed(content: bytes, name: str, change: dict[int, bytes], *, local: bool = False) -> bytes:
    """An archive with bytes of one entry's description changed: in the table of contents, or in its own header."""
    fixed = 46 if not local else 30
    start = content.index(b"PK\1\2") if not local else 0
    at = content.index(name.encode(), start) - fixed
    out = bytearray(content)
    for offset, piece in change.items():
        out[at + offset : at + offset + len(piece)] = piece
    return bytes(out)


def test_locked_entries_are_named_and_a_locked_archive_says_password() -> None:
    """A password is something a person can do something about."""
    both = make.zipped({"open.txt": "words", "locked.txt": "secret"})
    half = changed(both, "locked.txt", {8: b"\1\0"})

    assert [text for text, _ in texts(half, "a.zip")] == [
        "open.txt\n\nwords",
        "locked.txt: It is protected with a password.\n",
    ]
    whole = refused(changed(half, "open.txt", {8: b"\1\0"}), "a.zip")
    assert (whole.code, whole.reason) == ("encrypted", "The files in the archive are protected with a password.")


def test_a_wrong_checksum_is_told_and_the_next_file_is_read() -> None:
    """Old disks lose bits; one rotten file must not take the others with it."""
    content = make.zipped(
        {"good.txt": "words " * 900, "rotten.txt": "words " * 9000, "rotten.docx": NOISE[:50], "b": "x"}
    )
    for name in ("rotten.txt", "rotten.docx"):
        content = changed(content, name, {16: b"\1\2\3\4"})

    told = texts(content, "a.zip")

    reasons = [text for text, _ in told if "damaged" in text]
    assert reasons == [
        "rotten.txt: The file is damaged or incomplete: it cannot be unpacked.\n",
        "rotten.docx: The file is damaged or incomplete: it cannot be unpacked.\n",
    ]
    assert told[-1][0] == "b\n\nx"
    goes_on_exactly(content, "a.zip")


def test_names_are_only_names() -> None:
    """Nothing is ever written; a name that climbs out of its folder is shown as what it is."""
    names = ["../../etc/passwd.txt", "/root/x.txt", "C:\\temp\\y.txt", "two\nlines.txt", "n" * 900 + ".txt"]
    told = texts(make.zipped(dict.fromkeys(names, "words")), "a.zip")

    assert [str(place["part"])[:210] for _, place in told] == [
        "../../etc/passwd.txt",
        "/root/x.txt",
        "C:\\temp\\y.txt",
        "two lines.txt",
        "n" * 199 + "…",
    ]


def test_a_name_in_utf8_is_read_though_nobody_says_so() -> None:
    """Most programs that are not Windows write it so."""
    content = make.zipped({"cafe_.txt": "words"}).replace(b"cafe_", "café".encode())

    assert texts(content, "a.zip")[0][1]["part"] == "café.txt"


def test_bombs_are_named_and_what_lies_beside_them_is_read() -> None:
    """Kilobytes that unpack to gigabytes must cost neither memory nor minutes."""
    content = make.zipped({"zeros": bytes(30_000_000), "a.txt": "words"})
    tracemalloc.start()
    try:
        told = texts(content, "a.zip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert told == [
        ("zeros: It unpacks to more than 100 times its size, as only a zip bomb does.\n", {"part": "zeros"}),
        ("a.txt\n\nwords", told[1][1]),
    ]
    assert peak < 5_000_000
    assert refused(make.zipped({"zeros": bytes(30_000_000)}), "a.zip").code == "zip_bomb"


def test_a_stated_size_is_a_bound_whatever_comes_out() -> None:
    """The table of contents may lie: no more comes out than it says."""
    content = make.zipped({"a.txt": "words " * 900, "b.txt": "x"})
    told = texts(changed(content, "a.txt", {24: struct.pack("<I", 60)}), "a.zip")

    assert sum(text.count("words") for text, _ in told) <= 10
    assert "damaged" in told[-2][0]
    assert told[-1][0] == "b.txt\n\nx"
    more = texts(changed(content, "a.txt", {24: struct.pack("<I", 60_000)}), "a.zip")
    assert more == texts(content, "a.zip")


def test_entries_on_top_of_one_another_are_a_bomb() -> None:
    """One run of bytes that thousands of entries point to unpacks to terabytes."""
    content = bytearray(make.zipped({f"{n}.txt": NOISE[:20_000].hex() for n in range(9)}))
    start = content.index(b"PK\1\2")
    for n in range(9):
        at = content.index(f"{n}.txt".encode(), start) - 46
        content[at + 42 : at + 46] = bytes(4)  # all of them begin where the first one does

    why = refused(bytes(content), "a.zip")

    assert why.code in ("zip_bomb", "archive")
    assert "on top of another" in why.reason


def test_too_many_files_are_refused_before_they_are_listed() -> None:
    """A table of contents of millions is memory before anything is read."""
    content = make.zipped({f"{n}": b"" for n in range(40)})

    assert refused(content, "many.zip", Limits(parts=30)).code == "too_many_parts"


def test_all_files_together_are_bounded_the_same_in_every_life() -> None:
    """What is unpacked in all is counted; the files before the bound are kept."""
    content = make.zipped({f"{n}.txt": NOISE[:5000].hex() for n in range(9)})
    limits = Limits(inflated_bytes=45_000)

    found = parts(content, "a.zip", limits)

    assert isinstance(found[-1], Truncated)
    assert "43.95 KB" in found[-1].reason
    assert {part.locator.part for part in found[:-1] if isinstance(part, Text)} == {f"{n}.txt" for n in range(4)}
    goes_on_exactly(content, "a.zip", limits)


def test_other_ways_of_packing_are_named() -> None:
    """Their memory cannot be bounded."""
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "in a way that is not read" in refused(make.zipped({"a.txt": "x"}, method), "a.zip").reason


def test_a_file_that_must_be_read_from_its_middle_is_bounded_unless_it_is_not_packed() -> None:
    """A PDF that was stored as it is can be read in place, of any size; a packed one would have to be held."""
    pdf = make.pdf([NOISE[:50_000], "the page behind the picture"])
    limits = Limits(hold_bytes=20_000)

    packed = refused(make.zipped({"a.pdf": pdf}), "a.zip", limits)
    stored = parts(make.zipped({"a.pdf": pdf, "b.txt": "x"}, zipfile.ZIP_STORED), "a.zip", limits)

    assert packed.code == "part_too_large"
    assert "19.53 KB" in packed.reason
    assert [type(part) for part in stored] == [Pages, Text, Text]
    assert {part.locator.part for part in stored if not isinstance(part, Truncated)} == {"a.pdf", "b.txt"}
    goes_on_exactly(make.zipped({"a.pdf": pdf}, zipfile.ZIP_STORED), "a.zip", limits)


def test_pictures_in_an_archive_go_to_recognition() -> None:
    """A folder of photographed receipts."""
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 90, 90, 8, 0, 0, 0, 0)
    found = parts(make.zipped({"receipts/1.png": picture}), "a.zip")

    assert [(type(part), part.locator.as_json()) for part in found if isinstance(part, Image)] == [
        (Image, {"part": "receipts/1.png"})
    ]


def test_a_large_archive_of_the_wide_kind_is_read() -> None:
    """Beyond four gigabytes or 65,535 files the table of contents has another form, which may be used below too."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.txt", "w", force_zip64=True) as entry,
    ):
        entry.write(b"wide words")
    content = bytearray(out.getvalue())
    end = content.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<10xHLL", content, end)
    wide = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)

    told = texts(bytes(content[:end]) + wide + place + tail, "a.zip")

    assert told[0][0] == "a.txt\n\nwide words"


def test_trouble_with_drive_is_no_files_fault() -> None:
    """A lost connection must be tried again; a bound of the whole archive ends it."""

    class Failing(BytesSource):
        fault: Exception = Unavailable("Drive does not answer.")

        def seekable(self) -> io.RawIOBase:
            fault = self.fault

            class File(type(super().seekable())):  # type: ignore[misc]
                def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
                    if 70_000 < self.tell() < len(content) - 80_000:
                        raise fault
                    return int(super().readinto(buffer))

            return File(self._content)

    content = make.zipped({f"{n}.txt": DICE.randbytes(60_000).hex() for n in range(9)})
    with pytest.raises(Unavailable):
        list(read(Failing(content, "a.zip")))
    Failing.fault = Skipped("The owner has forbidden it.", code="forbidden")
    found = list(read(Failing(content, "a.zip")))
    assert [part.reason for part in found if isinstance(part, Truncated)] == ["The owner has forbidden it."]
    assert "forbidden" not in "".join(part.text for part in found if isinstance(part, Text))


def test_a_packed_text_is_read_as_what_it_is() -> None:
    """Logs are kept packed."""
    log = "".join(f"line {n} of the log\n" for n in range(20_000)).encode()
    content = gzip.compress(log[:200_000], mtime=0) + gzip.compress(log[200_000:], mtime=0) + bytes(512)

    told = texts(content, "server.log.gz")

    assert "".join(text for text, _ in told) == log.decode()
    assert told[-1][1]["part"] == "server.log"
    assert told[-1][1]["line_last"] == 20_000
    assert texts(gzip.compress(b"a,b\n1,2\n"), "t.csv.gz")[0][1]["row_last"] == 2
    assert texts(gzip.compress(make.docx(make.paragraph("words"))), "d.docx.gz")[0][0] == "words\n\n"
    goes_on_exactly(content, "server.log.gz")
    arrives_in_any_pieces(content, "server.log.gz")


@pytest.mark.parametrize(("pack", "suffix"), [(bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_other_packings_are_read_alike(pack: Callable[[bytes], bytes], suffix: str) -> None:
    """Several one behind the other, as parallel packers write them, and a document that must be held."""
    log = "".join(f"line {n} of the log\n" for n in range(20_000)).encode()
    content = pack(log[:400_000]) + pack(log[400_000:])

    told = texts(content, f"server.log.{suffix}")

    assert "".join(text for text, _ in told) == log.decode()
    assert (told[-1][1]["part"], told[-1][1]["line_last"]) == ("server.log", 20_000)
    assert texts(pack(make.docx(make.paragraph("words"))), f"d.docx.{suffix}")[0][0] == "words\n\n"
    goes_on_exactly(content, f"server.log.{suffix}")
    arrives_in_any_pieces(content, f"server.log.{suffix}")


def test_a_packed_file_has_its_reasons_too() -> None:
    """A bomb, a torn one, an archive in it, one in an archive."""
    log = DICE.randbytes(300_000).hex().encode()
    assert refused(gzip.compress(b"words " * 500_000), "words.gz").code == "zip_bomb"
    torn = parts(gzip.compress(log)[:-9], "a.log.gz")
    assert "its end is missing" in str(getattr(torn[-1], "reason", ""))
    rotten = bytearray(gzip.compress(log))
    rotten[-6] ^= 1
    assert "cannot be unpacked" in str(getattr(parts(bytes(rotten), "a.log.gz")[-1], "reason", ""))
    assert refused(bz2.compress(b"words " * 500_000), "words.bz2").code == "zip_bomb"
    heavy = lzma.compress(b"words\n", preset=9)
    assert refused(heavy, "a.txt.xz").reason.startswith("The file needs more than 40 MB of memory")
    for pack, suffix in ((bz2.compress, "bz2"), (lzma.compress, "xz")):
        assert "its end is missing" in str(getattr(parts(pack(log)[:-9], f"a.log.{suffix}")[-1], "reason", ""))
        assert refused(pack(log)[:40] + bytes(99), f"a.log.{suffix}").code == "broken"
    assert refused(gzip.compress(make.zipped({"a": "b"})), "a.zip.gz").code == "nested"
    assert refused(make.zipped({"a.gz": gzip.compress(b"x")}), "a.zip").code == "nested"
    limits = Limits(hold_bytes=1000)
    assert refused(gzip.compress(make.pdf([NOISE])), "a.pdf.gz", limits).code == "part_too_large"
    assert "bound for one file" in str(
        getattr(parts(gzip.compress(log), "a.log.gz", Limits(inflated_bytes=400_000))[-1], "reason", "")
    )


SMALL = {"a.zip": mixed(), "b.zip": mixed(zipfile.ZIP_STORED), "c.log.gz": gzip.compress(b"some words\n" * 90)}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations(SMALL))
def test_no_mutation_of_an_archive_ends_otherwise_than_in_text_or_a_reason(mutated: tuple[str, bytes]) -> None:
    """Whatever the bytes."""
    name, content = mutated

    drained(read(BytesSource(content, name), Limits(child_seconds=5.0)))


MEASURE = """
import io, resource, sys, zipfile
from shared.domain.chunks import pack
from shared.readers import Limits, PathSource, read
from pathlib import Path

def grown(path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(len(chunk.payload) for chunk in pack(read(PathSource(Path(path)), Limits())))
    return count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

grown(sys.argv[1])
print(*grown(sys.argv[2]))
"""


def test_an_archive_of_any_size_takes_no_memory(tmp_path: Path) -> None:
    """A file of two hundred megabytes in an archive streams like one beside it."""
    line = b"The quick brown fox %d jumps over the lazy dog %d times.\n"
    small, large = f"{tmp_path}/small.zip", f"{tmp_path}/large.zip"
    for path, count in ((small, 2), (large, 40)):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for n in range(2):
                with archive.open(f"{n}.log", "w") as entry:
                    for _ in range(count):
                        entry.write(b"".join(line % (DICE.getrandbits(30), n) for n in range(20_000)))

    count, grown = measured(MEASURE, small, large)

    assert count > 80_000_000
    assert grown < 12 * 1024


def test_a_quine_is_an_archive_like_any_other() -> None:
    """An archive that holds itself would be opened for ever, were it opened at all."""
    inner = make.zipped({"r.zip": make.zipped({"r.zip": b"PK\3\4"})})

    assert refused(inner, "r.zip").code == "nested"
