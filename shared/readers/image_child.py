"""The program that Pillow runs in; `child_program.py` says how it is spoken to."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

_POINTS = 9_000_000  # a page of A4 at 300 dots an inch
_QUALITIES = (85, 70, 55)
_ORIENTATION = 0x0112
_BAND = 1_000_000  # points of a PNG that are decoded at once
_INFLATED = 1 << 20
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its kind of colour
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's ways of holding a camera, as Pillow's of turning back


def opened(file: Any, question: dict[str, Any]) -> Picture:
    """Begin a document."""
    return Picture(file, question["kind"], question["pixels"])


def fault(_error: Exception) -> str:
    """What is wrong with a picture, whatever Pillow raised."""
    return "broken"


class Picture:
    """One picture. Whatever it is, grey is enough for its text."""

    pages = 1

    def __init__(self, file: Any, kind: str, pixels: int) -> None:
        from PIL import Image

        self._file = file
        self._image = Image.open(file, formats=[kind])
        if self._image.width * self._image.height > pixels:
            raise ValueError("larger than its header said")

    def close(self) -> None:
        self._image.close()

    def answer(self, question: dict[str, Any]) -> tuple[Any, bytes]:
        """The picture, in so many bytes at most: as fine as fits."""
        most = question["most"]
        if self._image.mode == "1" and len(png := _saved(self._image, "PNG", optimize=True)) <= most:
            return 1, png
        grey = self._grey()
        scale = 1.0
        while True:
            sized = grey if scale == 1 else grey.resize((_scaled(grey.width, scale), _scaled(grey.height, scale)))
            for quality in _QUALITIES:
                if len(jpeg := _saved(sized, "JPEG", quality=quality)) <= most:
                    return 1, jpeg
            if max(sized.size) == 1:
                raise ValueError("no picture is as small as that")
            scale *= 0.8

    def _grey(self) -> Any:
        """Upright, on white, at most as large as a page needs."""
        from PIL import Image

        whole: Any = self._image
        scale = min(1.0, (_POINTS / (whole.width * whole.height)) ** 0.5)
        size = (_scaled(whole.width, scale), _scaled(whole.height, scale))
        factor = max(1, whole.width // size[0])
        bands = Bands(self._file, factor) if whole.format == "PNG" else None
        if bands is not None and bands.possible:
            grey: Any = Image.new("L", (-(-whole.width // factor), -(-whole.height // factor)))
            for top, band in bands:
                grey.paste(_grey_of(band, factor), (0, top // factor))
            exif = bands.exif
        else:
            whole.draft("L", size)  # a JPEG is decoded no finer than needed
            exif = whole.getexif()
            grey = _grey_of(whole, max(1, whole.width // size[0]))
        if grey.width > size[0]:
            grey = grey.resize(size)
        turn = _TURNS.get(exif.get(_ORIENTATION, 1))
        return grey if turn is None else grey.transpose(turn)


class Bands:
    """A PNG of eight bits a channel, some rows at a time: Pillow would hold four bytes for each of its points.

    A row may be written as its difference from the row above. So each band is made into a PNG of its own, which begins
    with the last row of the band before, decoded; Pillow decodes it as it would the whole.
    """

    def __init__(self, file: Any, factor: int) -> None:
        from PIL import Image

        self.exif: Any = Image.Exif()
        self._file = file
        file.seek(8)
        kind, header = self._chunk()
        self.width, self.height, depth, self._colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        self.possible = kind == b"IHDR" and depth == 8 and not interlaced and self._colour in _CHANNELS
        self._stride = 1 + self.width * _CHANNELS.get(self._colour, 1)
        self._rows = max(1, _BAND // self.width // factor) * factor
        self._told = b""  # palette and transparency, which each band needs

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """(the first row's number, the band) from top to bottom. Raises where the file ends too early."""
        above, top = b"", 0
        rows = bytearray()
        for piece in self._inflated():
            rows += piece
            while top < self.height and len(rows) >= (wanted := min(self._rows, self.height - top) * self._stride):
                band = self._band(above, rows[:wanted])
                del rows[:wanted]
                yield top, band
                top += band.height
                above = b"\0" + band.crop((0, band.height - 1, band.width, band.height)).tobytes()
        if top < self.height:
            raise ValueError("rows are missing")

    def _band(self, above: bytes, rows: bytearray) -> Any:
        from PIL import Image

        height = (len(above) + len(rows)) // self._stride
        header = struct.pack(">IIBBBBB", self.width, height, 8, self._colour, 0, 0, 0)
        packed = zlib.compress(above + rows, 0)
        png = b"\x89PNG\r\n\x1a\n" + _written(b"IHDR", header) + self._told + _written(b"IDAT", packed)
        band = Image.open(io.BytesIO(png + _written(b"IEND", b"")), formats=["PNG"])
        band.load()
        return band.crop((0, 1, band.width, height)) if above else band

    def _inflated(self) -> Iterator[bytes]:
        unpack = zlib.decompressobj()
        while True:
            kind, content = self._chunk()
            if kind in (b"PLTE", b"tRNS"):
                self._told += _written(kind, content)
            elif kind == b"eXIf":
                self.exif.load(content)
            elif kind == b"IEND":
                return
            while kind == b"IDAT" and content and not unpack.eof:
                yield unpack.decompress(content, _INFLATED)
                content = unpack.unconsumed_tail

    def _chunk(self) -> tuple[bytes, bytes]:
        length, kind = struct.unpack(">I4s", self._file.read(8))
        needed = kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT")
        content = self._file.read(length) if needed else b""
        self._file.seek(4 if needed else length + 4, io.SEEK_CUR)
        if needed and len(content) < length:
            raise ValueError("the file ends too early")
        return kind, content


def _written(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _grey_of(image: Any, factor: int) -> Any:
    """In grey, on white, with as many points in one as `factor` says, both ways."""
    if image.mode in ("P", "PA", "1"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if factor > 1:
        image = image.reduce(factor)
    if "A" in image.getbands():
        image = _on_white(image)
    if image.mode.startswith("I"):  # sixteen bits a point
        image = image.convert("I").point(lambda value: value / 256)
    return image.convert("L")


def _scaled(length: int, scale: float) -> int:
    return max(1, round(length * scale))


def _on_white(image: Any) -> Any:
    from PIL import Image

    grey = image.convert("LA")
    white = Image.new("L", image.size, 255)
    white.paste(grey.getchannel(0), mask=grey.getchannel(1))
    return white


def _saved(image: Any, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()
