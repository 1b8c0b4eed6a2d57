"""The program that Pillow runs in; `child_program.py` says how it is spoken to."""

from __future__ import annotations

import io
from typing import Any

_POINTS = 9_000_000  # a page of A4 at 300 dots an inch
_QUALITIES = (85, 70, 55)
_ORIENTATION = 0x0112
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
        image: Any = self._image
        scale = min(1.0, (_POINTS / (image.width * image.height)) ** 0.5)
        size = (_scaled(image.width, scale), _scaled(image.height, scale))
        image.draft("L", size)  # a JPEG is decoded no finer than needed
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        if image.mode in ("P", "PA", "1"):
            image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
        if image.width // size[0] > 1:
            image = image.reduce(image.width // size[0])
        if "A" in image.getbands():
            image = _on_white(image)
        if image.mode.startswith("I"):  # sixteen bits a point
            image = image.convert("I").point(lambda value: value / 256)
        image = image.convert("L")
        if image.width > size[0]:
            image = image.resize(size)
        return image if turn is None else image.transpose(turn)


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
