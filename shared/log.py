"""One JSON line per event on standard output, as Cloud Logging reads it, with everything secret taken out.

`severity`, `message`, the trace fields and `labels` are Cloud Logging's names; other fields are ours: function, lane,
user_id, job_id, file_id, attempt, code, seconds. What a line is about is a label too, so that one filter finds it in
every service. Which lines are counted, and by which fields, is said in infra/observability.json. No line ever holds a
token, a key, a document's text or a file's name.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextvars import ContextVar
from typing import Any, TextIO

_SECRETS = re.compile(
    r"ya29\.[\w.\-]+"  # access tokens
    r"|1//[\w\-]+"  # refresh tokens
    r"|4/[\w\-]{20,}"  # authorization codes
    r"|GOCSPX-[\w\-]+"  # client secrets
    r"|gAAAA[\w\-=]{20,}"  # Fernet tokens
    r"|(?<![\w\-])[\w\-]{43}=?(?![\w\-])"  # 32 random bytes: keys that seal, tokens of channels and sessions
    r"|(?<![\w\-])(?=[a-z0-9_\-]*[A-Z])[\w\-]{64}(?![\w\-])"  # 48 random bytes: states, verifiers; no hex digest
    r"|eyJ[\w\-]{8,}\.[\w\-]+\.[\w\-]+"  # JSON web tokens
    r"|(?<=[?&;\s\"'])(?:access_token|refresh_token|id_token|code|client_secret|state|token|password)=[^\s&\"']+"
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # passwords in addresses
    r"|(?i:bearer\s+)[\w.\-=]+"
)
_context: ContextVar[dict[str, Any] | None] = ContextVar("log_context", default=None)
_LABELS = ("function", "lane", "user_id", "file_id", "job_id")


def redact(text: str) -> str:
    """The text without anything that looks like a credential."""
    return _SECRETS.sub("[redacted]", text)


def bind(**fields: Any) -> None:
    """Fields that every further line of this request carries."""
    _context.set({**(_context.get() or {}), **fields})


def unbind() -> None:
    """Forget the fields of the last request."""
    _context.set(None)


def event(message: str, severity: str = "INFO", **fields: Any) -> None:
    """Write one event. Fields that are None are left out."""
    _write(sys.stdout, severity, message, fields)


def failure(message: str, error: BaseException, **fields: Any) -> None:
    """Write an unexpected error with its stack, redacted."""
    stack = "".join(traceback.format_exception(error))
    _write(sys.stdout, "ERROR", message, {**fields, "error": type(error).__name__, "stack": stack[-8000:]})


def _write(stream: TextIO, severity: str, message: str, fields: dict[str, Any]) -> None:
    line = {"severity": severity, "message": message, **(_context.get() or {}), **fields}
    labels = {name: str(line[name]) for name in _LABELS if line.get(name) is not None}
    line["logging.googleapis.com/labels"] = labels or None
    text = json.dumps({name: value for name, value in line.items() if value is not None}, default=str)
    stream.write(redact(text) + "\n")
    stream.flush()


class _JsonHandler(logging.Handler):
    """Lines of libraries in the same form. Libraries that would log addresses with tokens are held at WARNING."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["stack"] = "".join(traceback.format_exception(record.exc_info[1]))[-8000:]
        _write(sys.stdout, record.levelname, record.getMessage(), fields)


def configure() -> None:
    """Send the root logger through this module; called once, by the first request."""
    root = logging.getLogger()
    if any(isinstance(handler, _JsonHandler) for handler in root.handlers):
        return
    root.handlers[:] = [_JsonHandler()]
    root.setLevel(logging.WARNING)
