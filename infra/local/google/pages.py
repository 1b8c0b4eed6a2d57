"""The pages that a person sees: consent, messages, and a file opened from a search result.

Plain HTML without scripts; nothing is loaded from anywhere else.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from infra.local.google.export import DOCUMENT, EXPORTS, PRESENTATION, SPREADSHEET, text_of
from infra.local.google.folder import FolderDrive
from infra.local.google.items import Item
from infra.local.google.layout import Person

DRIVE_SCOPES = {
    "https://www.googleapis.com/auth/drive.readonly": "See and download all your Google Drive files",
    "https://www.googleapis.com/auth/drive.metadata.readonly": "See information about your Google Drive files",
    "https://www.googleapis.com/auth/drive": "See, edit, create and delete all your Google Drive files",
}
_WORDS = {
    "openid": "Know who you are on Google",
    "email": "See your e-mail address",
    "profile": "See your name",
    "https://www.googleapis.com/auth/userinfo.email": "See your e-mail address",
    "https://www.googleapis.com/auth/userinfo.profile": "See your name",
}
_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 38rem; margin: 2rem auto; padding: 0 1rem }
fieldset { border: 1px solid #8888; border-radius: .5rem; margin: 1rem 0; padding: .5rem 1rem }
label { display: block; padding: .4rem 0 }
button { font: inherit; padding: .6rem 1.4rem; margin: 0 .5rem .5rem 0; border-radius: .5rem; border: 1px solid #8888;
  cursor: pointer }
button[value=allow] { background: #0b57d0; border-color: #0b57d0; color: #fff }
:focus-visible { outline: 3px solid #f59e0b; outline-offset: 2px }
dt { font-weight: 600 } dd { margin: 0 0 .5rem; overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #8888; border-radius: .5rem; padding: 1rem }
img { max-width: 100% }
.page { max-width: 60rem }
"""
_PREVIEW_BYTES = 1024 * 1024
_TEXT_APPLICATIONS = ("json", "xml", "sql", "x-ndjson", "x-yaml", "rtf", "mbox", "javascript", "x-sh")
_TEXT_TYPES = ("text/", "message/", *(f"application/{kind}" for kind in _TEXT_APPLICATIONS))
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def page_headers(nonce: str | None, form_target: str | None) -> dict[str, str]:
    """Headers of every page: no scripts, no outside requests, no framing, no caching."""
    # Browsers hold a form to form-action through every redirect that follows it, so the app's own host is named.
    target = f"form-action 'self' {form_target}" if form_target else "form-action 'none'"
    style = f"style-src 'nonce-{nonce}'; " if nonce else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; {style}img-src 'self'; {target}; base-uri 'none'; "
        "frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _page(title: str, body: str, status: int = 200, form_target: str | None = None, css_class: str = "") -> Response:
    nonce = secrets.token_urlsafe(16)
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style nonce="{nonce}">{_STYLE}</style>'
        f'</head><body class="{css_class}"><main>{body}</main></body></html>'
    )
    return HTMLResponse(text, status, page_headers(nonce, form_target))


