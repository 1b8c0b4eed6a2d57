"""Pictures: what goes to recognition is small enough, legible, and never decoded here."""

from __future__ import annotations

import io
import random
import resource
import runpy
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image as Pillow
from PIL import ImageDraw

from infra.local.ai.documentai import DocumentAiServer
from shared.adapters.documentai import Recognizer
from shared.config import Settings
from shared.domain.chunks import pack
from shared.domain.errors import Skipped
from shared.domain.parts import Image, Part, Truncated
from shared.readers import BytesSource, Limits, read
from shared.readers import images as reader
from tests.unit.reader_checks import ROOT, drained, goes_on_exactly, mutations, parts, refused

MIB = 1 << 20


def drawn(text: str = "Hello quiet picture", size: tuple[int, int] = (700, 200), mode: str = "RGB") -> Pillow.Image:
    """Black words on white."""
    picture = Pillow.new("L", size, 255)
    ImageDraw.Draw(picture).text((30, 50), text, fill=0, font_size=50)
    return picture.convert(mode)


def noise(size: tuple[int, int], mode: str = "RGB", seed: int = 1) -> Pillow.Image:
    """What no packer makes small."""
    bands = len(Pillow.new(mode, (1, 1)).getbands())
    depth = 2 if mode == "I;16" else 1
    return Pillow.frombytes(mode, size, random.Random(seed).randbytes(size[0] * size[1] * bands * depth))


