"""One line per check: what was looked at, whether it is as it must be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.preflight.asking import Trouble

OK, WARNING, ERROR = "ok", "warning", "error"
Found = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """`do` is empty where nothing is to be done."""

    check: str
    level: str
    said: str
    do: str = ""


def ok(said: str) -> Found:
    """As it must be."""
    return OK, said, ""


def warning(said: str, do: str) -> Found:
    """It works, and somebody should know."""
    return WARNING, said, do


def error(said: str, do: str) -> Found:
    """It does not work like this."""
    return ERROR, said, do


def line(check: str, look: Callable[[], Found]) -> Line:
    """The line of a check. What cannot be found out is an error of this check, and hides no other."""
    try:
        return Line(check, *look())
    except Trouble as trouble:
        return Line(check, ERROR, trouble.said, trouble.do)