def message_page(title: str, text: str, status: int) -> Response:
    """One sentence for a person."""
    return _page(title, f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>", status)


def consent_page(ticket: str, asked: Mapping[str, str], people: Sequence[Person], hinted: Person | None) -> Response:
    """Who are you, and what may the app do? The Drive permission can be left out."""
    chosen = hinted or people[0]
    choices = "".join(
        f'<label><input type="radio" name="person" value="{html.escape(p.email)}" {"checked" if p == chosen else ""}> '
        f"{html.escape(p.name)} &lt;{html.escape(p.email)}&gt;</label>"
        for p in people
    )
    permissions = "".join(_permission(scope) for scope in dict.fromkeys(asked["scope"].split()))
    parts = urlsplit(asked["redirect_uri"])
    body = (
        "<h1>Drivestream wants to access a Google Account</h1>"
        "<p>This is the local Google: the people are test people, and their files are a folder on this machine.</p>"
        '<form method="post" action="/o/oauth2/v2/consent">'
        f'<input type="hidden" name="ticket" value="{html.escape(ticket)}">'
        f"<fieldset><legend>Choose a person</legend>{choices}</fieldset>"
        f"<fieldset><legend>Drivestream will be able to</legend>{permissions}</fieldset>"
        '<button type="submit" name="decision" value="allow">Allow</button>'
        '<button type="submit" name="decision" value="cancel">Cancel</button></form>'
    )
    # Any port of it: the app's doors share one host here, and the first one sends the browser on to the next.
    return _page("Allow access?", body, form_target=f"{parts.scheme}://{parts.hostname}:*")


def _permission(scope: str) -> str:
    if scope in DRIVE_SCOPES:
        name = html.escape(f"scope:{scope}")
        return f'<label><input type="checkbox" name="{name}" checked> {html.escape(DRIVE_SCOPES[scope])}</label>'
    return f"<p>{html.escape(_WORDS.get(scope, scope))}</p>"


class OpenPages:
    """What `webViewLink` opens: a page about one file, for the person to whom the link was given."""

    def __init__(self, folder: FolderDrive, key_of: Callable[[str, str], str]) -> None:
        self._folder = folder
        self._key_of = key_of

    def routes(self) -> list[Route]:
        """The page and the file itself."""
        return [
            Route("/open/{file_id}", self._open, methods=["GET"]),
            Route("/open/{file_id}/raw", self._raw, methods=["GET"]),
            # Browsers ask every site for it, and note on the console where there is none.
            Route("/favicon.ico", lambda _: Response(status_code=204), methods=["GET"]),
        ]

    async def _open(self, request: Request) -> Response:
        return await run_in_threadpool(self._opened, request)

    def _opened(self, request: Request) -> Response:
        item = self._asked(request)
        if item is None:
            return message_page("Not found", "This file is gone, or this link was not made for you.", 404)
        raw = f"/open/{item.id}/raw?{html.escape(request.url.query)}"
        link = "" if item.is_folder or item.kind == "shortcut" else f'<p><a href="{raw}">Open the file itself</a></p>'
        body = (
            f"<h1>{html.escape(item.name)}</h1><dl><dt>Kind</dt><dd>{html.escape(item.mime_type)}</dd>"
            f"<dt>Folder</dt><dd>{html.escape(self._place(item))}</dd></dl>{link}{self._preview(item, raw)}"
        )
        return _page(item.name, body, css_class="page")

    async def _raw(self, request: Request) -> Response:
        item = await run_in_threadpool(self._asked, request)
        if item is None or item.is_folder or item.kind == "shortcut":
            return message_page("Not found", "This file is gone, or this link was not made for you.", 404)
        kind = "text/plain; charset=utf-8" if item.kind == "native" else item.mime_type
        if kind.startswith("text/") and "charset" not in kind:
            kind += "; charset=utf-8"
        # A sandbox keeps a hostile HTML or SVG file from acting as this site; browsers refuse to show PDF inside one.
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
        headers = page_headers(None, None)
        headers["Content-Security-Policy"] = "default-src 'none'" if kind == "application/pdf" else policy
        inline = kind.startswith(("text/", "image/")) or kind == "application/pdf"
        path = self._folder.path_of(item)
        return FileResponse(
            path, 200, headers, kind, filename=item.name, content_disposition_type="inline" if inline else "attachment"
        )

    def _asked(self, request: Request) -> Item | None:
        file_id = request.path_params["file_id"]
        email = request.query_params.get("for", "")
        key = request.query_params.get("key", "")
        if not secrets.compare_digest(key.encode(), self._key_of(file_id, email).encode()):
            return None
        item = self._folder.current(file_id)
        return item if item is not None and self._folder.may_see(email, item) else None

    def _place(self, item: Item) -> str:
        names: list[str] = []
        parent = self._folder.item(item.parent)
        while parent is not None:
            names.insert(0, parent.name)
            parent = self._folder.item(parent.parent)
        return " / ".join(names)

    def _preview(self, item: Item, raw: str) -> str:
        if item.mime_type in _IMAGE_TYPES:
            return f'<img src="{raw}" alt="{html.escape(item.name)}">'
        text = self._text(item)
        if text is None:
            return ""
        more = "<p>Only the beginning is shown.</p>" if len(text) >= _PREVIEW_BYTES else ""
        return f"<pre>{html.escape(text)}</pre>{more}"

    def _text(self, item: Item) -> str | None:
        try:
            with self._folder.path_of(item).open("rb") as file:
                start = file.read(_PREVIEW_BYTES)
        except OSError:
            return None
        if item.kind == "native":
            kind = {DOCUMENT: "text/markdown", SPREADSHEET: "text/csv", PRESENTATION: "text/plain"}.get(item.mime_type)
            return text_of(EXPORTS[item.mime_type][kind](start)) if kind else None
        return text_of(start) if item.kind == "blob" and item.mime_type.startswith(_TEXT_TYPES) else None