def saved(picture: Pillow.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


def pictures(content: bytes, name: str, limits: Limits | None = None) -> list[Image]:
    found = parts(content, name, limits)
    assert all(isinstance(part, Image) for part in found)
    return [part for part in found if isinstance(part, Image)]


def seen(part: Image) -> Pillow.Image:
    """The picture, decoded; it must be what it says it is."""
    picture = Pillow.open(io.BytesIO(part.content))
    picture.load()
    assert picture.get_format_mimetype() == part.mime_type
    return picture


KINDS = ["PNG", "JPEG", "GIF", "BMP", "WEBP"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_picture_goes_to_recognition_untouched(kind: str) -> None:
    """Every new packing loses a little, and costs time."""
    content = saved(drawn(), kind)

    [part] = pictures(content, "a picture without a telling name")

    assert (part.content, part.mime_type) == (content, f"image/{kind.lower()}")
    assert part.locator.as_json() == {}


@pytest.mark.parametrize(
    ("kind", "mode", "how"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {}),
        ("PNG", "I;16", {}),
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGB", {"quality": 95}),
        ("GIF", "P", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
        ("TIFF", "F", {}),
    ],
)
def test_a_large_picture_is_made_smaller_and_stays_fine(kind: str, mode: str, how: dict[str, Any]) -> None:
    """A message takes two MiB; letters need two hundred dots an inch."""
    size = (1500, 1000) if kind in ("PNG", "BMP", "TIFF") and mode != "P" else (2000, 1500)
    picture = noise(size, "L" if mode in ("P", "F") else mode)
    content = saved(picture.convert(mode), kind, **how)
    assert len(content) > 2 * MIB

    [part] = pictures(content, f"a.{kind.lower()}")

    assert len(part.content) <= 2 * MIB
    assert part.mime_type == "image/jpeg"
    assert seen(part).mode == "L"
    assert min(seen(part).size) >= 1000
    assert pictures(content, f"a.{kind.lower()}") == [part]  # the same every time: a chunk's content has one hash


def test_a_photograph_of_forty_million_points_is_decoded_no_finer_than_needed() -> None:
    """A telephone's picture must not take the memory of its points."""
    content = saved(noise((7000, 5700)), "JPEG", quality=50)

    [part] = pictures(content, "photo.jpg")

    assert len(part.content) <= 2 * MIB
    assert 4_000_000 < seen(part).width * seen(part).height <= 9_100_000


def test_a_png_of_forty_million_points_takes_little_memory() -> None:
    """Decoded whole it would take four bytes a point; the child is given less than that here."""
    content = saved(drawn(size=(7000, 5700)), "PNG", compress_level=1)

    [part] = pictures(content, "a.png", Limits(window_bytes=200_000, child_memory_bytes=140 * MIB))

    assert 4_000_000 < seen(part).width * seen(part).height <= 9_100_000


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("size", [(1031, 2047), (3001, 999)])
def test_a_png_that_is_decoded_in_bands_is_the_same_picture(mode: str, size: tuple[int, int]) -> None:
    """A row may be written as its difference from the row above, which another band holds."""
    small = noise((size[0] // 40, size[1] // 40), "RGBA" if mode == "P" else mode)
    picture = (
        small.resize(size).convert("RGB").quantize(64, Pillow.Quantize.FASTOCTREE)
        if mode == "P"
        else small.resize(size)
    )
    content = saved(picture, "PNG", compress_level=1)
    program = runpy.run_path(str(ROOT / "shared" / "readers" / "image_child.py"))
    factor = 1 if size[0] < 2000 else 2

    bands = program["Bands"](io.BytesIO(content), factor)
    grey = Pillow.new("L", (-(-size[0] // factor), -(-size[1] // factor)))
    count = 0
    for top, band in bands:
        count += 1
        grey.paste(program["_grey_of"](band, factor), (0, top // factor))

    whole = Pillow.open(io.BytesIO(content))
    assert bands.possible
    assert count > 1
    assert grey.tobytes() == program["_grey_of"](whole, factor).tobytes()


def test_a_photograph_is_turned_upright() -> None:
    """How the telephone was held stands in a header that is lost with the rest of them."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    lying = noise((2600, 1900), "L").convert("RGB")

    [part] = pictures(saved(lying, "JPEG", quality=97, exif=exif), "photo.jpg")

    assert seen(part).width < seen(part).height


def test_see_through_is_white() -> None:
    """Black letters on nothing would be black on black."""
    picture = noise((2000, 1500), "RGBA")
    picture.putalpha(0)

    [part] = pictures(saved(picture, "PNG"), "a.png")

    assert seen(part).getextrema() == (255, 255)


def test_of_what_moves_the_first_frame_counts() -> None:
    """Recognition bills every frame."""
    two = [drawn("First of them"), drawn("Second of them")]
    gif = saved(two[0], "GIF", save_all=True, append_images=two[1:])
    webp = saved(two[0], "WEBP", save_all=True, append_images=two[1:], lossless=True)

    [still], [other] = pictures(gif, "a.gif"), pictures(webp, "a.webp")

    assert getattr(seen(still), "n_frames", 1) == 1
    assert list(seen(still).convert("L").get_flattened_data()) == list(two[0].convert("L").get_flattened_data())
    assert (other.mime_type, seen(other).size) == ("image/jpeg", (700, 200))


@pytest.mark.parametrize("packing", ["raw", "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate", "group4"])
def test_a_tiff_gives_page_by_page(packing: str) -> None:
    """A fax or a scan is many pages in one file, and recognition must say which page."""
    mode = "1" if packing == "group4" else "RGB"
    pages = [drawn(f"Page number {n}", mode=mode) for n in range(1, 4)]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression=packing)

    found = pictures(content, "scan.tif")

    assert [part.locator.as_json() for part in found] == [{"page_first": n, "page_last": n} for n in (1, 2, 3)]
    whole = Pillow.open(io.BytesIO(content))
    for number, part in enumerate(found):
        whole.seek(number)
        assert seen(part).tobytes() == whole.tobytes()
        assert getattr(seen(part), "n_frames", 1) == 1
    goes_on_exactly(content, "scan.tif")


def test_a_fax_stays_black_and_white() -> None:
    """In grey it would be larger, and worse."""
    pages = [drawn(size=(2480, 3508), mode="1"), drawn(mode="1")]
    content = saved(pages[0], "TIFF", compression="raw", save_all=True, append_images=pages[1:])

    [first, second] = pictures(content, "fax.tif", Limits(window_bytes=500_000))

    assert (first.mime_type, seen(first).tobytes()) == ("image/png", pages[0].tobytes())
    assert second.mime_type == "image/tiff"


def test_small_copies_beside_a_page_are_no_pages() -> None:
    """Cameras put a thumbnail into the file."""
    thumbnail = Pillow.new("L", (20, 20))
    content = saved(
        drawn(mode="L"), "TIFF", save_all=True, append_images=[thumbnail, drawn("Next", mode="L")], compression="raw"
    )
    at = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, at)[0]
    second = struct.unpack_from("<I", content, at + 2 + 12 * count)[0]
    marked = bytearray(content)
    marked[second + 2 : second + 14] = struct.pack("<HHII", 254, 4, 1, 1)

    assert [part.locator.page_first for part in pictures(bytes(marked), "a.tif")] == [1, 2]


def test_a_page_that_cannot_be_drawn_is_named_and_the_others_are_given() -> None:
    """One torn page must not take the others along."""
    pages = [noise((1200, 900), seed=n) for n in range(3)]
    content = bytearray(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw"))
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)

    found = parts(bytes(content), "scan.tif", Limits(window_bytes=600_000))

    assert [part.locator.page_first for part in found[:-1] if isinstance(part, Image)] == [1, 3]
    assert isinstance(found[-1], Truncated)
    assert found[-1].reason == "Page 2: The picture is damaged or incomplete."
    goes_on_exactly(bytes(content), "scan.tif", Limits(window_bytes=600_000))


def header(width: int, height: int) -> dict[str, bytes]:
    """Files of each kind that say such a size and hold nothing."""
    return {
        "a.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(50),
        "a.gif": b"GIF89a" + struct.pack("<HH", min(width, 65535), min(height, 65535)) + bytes(50),
        "a.bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, width, -height) + bytes(50),
        "a.jpg": b"\xff\xd8\xff\xe0\0\4xx\xff\xff\xc0\0\x11\x08"
        + struct.pack(">HH", min(height, 65535), min(width, 65535))
        + bytes(50),
        "a.webp": b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0"
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
        + bytes(50),
        "l.webp": b"RIFF\0\0\0\0WEBPVP8L\n\0\0\0\x2f"
        + (min(width - 1, 16383) | min(height - 1, 16383) << 14).to_bytes(4, "little")
        + bytes(50),
        "a.tif": struct.pack("<2sHIHHHIIHHIII", b"II", 42, 8, 2, 256, 4, 1, width, 257, 4, 1, height, 0),
    }


@pytest.mark.parametrize("name", header(1, 1))
def test_the_header_alone_decides_what_is_too_large_or_too_small(name: str) -> None:
    """A bomb is a few bytes that say a great deal; a tracking pixel is nothing to pay recognition for."""
    bomb = refused(header(30_000, 30_000)[name], name)
    small = refused(header(900, 15)[name], name)

    assert bomb.code == "too_large"
    assert "40 million" in bomb.reason
    assert (small.code, small.reason) == ("no_text", "The picture is too small to hold text.")


def test_nothing_is_decoded_before_the_header_has_been_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child is even started for a bomb, or for a picture that goes as it is."""

    def never(*_: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(reader._children, "lend", never)

    assert pictures(saved(drawn(), "PNG"), "a.png")
    assert refused(header(30_000, 30_000)["a.png"] + bytes(3 * MIB), "a.png").code == "too_large"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_torn_picture_has_a_reason(kind: str) -> None:
    """Uploads break off."""
    large = saved(
        noise((2000, 1500), "P" if kind == "GIF" else "RGB"),
        kind,
        **({"quality": 99} if kind in ("WEBP", "JPEG") else {}),
    )

    assert refused(large[: 2 * MIB + 1000], f"a.{kind.lower()}").code == "broken"
    assert refused(large[:12], f"a.{kind.lower()}").code == "broken"
    assert refused(b"this is no picture", f"a.{kind.lower()}").code == "broken"


def test_a_child_has_no_more_memory_and_time_than_it_is_given() -> None:
    """A decoder that a stranger's file drives must end, and the next picture must be read."""
    content = saved(Pillow.new("RGB", (5000, 4000)), "BMP")

    assert refused(content, "a.bmp", Limits(child_memory_bytes=110 * MIB)).code == "too_heavy"
    assert refused(content, "a.bmp", Limits(child_seconds=0.001)).code == "too_heavy"
    assert pictures(content, "a.bmp")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound processes in other ways")
def test_a_child_is_bounded_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the decoder taken over, there must be nothing to take."""
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "canary")
    one = reader.Child(Limits(child_memory_bytes=300 * MIB))
    try:
        one.open(BytesSource(saved(drawn(), "PNG")).seekable(), kind="png", pixels=1_000_000)
        environment = Path(f"/proc/{one.pid}/environ").read_bytes()
        bounds = resource.prlimit(one.pid, resource.RLIMIT_AS), resource.prlimit(one.pid, resource.RLIMIT_FSIZE)
    finally:
        one.end()

    assert b"canary" not in environment
    assert bounds == ((300 * MIB, 300 * MIB), (0, 0))


def test_pillow_is_never_imported_here() -> None:
    """What decodes strangers' pictures has holes now and then; they must not be in the process with the tokens."""
    program = (
        "import sys; from shared.readers import BytesSource, read; from pathlib import Path\n"
        "list(read(BytesSource(sys.stdin.buffer.read(), 'a.png'))); print('PIL' in sys.modules)"
    )
    large = saved(noise((1000, 900)), "PNG")
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=large, capture_output=True, check=True)

    assert ran.stdout.strip() == b"False"


LOOP = struct.pack("<2sHIHHHIIHHIII", b"II", 42, 8, 2, 256, 4, 1, 90, 257, 4, 1, 90, 8)
HOSTILE = {
    "a directory that follows itself": LOOP,
    "a directory of everything": b"II*\0\x08\0\0\0" + b"\xff" * 70_000,
    "values of gigabytes": b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 273, 4, 0x3FFFFFFF, 8) + bytes(4),
    "strips on top of one another": b"II*\0\x08\0\0\0"
    + struct.pack("<HHHII", 4, 256, 4, 1, 90)
    + struct.pack("<HHII", 257, 4, 1, 90)
    + struct.pack("<HHII", 273, 4, 1000, 62)
    + struct.pack("<HHII", 279, 4, 1000, 4062)
    + bytes(4)
    + struct.pack("<1000I", *[62] * 1000)
    + struct.pack("<1000I", *[8000] * 1000),
    "a JPEG of markers": b"\xff\xd8" + b"\xff\xe0\0\2" * 400_000,
    "a JPEG of padding": b"\xff\xd8" + b"\xff" * 3_000_000,
    "a GIF of extensions": b"GIF89a\x40\0\x40\0\0\0\0" + b"\x21\xfe\1a\0" * 500_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pictures_end_with_a_reason(case: str) -> None:
    """A picture comes from anybody."""
    assert refused(HOSTILE[case], "x").code in ("broken", "too_large", "too_many", "no_text")


SMALL = {
    **{f"a.{kind.lower()}": saved(drawn(size=(90, 60)), kind) for kind in KINDS},
    "b.tif": saved(
        drawn(size=(90, 60)), "TIFF", save_all=True, append_images=[drawn("x", (60, 60), "1")], compression="packbits"
    ),
}
FORCED = Limits(window_bytes=1000, child_seconds=5.0)  # so small that everything goes through the child


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations(SMALL))
def test_no_mutation_of_a_picture_ends_otherwise_than_in_a_picture_or_a_reason(mutated: tuple[str, bytes]) -> None:
    """Whatever the bytes."""
    name, content = mutated

    drained(read(BytesSource(content, name), Limits(child_seconds=5.0)))
    drained(read(BytesSource(content, name), FORCED))


def test_every_picture_fits_into_a_chunk() -> None:
    """And its chunk says what it is."""
    [chunk] = pack(read(BytesSource(saved(noise((2000, 1500)), "PNG"), "a.png")))

    assert (chunk.kind, chunk.mime_type) == ("image", "image/jpeg")
    assert len(chunk.payload) <= 2 * MIB


def recognised(server: DocumentAiServer, part: Part) -> str:
    assert isinstance(part, Image)
    local = Settings(
        google_cloud_project="p",
        documentai_processor="projects/p/locations/eu/processors/ocr",
        documentai_endpoint=server.url,
    )
    from google.auth.credentials import AnonymousCredentials

    pages = Recognizer(local, credentials=AnonymousCredentials()).recognize(part.content, part.mime_type)  # type: ignore[no-untyped-call]
    return "\f".join(page.text for page in pages)


@pytest.mark.parametrize("kind", [*KINDS, "TIFF"])
def test_each_kind_of_picture_is_recognised_on_one_machine(kind: str) -> None:
    """Without the program that recognises, the reason says which one it is."""
    [part] = pictures(saved(drawn(), kind), f"a.{kind.lower()}")
    server = DocumentAiServer()
    server.start()
    try:
        if server._tesseract:
            assert recognised(server, part) == "Hello quiet picture"
        else:
            with pytest.raises(Skipped, match="tesseract"):
                recognised(server, part)
    finally:
        server.stop()


def test_where_nothing_recognises_the_picture_says_so() -> None:
    """A newcomer without tesseract must read what to install."""
    [part] = pictures(saved(drawn(), "PNG"), "a.png")
    server = DocumentAiServer(tesseract="")
    server.start()
    try:
        with pytest.raises(Skipped) as caught:
            recognised(server, part)
    finally:
        server.stop()

    assert caught.value.code == "ocr_missing"
    assert "tesseract" in caught.value.reason
