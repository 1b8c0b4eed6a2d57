"""The vector of one search query. The dashboard embeds nothing else, and a person waits for it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from shared.adapters.embedding_requests import QUERY, EmbeddingModel
from shared.adapters.google_calls import InvalidArgument, patiently
from shared.config import Settings
from shared.domain.errors import BadRequest, LongWait, Unavailable
from shared.domain.tokens import estimate_tokens

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

QUERY_TOKENS = 1_024
# A person is waiting: two or three tries within a few seconds, then say so.
PATIENCE = 1 / 20
QUERY_SECONDS = 10.0
TOO_LONG = "This query is too long; use a sentence or two."


def embed_query(settings: Settings, text: str, *, credentials: Credentials | None = None) -> list[float]:
    """The unit vector of `text`, comparable to those of the passages. Raises `BadRequest` for a query that is empty or
    too long, `Unavailable` where Vertex does not answer."""
    if not text.strip():
        raise BadRequest("Type something to search for.")
    if estimate_tokens(text) > QUERY_TOKENS:
        raise BadRequest(TOO_LONG)
    model = _model(settings, credentials)
    seconds = min(QUERY_SECONDS, settings.http_timeout_seconds)
    try:
        (vector,) = patiently(
            lambda: model.vectors([text], task=QUERY, timeout=seconds),
            base_seconds=settings.retry_base_seconds * PATIENCE,
        )
    except InvalidArgument as error:
        raise BadRequest("This query cannot be searched for; try other words.") from error
    except LongWait as wait:
        raise Unavailable(wait.reason, retry_after=wait.retry_after, code=wait.code) from wait
    if vector.values is None:
        raise BadRequest(TOO_LONG)
    return list(vector.values)


@cache
def _model(settings: Settings, credentials: Credentials | None) -> EmbeddingModel:
    return EmbeddingModel(settings, credentials)
