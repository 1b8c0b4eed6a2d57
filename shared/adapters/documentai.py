"""Document AI: small PDFs and pictures → the text of each page."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.auth.credentials import Credentials

from shared import tracing
from shared.adapters.google_calls import BadAnswer, InvalidArgument, patiently
from shared.config import Settings
from shared.domain.errors import Skipped
from shared.domain.quota import DOCUMENT_AI
from shared.domain.spending import Account

if TYPE_CHECKING:
    from google.cloud.documentai_v1 import DocumentProcessorServiceClient

SERVICE = DOCUMENT_AI
MOST_BYTES = 40 * 1024 * 1024
FIELDS = "text,pages.pageNumber,pages.layout.textAnchor"
# Fifteen dense pages take far longer than one small request.
TIMEOUT_FACTOR = 3


@dataclass(frozen=True, slots=True)
class RecognizedPage:
    """The text of one page; `number` counts from 1 within the document that was sent."""

    number: int
    text: str


class Recognition(list[RecognizedPage]):
    """The pages of one document, in order; all of them are billed, also those without text."""

    @property
    def pages_billed(self) -> int:
        """How many pages this call costs."""
        return len(self)


class TooManyPages(Skipped):
    """More pages than one request may have: the readers cut windows that fit, unless the limit was lowered."""

    code = "page_limit"


class Recognizer:
    """Recognises text by the processor of the settings. Safe to share between threads."""

    def __init__(self, settings: Settings, *, credentials: Credentials | None = None) -> None:
        self._settings = settings
        self._credentials = credentials
        self._client: DocumentProcessorServiceClient | None = None
        self._making = threading.Lock()

    def recognize(
        self, content: bytes, mime_type: str, pages: int | None = None, account: Account | None = None
    ) -> Recognition:
        """Every page of a PDF (at most 15 pages, or 30 where the settings say imageless) or a picture, 40 MB at most.
        `pages` is how many there must be, where that is known: the first few are never taken for all.

        Raises `TooManyPages`, `Skipped` where the document is broken or cannot be recognised here, `LongWait` where
        the quota or the account's time is used up, `Unavailable` where the service does not answer, or answers twice
        without every page.
        """
        account = account or Account()
        if not content:
            raise Skipped("There is nothing to recognise: the picture is empty.", code="broken")
        if len(content) > MOST_BYTES:
            raise Skipped("The pages are too large to be recognised: 40 MB at a time at most.", code="too_large")

        def once() -> Recognition:
            timeout = account.time_for(TIMEOUT_FACTOR * self._settings.http_timeout_seconds)
            found = Recognition(_pages(self._process(content, mime_type, timeout)))
            account.pay(ocr_pages=found.pages_billed)
            if pages is not None and len(found) != pages:
                raise BadAnswer(f"{SERVICE} sent {len(found)} pages of {pages}.")
            return found

        try:
            with tracing.span("recognise", "CLIENT", service=SERVICE, bytes=len(content)):
                return patiently(once, base_seconds=self._settings.retry_base_seconds)
        except InvalidArgument as error:
            raise _refused(error) from error

    def _process(self, content: bytes, mime_type: str, timeout: float) -> Any:
        client = self._made()
        request = {
            "name": self._settings.documentai_processor,
            "raw_document": {"content": content, "mime_type": mime_type},
            "field_mask": FIELDS,
            "skip_human_review": True,
            "imageless_mode": self._settings.documentai_imageless,
        }
        from shared.adapters.google_clients import classified  # brings gRPC, as the client does

        with classified(SERVICE):
            return client.process_document(request=request, timeout=timeout, retry=None).document

    def _made(self) -> DocumentProcessorServiceClient:
        with self._making:
            if self._client is None:
                from google.api_core.client_options import ClientOptions
                from google.cloud.documentai_v1 import DocumentProcessorServiceClient

                self._client = DocumentProcessorServiceClient(
                    credentials=self._credentials,
                    transport="rest",
                    client_options=ClientOptions(api_endpoint=self._settings.documentai_endpoint),
                )
            return self._client


def _refused(error: InvalidArgument) -> Skipped:
    """Terminal, each: the same document would be refused again."""
    if error.detail == "PAGE_LIMIT_EXCEEDED":
        return TooManyPages(f"{SERVICE} takes fewer pages at a time: {error.reason}")
    if error.status == "FAILED_PRECONDITION":
        return Skipped(error.reason, code="ocr_missing")
    return Skipped(f"The pages cannot be recognised: {error.reason}", code="broken")


def _pages(document: Any) -> Iterable[RecognizedPage]:
    for position, page in enumerate(document.pages, 1):
        segments = page.layout.text_anchor.text_segments
        text = "".join(document.text[int(one.start_index) : int(one.end_index)] for one in segments)
        yield RecognizedPage(page.page_number or position, text.strip())
