"""What a Drive method answers: JSON, nothing, content, or an error with the reasons of Google's error table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infra.local.google.items import Item


class ApiError(Exception):
    """An answer that is an error, with the reason that a client acts on."""

    def __init__(
        self, status: int, reason: str, message: str, *, location: str = "", place: str = "", domain: str = "global"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.location = location
        self.place = place
        self.domain = domain
        self.headers: dict[str, str] = {}

    def body(self) -> dict[str, Any]:
        """The error as Drive v3 says it."""
        one = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location:
            one |= {"location": self.location, "locationType": self.place or "parameter"}
        error: dict[str, Any] = {"code": self.status, "message": self.message, "errors": [one]}
        if self.status == 401:
            error["status"] = "UNAUTHENTICATED"
        return {"error": error}


def bad_parameter(name: str, message: str, reason: str = "invalid") -> ApiError:
    """A parameter that Drive refuses."""
    return ApiError(400, reason, message, location=name, place="parameter")


def file_not_found(file_id: str) -> ApiError:
    """Gone, never there, or not for this person: Drive does not say which."""
    return ApiError(404, "notFound", f"File not found: {file_id}.", location="fileId", place="parameter")


_MESSAGES = {
    "authError": "Invalid Credentials",
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "dailyLimitExceeded": "Daily Limit Exceeded",
    "downloadQuotaExceeded": "The download quota for this file has been exceeded.",
    "exportSizeLimitExceeded": "This file is too large to be exported.",
    "fileNotDownloadable": "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
    "fileNotExportable": "Export only supports Docs Editors files.",
    "cannotDownloadFile": "This file cannot be downloaded by the user.",
    "cannotDownloadAbusiveFile": "This file has been identified as malware or spam and cannot be downloaded.",
    "appNotAuthorizedToFile": "The user has not granted the app access to the file.",
    "insufficientFilePermissions": "The user does not have sufficient permissions for this file.",
    "insufficientPermissions": "Request had insufficient authentication scopes.",
    "domainPolicy": "The domain administrators have disabled Drive apps.",
    "notFound": "File not found.",
    "backendError": "Backend Error",
    "internalError": "Internal Error",
}
_REASONS = {
    400: "badRequest",
    401: "authError",
    403: "userRateLimitExceeded",
    404: "notFound",
    429: "rateLimitExceeded",
}
_USAGE_LIMITS = ("userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded")


def known_error(status: int, reason: str = "") -> ApiError:
    """An error of Google's table by status and reason, with its usual sentence."""
    reason = reason or _REASONS.get(status, "backendError")
    domain = "usageLimits" if reason in _USAGE_LIMITS else "global"
    if status == 401:
        error = ApiError(401, reason, _MESSAGES["authError"], location="Authorization", place="header")
        error.headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        return error
    return ApiError(status, reason, _MESSAGES.get(reason, reason), domain=domain)


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON answer."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Empty:
    """204 without a body."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of a file on disk, which a Range may cut."""

    item: Item


@dataclass(frozen=True, slots=True)
class Made:
    """Bytes that were made for this answer. Their size is not announced and no Range applies, as for exports."""

    body: bytes
    mime_type: str
    headers: dict[str, str] = field(default_factory=dict)


Answer = Json | Empty | FileContent | Made
