"""Embedding models, asked by plain authorised requests: JSON out, JSON back.

Vertex's own client makes a message of every number and costs a multiple of the processor's time, and a second and a
hundred megabytes at the start; see docs/decisions/20261123-embeddings-by-plain-requests.md. A vector depends on its
text and the model alone (no title is sent), so that equal passages of different files share one.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any

from shared.adapters.google_calls import BadAnswer
from shared.adapters.google_requests import GoogleRequests
from shared.config import Settings
from shared.domain.quota import VERTEX_AI
from shared.domain.spending import Account

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SERVICE = VERTEX_AI
PASSAGE = "RETRIEVAL_DOCUMENT"
QUERY = "RETRIEVAL_QUERY"
# Models that are asked by `:embedContent` are told in the text what it is for, in these words.
PREFIXES = {PASSAGE: "title: none | text: ", QUERY: "task: search result | query: "}


@dataclass(frozen=True, slots=True)
class Vector:
    """A unit vector in single precision, or None and the reason."""

    values: array[float] | None
    reason: str = ""


class EmbeddingModel:
    """The embedding model of the settings. Safe to share between threads."""

    def __init__(self, settings: Settings, credentials: Credentials | None = None) -> None:
        self._settings = settings
        self._requests = GoogleRequests(SERVICE, credentials)

    @property
    def texts_a_call(self) -> int:
        """How many texts one call may have."""
        return 1 if embeds_content(self._settings.embedding_model) else self._settings.embedding_texts_per_request

    def vectors(
        self, texts: Sequence[str], *, task: str, timeout: float, account: Account | None = None
    ) -> list[Vector]:
        """One call: a vector of each text, in order, never of a text cut short. `timeout` is in seconds; what Vertex
        counted is paid from the account, also for vectors that cannot be used.

        Raises `InvalidArgument` where the model refuses the texts (one of them is enough), `BadAnswer` for what are no
        vectors of the settings' size, `Unavailable` where Vertex does not answer.
        """
        settings = self._settings
        method, body = _request(settings, texts, task)
        url = f"{settings.vertex_endpoint}/v1/{model_name(settings, settings.embedding_model)}:{method}"
        answer = _answer(self._requests.ask("POST", url, body=body, timeout=timeout))
        if account is not None:
            account.pay(embedded_tokens=_tokens(answer))
        found = _vectors(answer, settings.embedding_dimensions)
        if len(found) != len(texts):
            raise BadAnswer(f"{SERVICE} sent {len(found)} vectors for {len(texts)} texts.")
        return found


def model_name(settings: Settings, model: str) -> str:
    """The resource name of a model of Google's."""
    place = f"projects/{settings.google_cloud_project}/locations/{settings.vertex_location}"
    return f"{place}/publishers/google/models/{model}"


def embeds_content(model: str) -> bool:
    """Whether a model is asked by `:embedContent`, one text a call and its task told in the text, not by `:predict`."""
    return model.startswith("gemini-embedding-") and model != "gemini-embedding-001"


def normalised(values: Iterable[float], dimensions: int) -> array[float]:
    """The vector with length one, in single precision: Vertex normalises only vectors of full size. Raises `BadAnswer`
    for a wrong number of values, NaN, infinity, or nothing but zeros, and `TypeError` for what is no number."""
    vector = array("d", values)
    if len(vector) != dimensions:
        raise BadAnswer(f"{SERVICE} sent a vector of {len(vector)} numbers instead of {dimensions}.")
    length = math.sqrt(sum(map(mul, vector, vector)))
    if not 0.0 < length < math.inf:
        raise BadAnswer(f"{SERVICE} sent a vector that is not a direction.")
    scale = 1.0 / length
    return array("f", [number * scale for number in vector])


def _request(settings: Settings, texts: Sequence[str], task: str) -> tuple[str, dict[str, Any]]:
    """Method and body."""
    limits = {"outputDimensionality": settings.embedding_dimensions, "autoTruncate": False}
    if embeds_content(settings.embedding_model):
        (text,) = texts
        content = {"role": "user", "parts": [{"text": PREFIXES[task] + text}]}
        return "embedContent", {"content": content, "embedContentConfig": limits}
    instances = [{"content": text, "task_type": task} for text in texts]
    return "predict", {"instances": instances, "parameters": limits}


def _answer(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise _unreadable() from error


def _tokens(answer: Any) -> int:
    """How many tokens an answer of either method was billed for; none where it does not say."""
    try:
        if "embedding" in answer:
            return int(answer["usageMetadata"]["promptTokenCount"])
        return sum(int(one["embeddings"]["statistics"]["token_count"]) for one in answer["predictions"])
    except (ValueError, LookupError, TypeError, OverflowError):
        return 0


def _vectors(answer: Any, dimensions: int) -> list[Vector]:
    """The vectors in an answer of either method."""
    try:
        if "embedding" in answer:
            return [_vector(answer["embedding"]["values"], answer.get("truncated", False), dimensions)]
        found = []
        for prediction in answer["predictions"]:
            embeddings = prediction["embeddings"]
            truncated = embeddings.get("statistics", {}).get("truncated", False)
            found.append(_vector(embeddings["values"], truncated, dimensions))
        return found
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise _unreadable() from error


def _vector(values: Any, truncated: Any, dimensions: int) -> Vector:
    if truncated:
        return Vector(None, "The passage is longer than the model reads.")
    return Vector(normalised(values, dimensions))


def _unreadable() -> BadAnswer:
    return BadAnswer(f"{SERVICE} sent an answer that cannot be read.")
