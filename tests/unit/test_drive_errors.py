"""Every refusal that Drive can give has a meaning, and every file that it can describe can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from shared.adapters import drive
from shared.adapters.drive import ExportTooLarge, PageTokenRejected, Refused, Unsupported, classify
from shared.adapters.transport import RateLimited, retry_after
from shared.domain.errors import FileGone, LongWait, ReconnectNeeded, Skipped, Unavailable
from shared.domain.files import (
    DOCUMENT,
    DRAWING,
    FIELDS,
    FOLDER,
    PRESENTATION,
    SHORTCUT,
    SPREADSHEET,
    TABS,
    File,
    exports_of,
    why_not_exported,
)

# Drive's documented reasons, the status they come with, and what they are to us.
TABLE: list[tuple[int, str, type[Exception]]] = [
    (400, "badRequest", Refused),
    (400, "invalid", Refused),
    (400, "channelIdNotUnique", Unavailable),
    (400, "push.webhookUrlUnauthorized", Unsupported),
    (401, "push.webhookUrlUnauthorized", Unsupported),
    (400, "push.channelTypeNotSupported", Unsupported),
    (400, "push.webhookUrlNotHttps", Unsupported),
    (401, "authError", ReconnectNeeded),
    (403, "userRateLimitExceeded", RateLimited),
    (403, "rateLimitExceeded", RateLimited),
    (403, "RATE_LIMIT_EXCEEDED", RateLimited),
    (429, "RESOURCE_EXHAUSTED", RateLimited),
    (403, "dailyLimitExceeded", LongWait),
    (403, "dailyLimitExceededUnreg", LongWait),
    (403, "quotaExceeded", LongWait),
    (403, "SERVICE_DISABLED", LongWait),
    (403, "downloadQuotaExceeded", LongWait),
    (403, "accessNotConfigured", LongWait),
    (403, "exportSizeLimitExceeded", ExportTooLarge),
    (403, "fileNotDownloadable", Skipped),
    (403, "fileNotExportable", Skipped),
    (403, "download_restricted_for_revision", Skipped),
    (403, "cannotDownloadFile", Skipped),
    (403, "cannotExportFile", Skipped),
    (403, "cannotDownloadAbusiveFile", Skipped),
    (403, "invalidAbuseAcknowledgment", Skipped),
    (403, "appNotAuthorizedToFile", Skipped),
    (403, "insufficientFilePermissions", Skipped),
    (403, "teamDriveMembershipRequired", Skipped),
    (403, "insufficientPermissions", ReconnectNeeded),
    (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", ReconnectNeeded),
    (403, "domainPolicy", ReconnectNeeded),
    (403, "somethingNew", Skipped),
    (404, "notFound", FileGone),
    (405, "", Refused),
    (408, "", Unavailable),
    (410, "", PageTokenRejected),
    (429, "rateLimitExceeded", RateLimited),
    (429, "", RateLimited),
    (500, "internalError", Unavailable),
    (501, "", Refused),
    (502, "", Unavailable),
    (503, "backendError", Unavailable),
    (504, "", Unavailable),
]


def body_of(status: int, reason: str, **more: object) -> bytes:
    error = {"code": status, "message": "Because.", "errors": [{"domain": "global", "reason": reason, **more}]}
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(("status", "reason", "meaning"), TABLE)
def test_every_reason_has_its_meaning(status: int, reason: str, meaning: type[Exception]) -> None:
    """A refusal that is misread either hammers Drive or loses a file."""
    error = classify(status, body_of(status, reason), {})

    assert type(error) is meaning
    if isinstance(error, (Skipped, LongWait, ReconnectNeeded, Unsupported)):
        assert error.code == reason
        assert error.reason.endswith(".")
        assert len(error.reason) > 30


def test_the_table_leaves_out_no_reason_that_is_known() -> None:
    """A reason that the adapter knows and no test does may change its meaning in silence."""
    known = {*drive._SKIPPED, *drive._WAITING, *drive._RECONNECT, *drive._TOO_FAST, *drive._UNSUPPORTED}

    assert known <= {reason for _, reason, _ in TABLE}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b'{"error": "x"}', b'{"error": {"errors": [1]}}', b"\xff"]
)
def test_an_answer_without_googles_json_is_read_by_its_status(status: int, body: bytes) -> None:
    """Proxies answer in HTML, and other servers in whatever they like."""
    assert type(classify(status, body, {})) is type(classify(status, b"", {}))


def test_the_newer_shape_of_errors_is_read_too() -> None:
    """Google's newer services put the reason into details."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]
    body = json.dumps({"error": {"code": 403, "status": "PERMISSION_DENIED", "details": details}}).encode()
    assert isinstance(classify(403, body, {}), ReconnectNeeded)
    body = json.dumps({"error": {"code": 403, "status": "RESOURCE_EXHAUSTED"}}).encode()
    assert isinstance(classify(403, body, {}), RateLimited)


