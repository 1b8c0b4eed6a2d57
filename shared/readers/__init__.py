"""Readers: bytes become text with places, or pages for recognition. `read` is the door."""

from shared.readers.formats import FORMATS, Format
from shared.readers.limits import Limits
from shared.readers.registry import read
from shared.readers.source import BytesSource, HeldFile, PathSource, Source

__all__ = ["FORMATS", "BytesSource", "Format", "HeldFile", "Limits", "PathSource", "Source", "read"]
