"""What can go wrong, said as an instruction to the broker.

The class of an error decides what happens to the message that caused it (`shared.consume`):

Rejected                 acknowledged; the reason is recorded; trying again cannot help
  FileGone               Drive no longer shows this file to this person
  Skipped                the file is there, but its text cannot be had; the reason says why
  BadRequest             an HTTP door was used wrongly; the reason is shown to the caller
Unavailable              redelivered; `retry_after` says when, in seconds, if somebody knows
  LongWait               longer than a redelivery should wait: the work is written down as `waiting`
  ReconnectNeeded        nothing can go on before the person connects again
Superseded               somebody else holds this work now (a stale epoch); acknowledged, nothing written

Anything else is a bug: it is redelivered until it is dead-lettered. A reason is a sentence a person understands,
with the next step where there is one; `code` is its stable name for counting and replay.
"""

from __future__ import annotations


class DrivestreamError(Exception):
    """An outcome with a stable code and a sentence for a person."""

    code = "error"

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code


class Rejected(DrivestreamError):
    """Trying again cannot help: acknowledge, and record the reason."""

    code = "rejected"


class FileGone(Rejected):
    """Drive no longer shows this file to this person: deleted, or no longer shared."""

    code = "gone"


class Skipped(Rejected):
    """The file is there, but its text cannot be had. Ends the file as `skipped` with this reason."""

    code = "skipped"


class BadRequest(Rejected):
    """An HTTP door was used wrongly, or too often. `status` is the answer's 4xx code; the same request may do after
    `retry_after` seconds, if it ever will."""

    code = "bad_request"

    def __init__(
        self, reason: str, *, status: int = 400, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(reason, code=code)
        self.status = status
        self.retry_after = retry_after


class Unavailable(DrivestreamError):
    """Not now: let the broker deliver it again, after `retry_after` seconds if somebody knows."""

    code = "unavailable"

    def __init__(self, reason: str, *, retry_after: float | None = None, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.retry_after = retry_after


class LongWait(Unavailable):
    """Quota or a service is away for longer than a redelivery should wait: write it down as `waiting`."""

    code = "waiting"


class ReconnectNeeded(Unavailable):
    """Google no longer accepts the person's grant. Work pauses until they connect again."""

    code = "reconnect_needed"


class Superseded(DrivestreamError):
    """Somebody newer holds this work: acknowledge and write nothing."""

    code = "superseded"