def test_a_stale_page_token_is_known_by_its_place() -> None:
    """Only the token's own 400 means to list everything again."""
    error = classify(400, body_of(400, "invalid", location="pageToken"), {})
    assert isinstance(error, PageTokenRejected)


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("0", 0.0), ("-5", 0.0), ("99999999", 600.0), ("soon", None), ("nan", None)]
)
def test_retry_after_is_honoured_within_reason(header: str, seconds: float | None) -> None:
    """A server may ask for a pause, not for a holiday."""
    assert retry_after({"retry-after": header}) == seconds
    error = classify(429, b"", {"retry-after": header})
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    """HTTP allows both forms."""
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}) == 600.0
    assert retry_after({}) is None


FULL = {
    "id": "f1",
    "name": "Report.pdf",
    "mimeType": "application/pdf",
    "size": "5497558138880",
    "md5Checksum": "AB",
    "sha256Checksum": "CD",
    "headRevisionId": "r1",
    "version": "12",
    "createdTime": "2026-01-02T03:04:05.678Z",
    "modifiedTime": "2026-01-02T03:04:05+02:00",
    "parents": ["root"],
    "ownedByMe": True,
    "owners": [{"emailAddress": "you@example.com", "permissionId": "1"}, {}],
    "lastModifyingUser": {"emailAddress": "me@example.com"},
    "shortcutDetails": {"targetId": "t", "targetMimeType": "text/plain", "targetResourceKey": "k"},
    "capabilities": {"canDownload": False, "canCopy": True},
    "downloadRestrictions": {"effectiveDownloadRestrictionWithContext": {"restrictedForReaders": True}},
    "contentRestrictions": [{"readOnly": True}],
    "exportLinks": {"application/pdf": "https://x"},
}


def test_a_file_is_read_from_drives_json() -> None:
    """64-bit numbers come as strings, times with zones, and half of it only sometimes."""
    file = File.from_drive(FULL)

    assert (file.size, file.version) == (5 * 1024**4, 12)
    assert file.created_time == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert file.modified_time == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert (file.md5, file.sha256, file.content_key) == ("ab", "cd", "sha256:cd")
    assert (file.owners, file.last_modifying_user) == (("you@example.com",), "me@example.com")
    assert (file.target_id, file.target_resource_key) == ("t", "k")
    assert (file.can_download, file.can_copy, file.download_restricted, file.read_only) == (False, True, True, True)
    assert file.exports == ("application/pdf",)


@pytest.mark.parametrize("key", sorted(FULL.keys() - {"id"}))
@pytest.mark.parametrize("value", [None, "", "absent"])
def test_a_plain_server_may_leave_out_anything_but_the_id(key: str, value: str | None) -> None:
    """Servers that speak Drive v3 differ in what they know; a missing field is not a fault."""
    known = {name: given for name, given in FULL.items() if name != key}
    file = File.from_drive(known if value == "absent" else {**known, key: value})
    assert file.id == "f1"
    assert file.content_key


def test_a_file_without_an_id_is_none() -> None:
    """Nothing could be done with it, and leaving it out in silence would lose a file."""
    with pytest.raises(ValueError, match="id"):
        File.from_drive({"name": "x"})


