"""Every reader goes on exactly from any part it gave, however its bytes arrived; chunks likewise."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from shared.domain.chunks import pack
from shared.domain.errors import Skipped
from shared.domain.parts import Image, Pages, Part, State, Text, Truncated
from shared.readers import FORMATS, BytesSource, Limits, read
from tests.unit import document_samples
from tests.unit import reader_samples as make
from tests.unit.reader_checks import arrives_in_any_pieces, goes_on_exactly
from tests.unit.reader_fuzz import GOLDEN

LIMITS = Limits()
FILES = sorted(path for path in GOLDEN.iterdir() if path.name != "README.md")


def prose(seed: int, count: int) -> str:
    dice = random.Random(seed)
    words = [
        "alpha",
        "beta",
        "naïve",
        "Grüße",
        "日本語",
        "emoji😀",
        "word.",
        "plain",
        "text",
        "here",
        "and",
        "\t",
        "there",
    ]
    return "".join(dice.choice(words) + dice.choice("   \n\n") * dice.choice((1, 1, 2)) for _ in range(count))


def samples() -> dict[str, bytes]:
    dice = random.Random(7)
    text = prose(1, 6000)
    rows = "".join(f'{n},"said ""{n}""\nand more",{"x" * dice.randint(0, 40)}\r\n' for n in range(700))
    cells = "".join(
        f'<row r="{n}"><c t="s"><v>{n % 50}</v></c><c><v>{n}</v></c>'
        f'<c t="inlineStr"><is><t>{"y" * (n % 90)}</t></is></c></row>'
        for n in range(1, 400)
    )
    strings = "".join(f"<si><t>string {n}</t></si>" for n in range(50))
    headings = "".join(f"{'#' * (n % 3 + 1)} Part {n}\n\n{text[n * 90 : n * 90 + n * 40]}\n\n" for n in range(40))
    body = "".join(
        make.paragraph(f"Part {n}", "Heading1") + make.paragraph("words and more. " * (n * 40)) for n in range(12)
    )
    return {
        "notes.txt": text.encode(),
        "mark.txt": text.encode("utf-8-sig"),
        "wide.txt": text.encode("utf-16"),
        "bare.txt": text.encode("utf-16-be"),
        "wider.txt": text.encode("utf-32-le"),
        "late.txt": b"plain ascii only\n" * 20_000 + "Füße und Äpfel, schöne Grüße.\n".encode("cp1252") * 900,
        "later.txt": b"plain ascii only\n" * 20_000 + ("日本語のテキスト。" * 9 + "\n").encode("shift_jis") * 200,
        "kanji.txt": ("日本語のテキストです。" * 9 + "\n").encode("shift_jis") * 60,
        "mail.txt": ("日本語のテキストです。" * 9 + "\n").encode("iso2022_jp") * 60,
        "torn.txt": b"good \xff\xfe bad \x00 nul \xed\xa0\x80 lone\n" * 900 + "é".encode()[:1],
        "line.log": b"x" * 30_000,
        "doc.md": headings.encode(),
        "table.csv": rows.encode(),
        "sheet.gsheet-tabs": b'{"tab": "One"}\n'
        + b"".join(b'[%d, "cell", "%s"]\n' % (n + 1, b"y" * (n % 90)) for n in range(600)),
        "wide.csv": ("a,b\n" + '1,"' + "y z\n" * 4000 + '"\n' + "2,3\n" * 9).encode(),
        "open.csv": ("a,b\n" * 900 + '1,"open\n' + "2,3\n" * 3000).encode(),
        "stray.tsv": b'disk\t5" wide\tx\n' * 900,
        "page.html": (f"<h1>T</h1><p>{text[:9000]}</p><table><tr><td>a<td>b</table>" + "<h2>S</h2>x" * 30).encode(),
        "doc.docx": make.docx(body + make.table(("a", "b"), ("c", "d")), footnotes=make.paragraph("note")),
        "book.xlsx": make.xlsx({"One": cells, "Two": cells}, strings),
        "deck.pptx": make.pptx([(f"slide {n}\n" + "word. " * n * 60, f"notes {n}") for n in range(15)]),
        "lab.ipynb": make.notebook(*((f"print({n})\n" * n * 9, "out") for n in range(30))),
        "scan.pdf": make.pdf(
            ["Some words on a page", make.SCAN, make.SCAN, make.BLANK, "word " * 900] + [make.SCAN] * 17
        ),
    }


SAMPLES = {**samples(), **document_samples.samples()}


def parts(name: str, after: State | None = None, window: int = 2 << 20) -> list[Part]:
    return list(read(BytesSource(SAMPLES[name], name, window_bytes=window), LIMITS, after))


@pytest.mark.parametrize("name", SAMPLES)
def test_reading_goes_on_exactly_behind_any_part(name: str) -> None:
    """A file read over several lives must give what one life gives: nothing twice, nothing missing."""
    whole = parts(name)
    step = max(1, len(whole) // 25)

    for cut in [*range(0, len(whole), step), len(whole) - 1]:
        after = json.loads(json.dumps(whole[cut].after))  # a checkpoint is kept as JSON

        assert parts(name, after) == whole[cut + 1 :], f"behind part {cut}"


@pytest.mark.parametrize("name", SAMPLES)
def test_parts_do_not_depend_on_how_the_bytes_arrive(name: str) -> None:
    """Windows fall where the network lets them fall; chunks must have the same names every time."""
    whole = parts(name)

    assert all(parts(name, window=window) == whole for window in (1009, 65_536))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_part_is_small_and_takes_no_poison_along(name: str) -> None:
    """A part must fit into a chunk, and Postgres takes neither NUL nor lone surrogates."""
    for part in parts(name):
        if isinstance(part, Text):
            assert 0 < len(part.text.encode()) <= 64 * 1024
            assert "\0" not in part.text
        elif isinstance(part, Pages):
            assert len(part.pdf) <= 2 << 20


@pytest.mark.parametrize("name", ["notes.txt", "doc.md", "table.csv", "wide.csv", "open.csv", "stray.tsv"])
def test_the_text_of_a_text_file_is_the_file(name: str) -> None:
    """Search shows what people wrote, and a byte span leads to it."""
    content = SAMPLES[name]
    whole = parts(name)

    assert "".join(part.text for part in whole if isinstance(part, Text)) == content.decode()
    for part in whole:
        assert isinstance(part, Text)
        assert content[part.locator.byte_start : part.locator.byte_end].decode() == part.text
        assert part.locator.line_first is not None
        assert content[: part.locator.byte_start].count(b"\n") + 1 == part.locator.line_first


@pytest.mark.parametrize("name", SAMPLES)
def test_chunks_go_on_exactly_behind_any_chunk(name: str) -> None:
    """A chunk's name is its job and its index: both lives must number alike."""
    chunks = list(pack(iter(parts(name)), chunk_bytes=20_000))

    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(len(chunk.payload) <= 20_000 for chunk in chunks if chunk.kind == "text")
    for chunk in chunks:
        rest = pack(iter(parts(name, chunk.after)), first_index=chunk.index + 1, chunk_bytes=20_000)
        assert list(rest) == chunks[chunk.index + 1 :]


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_files_of_other_programs_go_on_exactly_and_arrive_in_any_pieces(path: Path) -> None:
    """What the world writes takes turns that our own samples do not."""
    goes_on_exactly(path.read_bytes(), path.name)
    arrives_in_any_pieces(path.read_bytes(), path.name)


