"""The vector of one search query, by one plain authorised request.

The dashboard embeds nothing else, and Vertex's client would cost it a second and a hundred megabytes at its start.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Iterable
from functools import cache
from operator import mul
from typing import Any

import google.auth
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession

from shared.adapters.google_calls import CLOUD_PLATFORM, BadAnswer, InvalidArgument, classified, patiently, refusal
from shared.config import Settings
from shared.domain.errors import BadRequest, LongWait, Unavailable
from shared.domain.tokens import estimate_tokens

SERVICE = "Vertex AI"
QUERY_TOKENS = 1_024
# A person is waiting: two or three tries within a few seconds, then say so.
PATIENCE = 1 / 20
QUERY_SECONDS = 10.0


def embed_query(settings: Settings, text: str, *, credentials: Credentials | None = None) -> list[float]:
    """The unit vector of `text`, comparable to those of the passages. Raises `BadRequest` for a query that is empty or
    too long, `Unavailable` where Vertex does not answer."""
    if not text.strip():
        raise BadRequest("Type something to search for.")
    if estimate_tokens(text) > QUERY_TOKENS:
        raise BadRequest("This query is too long; use a sentence or two.")
    session = _session(credentials)

    def ask() -> list[float]:
        method, body, path = _request(settings, text)
        url = f"{settings.vertex_endpoint}/v1/{model_name(settings, settings.embedding_model)}:{method}"
        with classified(SERVICE):
            response = session.post(url, json=body, timeout=min(QUERY_SECONDS, settings.http_timeout_seconds))
        if response.status_code != 200:
            raise refusal(SERVICE, response)
        return list(normalised(_values(response, path), settings.embedding_dimensions))

    try:
        return patiently(ask, base_seconds=settings.retry_base_seconds * PATIENCE)
    except InvalidArgument as error:
        raise BadRequest("This query cannot be searched for; try other words.") from error
    except LongWait as wait:
        raise Unavailable(wait.reason, retry_after=wait.retry_after, code=wait.code) from wait


def model_name(settings: Settings, model: str) -> str:
    """The resource name of a model of Google's."""
    place = f"projects/{settings.google_cloud_project}/locations/{settings.vertex_location}"
    return f"{place}/publishers/google/models/{model}"


def embeds_content(model: str) -> bool:
    """Whether a model is asked by `:embedContent`, one text a call and its task told in the text, not by `:predict`."""
    return model.startswith("gemini-embedding-") and model != "gemini-embedding-001"


def normalised(values: Iterable[float], dimensions: int) -> array[float]:
    """The vector with length one, in single precision: Vertex normalises only vectors of full size. Raises `BadAnswer`
    for a wrong number of values, NaN, infinity, or nothing but zeros."""
    vector = array("d", values)
    if len(vector) != dimensions:
        raise BadAnswer(f"{SERVICE} sent a vector of {len(vector)} numbers instead of {dimensions}.")
    length = math.sqrt(sum(map(mul, vector, vector)))
    if not 0.0 < length < math.inf:
        raise BadAnswer(f"{SERVICE} sent a vector that is not a direction.")
    scale = 1.0 / length
    return array("f", [number * scale for number in vector])


def _request(settings: Settings, text: str) -> tuple[str, dict[str, Any], tuple[str | int, ...]]:
    """Method, body, and where in the answer the values are."""
    size = settings.embedding_dimensions
    if embeds_content(settings.embedding_model):
        asked = f"task: search result | query: {text}"
        content = {"role": "user", "parts": [{"text": asked}]}
        body = {"content": content, "embedContentConfig": {"outputDimensionality": size, "autoTruncate": False}}
        return "embedContent", body, ("embedding", "values")
    instances = [{"content": text, "task_type": "RETRIEVAL_QUERY"}]
    body = {"instances": instances, "parameters": {"autoTruncate": False, "outputDimensionality": size}}
    return "predict", body, ("predictions", 0, "embeddings", "values")


def _values(response: Any, path: tuple[str | int, ...]) -> list[float]:
    try:
        found = response.json()
        for step in path:
            found = found[step]
        return [float(value) for value in found]
    except (ValueError, LookupError, TypeError) as error:
        raise BadAnswer(f"{SERVICE} sent an answer that cannot be read.") from error


_making = threading.Lock()


def _session(credentials: Credentials | None) -> AuthorizedSession:
    with _making:
        return AuthorizedSession(credentials) if credentials else _default_session()  # type: ignore[no-untyped-call]


@cache
def _default_session() -> AuthorizedSession:
    found, _ = google.auth.default(scopes=CLOUD_PLATFORM)
    return AuthorizedSession(found)  # type: ignore[no-untyped-call]
