"""A Google Sheet asked for tab by tab and row by row, where no export of the whole can be read.

The Sheets API takes the same permission, drive.readonly. What comes out is a stream like that of an export, which
`shared.readers.tabs` reads: a line of JSON for each tab, `{"tab": name}`, and one for each row that is not empty,
`[number, cell, ...]`.
https://developers.google.com/workspace/sheets/api/reference/rest/v4/spreadsheets.values/get
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from shared.adapters.transport import AnswerTooLarge, Changed, Client, ExportTooLarge, Refused
from shared.domain.errors import FileGone, LongWait, Skipped, Unavailable
from shared.domain.files import File

_SHEETS = "https://sheets.googleapis.com"
_CELLS = 20_000  # asked for at once to begin with
_MOST_CELLS = 400_000
_SMALL = 512 * 1024  # an answer that leaves room for more: Google advises 2 MB, and counts requests by the minute
_ANSWER = 4 * 1024 * 1024  # parsed, it takes several times as much
_TAB = "sheets.properties(title,sheetType,gridProperties(rowCount,columnCount))"
_UNREADABLE = "This Sheet is too large to be exported by Drive"


class Tabs:
    """The rows of all tabs. Raises `ExportTooLarge` at once where the Sheets API cannot be asked."""

    ranged = False
    size: int | None = None

    def __init__(self, client: Client, file: File, unchanged: Callable[[], bool]) -> None:
        self.bytes_read = 0
        self.requests = 0
        self.integrity = "none"
        self._client = client
        self._file = file
        self._unchanged = unchanged
        self._keys = {"X-Goog-Drive-Resource-Keys": f"{file.id}/{file.resource_key}"} if file.resource_key else {}
        self._tabs = self._first_look()

    def windows(self, start: int = 0, tail: str = "") -> Generator[memoryview, None, None]:
        """The lines, from the byte `start` of them on; what lies before is asked for again. `tail` proves nothing
        here: `verify` asks for the revision."""
        most = self._client.settings.window_bytes
        held = bytearray()
        for line in self._lines():
            skipped = min(start, len(line))
            start -= skipped
            held += line[skipped:]
            while len(held) >= most:
                yield memoryview(bytes(held[:most]))
                del held[:most]
        if held:
            yield memoryview(bytes(held))

    def tail(self) -> str:
        """Nothing: a later life is asked for by its revision."""
        return ""

    def verify(self) -> str:
        """That the revision is still the one that was begun. Raises `Changed`."""
        if not self._unchanged():
            raise Changed("The file changed while it was read.")
        self.integrity = "length+revision"
        return self.integrity

    def _lines(self) -> Iterator[bytes]:
        for title, rows, columns in self._tabs:
            yield _line({"tab": title})
            at, count, most = 1, max(1, _CELLS // max(1, columns)), _MOST_CELLS // max(1, columns)
            while at <= rows:
                before = self.bytes_read
                try:
                    values = self._rows(title, at, min(rows, at + count - 1))
                except AnswerTooLarge as error:
                    if count == 1:
                        large = f"{_UNREADABLE}, and its row {at} to be asked for alone."
                        raise Skipped(large, code="row_too_long") from error
                    count = most = max(1, count // 4)
                    continue
                for number, cells in enumerate(values, at):
                    if any(cells):
                        yield _line([number, *cells])
                at += count
                if self.bytes_read - before < _SMALL and 2 * count <= most:
                    count *= 2

    def _rows(self, title: str, first: int, last: int) -> list[list[str]]:
        name = title.replace("'", "''")
        place = quote(f"'{name}'!{first}:{last}", safe="")
        answer = self._ask(f"/values/{place}", majorDimension="ROWS", valueRenderOption="FORMATTED_VALUE")
        rows = answer.get("values") or []
        if not isinstance(rows, list):
            raise _nonsense()
        return [[str(cell) for cell in row] for row in rows if isinstance(row, list)]

    def _first_look(self) -> list[tuple[str, int, int]]:
        try:
            answer = self._ask(fields=_TAB)
        except FileGone as error:
            self._unchanged()  # gone for Drive, too?
            raise ExportTooLarge(f"{_UNREADABLE}. Split it if it should be found.") from error
        except (Refused, Skipped) as error:
            raise ExportTooLarge(f"{_UNREADABLE}. Split it if it should be found.") from error
        except LongWait as error:
            if error.code not in ("SERVICE_DISABLED", "accessNotConfigured"):
                raise
            raise ExportTooLarge(
                f"{_UNREADABLE}, and the Sheets API, which gives it tab by tab, is off in this Google Cloud project. "
                "An operator must enable it."
            ) from error
        return [_tab(sheet) for sheet in answer.get("sheets") or [] if _has_cells(sheet)]

    def _ask(self, ending: str = "", **query: str) -> dict[str, Any]:
        self.requests += 1
        url = f"{_origin(self._client)}/v4/spreadsheets/{quote(self._file.id, safe='')}{ending}?{urlencode(query)}"
        answer = self._client.call("GET", url, headers=self._keys, most=_ANSWER, anywhere_trusted=True)
        self.bytes_read += len(answer.body)
        try:
            content = json.loads(answer.body)
        except ValueError as error:
            raise _nonsense() from error
        if not isinstance(content, dict):
            raise _nonsense()
        return content


def _origin(client: Client) -> str:
    """Google's Sheets beside Google's Drive; a server that stands for the one stands for the other, too."""
    drive = client.settings.drive_endpoint
    return _SHEETS if (urlsplit(drive).hostname or "").endswith(".googleapis.com") else drive


def _has_cells(sheet: Any) -> bool:
    """A tab may also hold one chart and no cell."""
    return isinstance(sheet, Mapping) and "gridProperties" in (sheet.get("properties") or {})


def _tab(sheet: Mapping[str, Any]) -> tuple[str, int, int]:
    """(title, rows, columns)."""
    tab = sheet["properties"]
    try:
        grid = tab["gridProperties"]
        return str(tab.get("title") or ""), int(grid.get("rowCount") or 0), int(grid.get("columnCount") or 0)
    except (AttributeError, TypeError, ValueError) as error:
        raise _nonsense() from error


def _line(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _nonsense() -> Unavailable:
    return Unavailable("The answer of Google Sheets makes no sense.", code="bad_answer")
