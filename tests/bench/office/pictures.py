"""Photographs, scanned pages and screenshots as Pillow draws them: about as large as those that people keep, and about
as hard to pack. One seed gives one picture."""

from __future__ import annotations

import io
import random
import textwrap
import unicodedata
from datetime import datetime
from functools import cache

from PIL import Image, ImageDraw, ImageFilter, ImageFont

_MAKERS = (("Apple", "iPhone 8"), ("samsung", "SM-G973F"), ("Canon", "Canon EOS 700D"), ("Google", "Pixel 6a"))


def photograph(dice: random.Random, width: int, height: int, taken: datetime, quality: int = 85) -> bytes:
    """A JPEG with soft shapes, some sharp edges and the noise of a small sensor."""
    picture = _noise(dice, "RGB", 7, 5, width, height)
    paint = ImageDraw.Draw(picture)
    for _ in range(dice.randint(3, 14)):
        left, top = dice.randrange(width), dice.randrange(height)
        box = (left, top, left + dice.randrange(20, width // 2), top + dice.randrange(20, height // 2))
        colour = (dice.randrange(256), dice.randrange(256), dice.randrange(256))
        (paint.ellipse if dice.random() < 0.5 else paint.rectangle)(box, fill=colour)
    picture = Image.blend(picture, _noise(dice, "RGB", width // 40, height // 40, width, height), 0.25)
    grain = _noise(dice, "L", width // 2, height // 2, width, height).convert("RGB")
    out = io.BytesIO()
    Image.blend(picture, grain, dice.uniform(0.02, 0.09)).save(out, "JPEG", quality=quality, exif=_exif(dice, taken))
    return out.getvalue()


def scanned(dice: random.Random, text: str, dpi: int = 150, quality: int = 55) -> bytes:
    """A sheet of A4 with this text from a scanner, as a grey JPEG: not quite white, not quite straight."""
    width, height = round(8.27 * dpi), round(11.69 * dpi)
    sheet = Image.new("L", (width, height), dice.randint(238, 252))
    paint, font = ImageDraw.Draw(sheet), _font(round(dpi * 0.15))
    top = dpi * 0.8
    for paragraph in _plain(text).split("\n"):
        for line in textwrap.wrap(paragraph, 78) or [""]:
            if top > height - dpi:
                break
            paint.text((dpi * 0.8, top), line, fill=dice.randint(10, 60), font=font)
            top += dpi * 0.21
    sheet = sheet.rotate(dice.uniform(-0.7, 0.7), fillcolor=245)
    sheet = Image.blend(sheet, _noise(dice, "L", width // 2, height // 2, width, height), 0.03)
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=quality, dpi=(dpi, dpi))
    return out.getvalue()


def screenshot(dice: random.Random, lines: list[str], width: int = 1440, height: int = 900) -> bytes:
    """A PNG of a window with these lines and some buttons."""
    shade = dice.choice(((255, 255, 255), (246, 246, 248), (30, 32, 38)))
    ink = (20, 20, 20) if shade[0] > 100 else (225, 225, 225)
    screen = Image.new("RGB", (width, height), shade)
    paint, font = ImageDraw.Draw(screen), _font(18)
    paint.rectangle((0, 0, width, 48), fill=(dice.randrange(200), dice.randrange(200), dice.randrange(200)))
    for at in range(dice.randint(2, 9)):
        paint.rounded_rectangle((20 + 110 * at, 10, 115 + 110 * at, 40), 8, fill=(230, 230, 235))
    for row, line in enumerate(lines[: (height - 120) // 28]):
        paint.text((60, 80 + 28 * row), _plain(line)[:120], fill=ink, font=font)
    if dice.random() < 0.4:
        screen.paste(_noise(dice, "RGB", 60, 40, width // 4, height // 3), (width * 7 // 10, height // 2))
    out = io.BytesIO()
    screen.save(out, "PNG")
    return out.getvalue()


def drawn(dice: random.Random, kind: str, width: int = 400, height: int = 300) -> bytes:
    """A small graphic, such as a logo, as a `kind` of Pillow's: PNG, GIF, WEBP, BMP."""
    picture = Image.new("RGB", (width, height), (255, 255, 255))
    paint = ImageDraw.Draw(picture)
    for _ in range(dice.randint(4, 20)):
        corners = [(dice.randrange(width), dice.randrange(height)) for _ in range(dice.randint(3, 6))]
        paint.polygon(corners, fill=(dice.randrange(256), dice.randrange(256), dice.randrange(256)))
    out = io.BytesIO()
    picture.filter(ImageFilter.SMOOTH).save(out, kind)
    return out.getvalue()


def font_file() -> bytes:
    """The outlines of the font that comes with Pillow, as a TrueType file."""
    source = _font(12).path
    return source.getvalue() if isinstance(source, io.BytesIO) else b""


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


def _noise(dice: random.Random, mode: str, columns: int, rows: int, width: int, height: int) -> Image.Image:
    """So many patches of chance, drawn smoothly to this size."""
    columns, rows = max(columns, 2), max(rows, 2)
    patches = Image.frombytes(mode, (columns, rows), dice.randbytes(columns * rows * len(mode)))
    return patches.resize((width, height), Image.Resampling.BILINEAR)


def _plain(text: str) -> str:
    """In the letters that the font has."""
    known = text.replace("ß", "ss").replace("€", "EUR").replace("£", "GBP ").replace("ø", "o")
    return unicodedata.normalize("NFKD", known).encode("ascii", "ignore").decode()


def _exif(dice: random.Random, taken: datetime) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = dice.choice(_MAKERS)
    exif[0x0132] = exif[0x9003] = taken.strftime("%Y:%m:%d %H:%M:%S")
    return exif