def test_the_content_key_takes_the_best_name_there_is() -> None:
    """Equal keys must mean equal content: what changes without the content must not be in it."""
    plain = {"id": "f", "name": "n", "mimeType": "text/plain", "modifiedTime": "2026-01-01T00:00:00Z", "version": "4"}
    assert File.from_drive({**plain, "md5Checksum": "aa", "headRevisionId": "r"}).content_key == "md5:aa"
    assert File.from_drive({**plain, "headRevisionId": "r"}).content_key == "revision:r"
    assert File.from_drive(plain).content_key == "modified:2026-01-01T00:00:00+00:00"
    native = {**plain, "mimeType": DOCUMENT, "md5Checksum": "aa", "headRevisionId": "r"}
    assert File.from_drive(native).content_key == "modified:2026-01-01T00:00:00+00:00"
    assert File.from_drive({**plain, "md5Checksum": "aa", "sha256Checksum": "bb"}).checksum == ("sha256", "bb")


def test_kinds_are_told_apart() -> None:
    """Folders and shortcuts have no content; native files have some only when exported."""
    kinds = {mime: File(id="x", name="x", mime_type=mime) for mime in (FOLDER, SHORTCUT, DOCUMENT, "text/plain")}
    assert [f.is_folder for f in kinds.values()] == [True, False, False, False]
    assert [f.is_shortcut for f in kinds.values()] == [False, True, False, False]
    assert [f.is_native for f in kinds.values()] == [False, False, True, False]


@pytest.mark.parametrize(
    "kind", ["form", "site", "map", "jam", "vid", "script", "fusiontable", "drive-sdk.1234", "unknown"]
)
def test_native_files_without_text_say_why(kind: str) -> None:
    """Every file ends in a state with a reason, also a form."""
    file = File(id="x", name="x", mime_type=f"application/vnd.google-apps.{kind}")
    assert exports_of(file) == ()
    assert len(why_not_exported(file) or "") > 30


OFFICE = "application/vnd.openxmlformats-officedocument."
XLSX, PPTX = f"{OFFICE}spreadsheetml.sheet", f"{OFFICE}presentationml.presentation"


@pytest.mark.parametrize(
    ("kind", "offered", "ladder"),
    [
        (DOCUMENT, (), ("text/markdown", "text/plain")),
        (DOCUMENT, ("text/plain", "text/markdown", "application/pdf"), ("text/markdown", "text/plain")),
        (DOCUMENT, ("text/plain",), ("text/plain",)),
        (SPREADSHEET, (), (XLSX, TABS)),
        (SPREADSHEET, ("text/csv", XLSX), (XLSX, TABS)),
        (SPREADSHEET, ("text/csv",), ("text/csv",)),
        (PRESENTATION, (), (PPTX, "text/plain")),
        (PRESENTATION, ("application/pdf", "text/plain", PPTX), (PPTX, "text/plain", "application/pdf")),
        (PRESENTATION, ("text/plain",), ("text/plain",)),
        (DRAWING, (), ("image/svg+xml",)),
        (DRAWING, ("image/png", "application/pdf"), ("application/pdf", "image/png")),
    ],
)
def test_the_ladder_of_a_native_file_has_the_rungs_that_drive_offers(
    kind: str, offered: tuple[str, ...], ladder: tuple[str, ...]
) -> None:
    """Slides keep numbers and notes in PPTX only, a drawing's PDF its words, and a CSV is one tab of several."""
    file = File(id="x", name="x", mime_type=kind, exports=offered)

    assert exports_of(file) == ladder
    assert why_not_exported(file) is None


def test_what_has_bytes_is_not_exported() -> None:
    """It is downloaded."""
    assert exports_of(File(id="x", name="x", mime_type="text/plain")) == ()


def test_every_asked_field_is_one_that_drive_has() -> None:
    """A field that does not exist makes Drive refuse the whole listing."""
    import googleapiclient.discovery_cache as bundled

    document = json.loads(bundled.get_static_doc("drive", "v3"))
    known = document["schemas"]["File"]["properties"]
    depth, name, names = 0, "", set()
    for letter in FIELDS + ",":
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            names.add(name.split("(")[0])
            name = ""
        else:
            name += letter
    assert names <= known.keys()
