"""Text that Postgres accepts. It refuses NUL everywhere, and UTF-8 has no way to say half a surrogate pair."""

from __future__ import annotations

from typing import Any


def clean_text(text: str) -> str:
    """The text without NUL, its surrogate pairs joined, and U+FFFD for each half that is alone."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean(value: Any) -> Any:
    """The value with all text in it cleaned, keys included; a tuple becomes a list, as an SQL array is."""
    match value:
        case str():
            return clean_text(value)
        case list() | tuple():
            return [clean(item) for item in value]
        case dict():
            return {clean(key): clean(item) for key, item in value.items()}
        case _:
            return value