def test_every_format_that_is_read_goes_on_exactly() -> None:
    """A reader that is not asked here would be found out by a file of two gigabytes."""
    shown = {name.rpartition(".")[2] for name in [*SAMPLES, *(path.name for path in FILES)]}

    assert [row.kind for row in FORMATS if row.read and not shown & set(row.extensions.split())] == []


def test_a_chunk_marks_where_its_parts_begin() -> None:
    """A passage in the middle of a chunk must point to its own lines."""
    chunk = next(pack(iter(parts("notes.txt"))))
    text = chunk.payload.decode()

    assert len(chunk.marks) > 3
    assert chunk.marks[0][0] == 0
    for at, locator in chunk.marks:
        assert text[:at].count("\n") + 1 == locator.line_first
    assert chunk.locator.byte_start == 0
    assert chunk.locator.line_last == chunk.marks[-1][1].line_last


def test_a_chunk_is_not_mostly_marks() -> None:
    """A list of thousands of tiny sections must still fit into messages."""
    tiny = "".join(f"# {n}\n{n}\n" for n in range(5000)).encode()

    chunks = list(pack(read(BytesSource(tiny, "tiny.md"))))

    assert max(len(chunk.marks) for chunk in chunks) <= 2048
    assert min(len(chunk.marks) for chunk in chunks[:-1]) >= 2048 * 7 // 8
    assert b"".join(chunk.payload for chunk in chunks) == tiny


def test_a_truncated_file_says_so_in_its_last_chunk() -> None:
    """A file whose beginning only was read must be shown as such."""
    limits = Limits(text_bytes=10_000)
    chunks = list(pack(read(BytesSource(SAMPLES["notes.txt"], "notes.txt"), limits), chunk_bytes=6000))

    assert [chunk.truncated is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert "9.766 KB" in str(chunks[-1].truncated)
    assert sum(len(chunk.payload) for chunk in chunks) <= 10_000
    assert list(read(BytesSource(SAMPLES["notes.txt"], "notes.txt"), limits, chunks[-1].after)) == []


def test_a_truncated_run_of_pictures_ends_in_a_chunk_without_text() -> None:
    """Nothing may be lost for want of text to hang the reason on."""
    picture = parts("scan.pdf")[1]
    assert isinstance(picture, Pages)

    chunks = list(pack(iter([picture, Truncated("Enough.", {"done": True})])))

    assert [(chunk.kind, chunk.truncated) for chunk in chunks] == [("pages", None), ("text", "Enough.")]
    assert chunks[1].payload == b""


def test_a_part_that_fits_into_no_chunk_is_refused() -> None:
    """The broker would refuse the message much later, and nobody would know why."""
    part = Image(b"x" * (2 << 20) + b"x", "image/png", parts("scan.pdf")[1].locator)  # type: ignore[union-attr]

    with pytest.raises(ValueError, match="does not fit"):
        list(pack(iter([part])))


def test_damage_behind_a_useful_beginning_keeps_the_beginning() -> None:
    """A long workbook whose last sheet is torn is still worth searching."""
    content = make.xlsx({"Good": "<row><c><v>42</v></c></row>" * 3, "Bad": "<row><c></row>"})

    whole = list(read(BytesSource(content, "book.xlsx")))

    assert [type(part) for part in whole] == [Text, Truncated]
    assert isinstance(whole[1], Truncated)
    assert "damaged" in whole[1].reason
    assert list(read(BytesSource(content, "book.xlsx"), None, whole[0].after)) == whole[1:]


def test_damage_without_a_useful_beginning_is_a_reason() -> None:
    """Nothing at all is no `indexed`."""
    content = make.xlsx({"Bad": "<row><c></row>"})

    with pytest.raises(Skipped) as caught:
        list(read(BytesSource(content, "book.xlsx")))

    assert caught.value.code == "broken"
