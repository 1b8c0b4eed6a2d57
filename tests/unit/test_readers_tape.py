"""TAR archives: every file in them is read as what it is, whichever program wrote the archive."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings

from shared.domain.parts import Text, Truncated
from shared.readers import BytesSource, Limits, read
from tests.unit import reader_samples as make
from tests.unit.reader_checks import (
    arrives_in_any_pieces,
    drained,
    goes_on_exactly,
    mutations,
    parts,
    refused,
    texts,
)

LONG = "a/very/long/way/" * 8 + "to résumé.md"


def tar(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of these files, and of what is none: a folder, links, a pipe."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind in (("notes", tarfile.DIRTYPE), ("pipe", tarfile.FIFOTYPE)):
            header = tarfile.TarInfo(name)
            header.type = kind
            archive.addfile(header)
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            header.mtime = 1.5
            archive.addfile(header, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            header = tarfile.TarInfo("link to it")
            header.type, header.linkname = kind, "x/" * 99 + "plan.md"
            header.size = 700  # of what it leads to, as some programs say
            archive.addfile(header)
        last = tarfile.TarInfo("last")
        archive.addfile(last)
    return out.getvalue()


FILES = {
    "notes/plan.md": b"# Plan\n\nfirst\n\n## Later\n\nsecond\n",
    LONG: "Füße\n".encode() * 3000,
    "song.mp3": b"ID3\0\0\0" + bytes(900),
    "table.csv": b"a,b\n" + b"1,2\n" * 3000,
    "letter.docx": make.docx(make.paragraph("Dear all", "Heading1") + make.paragraph("fish. " * 3000)),
    "scan.pdf": make.pdf(["sixteen letters and more", make.SCAN, make.SCAN, "the last of the pages"]),
    "older.zip": make.zipped({"x.txt": "y"}),
    "older.tar": tar({"x.txt": b"y"}),
    "empty.txt": b"",
    "end.log": b"the end",
}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_an_archive_is_read_file_by_file(form: int) -> None:
    """What somebody packed is looked for by its words and by its name; long names are written in two ways."""
    told = texts(tar(FILES, form), "all.tar")

    said = {str(place["part"]): text for text, place in reversed(told)}
    assert said["notes/plan.md"] == "notes/plan.md\n\n# Plan\n\nfirst\n\n"
    assert said[LONG].startswith(f"{LONG}\n\nFüße\n")
    assert [place["heading"] for text, place in told if place["part"] == "letter.docx"][-1] == "Dear all"
    assert [place["page_first"] for _, place in told if place["part"] == "scan.pdf"] == [1, 4]
    assert [place["row_last"] for _, place in told if place["part"] == "table.csv"][-1] == 3001
    assert said["song.mp3"] == "song.mp3: An audio file: it holds sound, no text.\n"
    assert said["older.zip"] == said["older.tar"].replace("tar", "zip")
    assert "is not opened" in said["older.zip"]
    assert said["last"] == "last: The file is empty.\n"
    assert said["end.log"] == "end.log\n\nthe end"
    assert not {"link to it", "pipe", "notes"} & set(said)
    assert [part.locator.page_first for part in parts(tar(FILES, form), "a.tar") if not isinstance(part, Text)] == [2]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tgz"])
def test_an_archive_goes_on_exactly_and_arrives_in_any_pieces(pack: type[bytes]) -> None:
    """Packed or not, it is one archive: what lies in it has the same places."""
    content = pack(tar(FILES))
    goes_on_exactly(content, "all.tar")
    arrives_in_any_pieces(content, "all.tar")

    assert texts(content, "x") == texts(tar(FILES), "all.tar")


def test_going_on_begins_at_the_file() -> None:
    """Nobody fetches the beginning of an archive of 100 GB again."""
    asked: list[int] = []

    class Watched(BytesSource):
        def windows(self, start: int = 0):  # type: ignore[no-untyped-def]
            asked.append(start)
            return super().windows(start)

    content = tar(FILES)
    last = parts(content, "all.tar")[-2]
    list(read(Watched(content, "all.tar"), None, last.after))

    assert content[asked[0] : asked[0] + 512].rstrip(b"\0")
    assert asked[0] > content.index(b"older.tar") - 2000


def test_an_archive_has_its_reasons_too() -> None:
    """Torn, empty, within another, of too many files, of numbers that no honest program writes."""
    content = tar({"a.txt": b"words\n" * 200, "b.txt": b"more\n" * 2000})
    torn = parts(content[: content.index(b"more") + 600], "a.tar")
    assert isinstance(torn[-1], Truncated)
    assert "its end is missing" in torn[-1].reason
    assert refused(tar({}), "a.tar").code == "empty"
    assert refused(make.zipped({"a.tar": content}), "a.zip").code == "nested"
    assert refused(gzip.compress(gzip.compress(content)), "a.tar.gz.gz").code == "nested"
    assert "more than 1 parts" in str(getattr(parts(content, "a.tar", Limits(parts=1))[-1], "reason", ""))
    rotten = bytearray(content)
    rotten[content.index(b"b.txt") + 1] ^= 1
    assert "header in it cannot be read" in str(getattr(parts(bytes(rotten), "a.tar")[-1], "reason", ""))
    assert "An archive within another file" in refused(tar({"a.zip": make.zipped({"x": "y"})}), "a.tar").reason


def test_holes_are_not_taken_for_text() -> None:
    """A file with holes is stored as a list of its pieces."""
    header = tarfile.TarInfo("disk.txt")
    header.size, header.type = 1024, tarfile.GNUTYPE_SPARSE
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482], block[148:156] = 1, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = bytes(504) + b"\1" + bytes(7) + bytes(512)

    told = texts(bytes(block) + more + b"x" * 1024 + tar({"b.txt": b"words"}), "a.tar")

    assert told[0][0] == "disk.txt: It is stored in a way that is not read.\n"
    assert told[1][0] == "b.txt\n\nwords"


def test_an_archive_of_any_size_takes_no_memory() -> None:
    """A backup is larger than any function; a file in it may say that it is larger still."""
    line = b"the river otters were counted at night\n" * 1000
    header = tarfile.TarInfo("a.txt")
    header.size = len(line) * 2000

    class Long(BytesSource):
        def windows(self, start: int = 0):  # type: ignore[no-untyped-def]
            yield memoryview(header.tobuf())
            for _ in range(2000):
                yield memoryview(line)

    source = Long(b"", "a.tar")
    source.size = None
    tracemalloc.start()
    count = sum(len(part.text) for part in read(source) if isinstance(part, Text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == header.size + len("a.txt\n\n")
    assert peak < 48 << 20
    header.size = 2**80
    assert refused(header.tobuf(tarfile.GNU_FORMAT) + line, "a.tar").code == "broken"


SMALL = {"a.tar": tar(FILES), "b.tar": tar({LONG: b"x" * 900}, tarfile.GNU_FORMAT), "c.tgz": gzip.compress(tar(FILES))}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations(SMALL))
def test_no_mutation_of_an_archive_ends_otherwise_than_in_text_or_a_reason(mutated: tuple[str, bytes]) -> None:
    """Whatever a header says."""
    name, content = mutated
    drained(read(BytesSource(content, name)))


def test_noise_is_no_archive() -> None:
    """A header has a sum in it: nothing else has it by chance."""
    dice = random.Random(5)
    for _ in range(200):
        refused(dice.randbytes(2000), "a.tar")
