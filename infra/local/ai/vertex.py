"""Vertex AI on one machine: the REST doors of embedding and generative models, without a model behind them.

`:predict` and `:embedContent` answer with a lexical embedding, `:generateContent` with entities found by rules where
the request's schema asks for entities, `:countTokens` with an estimate. Limits and errors are Google's.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.local.ai.entity_rules import entities, relations
from infra.local.ai.faults import Faults, Refusal, cut_short, delayed
from infra.local.ai.lexical import embed
from infra.local.serving import HttpServer

# model: (texts a request, tokens a request, tokens a text, most dimensions)
PREDICTED = {
    "gemini-embedding-001": (1, 2_048, 2_048, 3_072),
    "text-embedding-005": (250, 20_000, 2_048, 768),
    "text-multilingual-embedding-002": (250, 20_000, 2_048, 768),
    # Ours: honest about what it is, for whoever shows the model's name.
    "lexical-hashing-001": (250, 20_000, 2_048, 3_072),
}
EMBEDDED = {"gemini-embedding-2": (1, 8_192, 8_192, 3_072)}
RETIRED = ("gemini-1.", "gemini-2.", "text-embedding-004")
FINISH_REASONS = {
    "STOP": 1,
    "MAX_TOKENS": 2,
    "SAFETY": 3,
    "RECITATION": 4,
    "OTHER": 5,
    "BLOCKLIST": 6,
    "PROHIBITED_CONTENT": 7,
    "SPII": 8,
}

Body = dict[str, Any]


class VertexServer:
    """Publisher models on loopback. Counts `calls`, `texts` and `tokens`, and how many calls were `most_at_once`.

    `faults` knows the garbles `short_vector`, `nan`, `fewer`, `truncated_json`, `prose`, every finish reason by name,
    and `obey`, a model that does whatever its document says; `refuse_texts_with` makes every text that contains a word
    an invalid argument.
    """

    def __init__(self, data: Path | None = None) -> None:
        del data  # nothing is kept between starts
        self.faults = Faults()
        self.calls = 0
        self.texts = 0
        self.tokens = 0
        self.most_at_once = self._at_once = 0
        self.refuse_texts_with = ""
        self._counting = threading.Lock()
        self._http: HttpServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._http.port if self._http else 0

    def start(self, port: int = 0) -> None:
        """Serve on this port of 127.0.0.1, or on a free one."""
        base = "/{api:path}/projects/{project}/locations/{location}/publishers/google/models/{model}:"
        verbs: dict[str, Callable[[str, Body, str], Body]] = {
            "predict": self._predict,
            "embedContent": self._embed_content,
            "generateContent": self._generate,
            "countTokens": self._count,
        }
        routes = [Route(base + verb, self._door(answer), methods=["POST"]) for verb, answer in verbs.items()]
        self._http = HttpServer(Starlette(routes=routes), port)
        self._http.start()

    def stop(self) -> None:
        """Stop serving; safe to call twice."""
        if self._http:
            self._http.stop()
        self._http = None

    def _door(self, answer: Callable[[str, Body, str], Body]) -> Callable[[Request], Any]:
        async def door(request: Request) -> Response:
            with self._counting:
                self.calls += 1
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                return await answered(request)
            finally:
                with self._counting:
                    self._at_once -= 1

        async def answered(request: Request) -> Response:
            try:
                fault = self.faults.take()
                body = _json(await request.body())
                garble = fault.get("garble", "")
                content = await run_in_threadpool(answer, request.path_params["model"], body, garble)
            except Refusal as refusal:
                return refusal.response()
            if "enum-encoding=int" in request.url.query:
                _enums_as_numbers(content)
            encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
            truncated = cut_short(encoded) if garble == "truncated_json" else None
            return await delayed(fault, truncated or Response(encoded, media_type="application/json"))

        return door

    def _predict(self, model: str, body: Body, garble: str) -> Body:
        texts_limit, request_tokens, text_tokens, most = _limits(model, PREDICTED)
        instances, parameters = body.get("instances") or [], body.get("parameters") or {}
        if not 1 <= len(instances) <= texts_limit:
            raise Refusal(
                "INVALID_ARGUMENT", f"{len(instances)} instance(s) is not allowed. Must be between 1 and {texts_limit}."
            )
        dimensions = _dimensions(parameters.get("outputDimensionality"), most)
        truncate = parameters.get("autoTruncate", True)
        predictions: list[Body] = []
        for instance in instances:
            content, counted = self._admitted(instance.get("content"), text_tokens, truncate=bool(truncate))
            values: list[Any] = embed(content, dimensions, str(instance.get("title") or ""))
            statistics = {"token_count": min(counted, text_tokens), "truncated": counted > text_tokens}
            predictions.append({"embeddings": {"values": values, "statistics": statistics}})
        total = sum(prediction["embeddings"]["statistics"]["token_count"] for prediction in predictions)
        if total > request_tokens:
            raise Refusal(
                "INVALID_ARGUMENT", f"The input token count is {total} but the model supports {request_tokens}."
            )
        self._counted(len(instances), total)
        _garble_vectors(predictions, garble)
        return {"predictions": predictions, "deployedModelId": "", "metadata": {"billableCharacterCount": total * 4}}

    def _embed_content(self, model: str, body: Body, garble: str) -> Body:
        _, _, text_tokens, most = _limits(model, EMBEDDED)
        settings = body.get("embedContentConfig") or body
        content = "\n".join(_texts(body.get("content") or {}))
        truncate = settings.get("autoTruncate", True)
        content, counted = self._admitted(content, text_tokens, truncate=bool(truncate))
        dimensions = _dimensions(settings.get("outputDimensionality"), most)
        self._counted(1, counted)
        answer = [{"embeddings": {"values": embed(content, dimensions)}}]
        _garble_vectors(answer, garble)
        return {
            "embedding": answer[0]["embeddings"] if answer else {},
            "usageMetadata": {"promptTokenCount": counted, "totalTokenCount": counted},
            "truncated": counted > text_tokens,
        }

    def _generate(self, model: str, body: Body, garble: str) -> Body:
        _generative(model)
        prompt = [text for content in body.get("contents") or [] for text in _texts(content)]
        if not any(prompt):
            raise Refusal("INVALID_ARGUMENT", "Unable to submit request because it must have a text parameter.")
        self._refuse_words(prompt)
        settings = body.get("generationConfig") or {}
        told = [*_texts(body.get("systemInstruction") or {}), *prompt]  # an instruction is counted as the prompt is
        answer, finish = _answer(told, prompt, settings), "STOP"
        limit = int(settings.get("maxOutputTokens") or 65_536)
        if count_tokens(answer) > limit:
            answer, finish = answer[: limit * 3], "MAX_TOKENS"
        if garble == "obey":
            answer = _obedient(prompt)
        if garble == "prose":
            answer = "Certainly! Here are the entities that I found in your passages."
        if garble in FINISH_REASONS:
            answer, finish = answer[: len(answer) // 2] if garble == "MAX_TOKENS" else "", garble
        read, written = sum(count_tokens(text) for text in told), count_tokens(answer)
        self._counted(1, read + written)
        parts = [{"text": answer}] if answer else []
        return {
            "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}],
            "usageMetadata": {
                "promptTokenCount": read,
                "candidatesTokenCount": written,
                "totalTokenCount": read + written,
            },
            "modelVersion": model,
        }

    def _count(self, model: str, body: Body, garble: str) -> Body:
        del garble
        if model not in PREDICTED and model not in EMBEDDED:
            _generative(model)
        texts = [text for content in body.get("contents") or [] for text in _texts(content)]
        texts += [str(instance.get("content", "")) for instance in body.get("instances") or []]
        characters = sum(1 for text in texts for character in text if not character.isspace())
        return {"totalTokens": sum(count_tokens(text) for text in texts), "totalBillableCharacters": characters}

    def _admitted(self, content: object, limit: int, *, truncate: bool) -> tuple[str, int]:
        if not isinstance(content, str) or not content.strip():
            raise Refusal("INVALID_ARGUMENT", "The text content is empty.")
        self._refuse_words([content])
        counted = count_tokens(content)
        if counted > limit and not truncate:
            raise Refusal("INVALID_ARGUMENT", f"The input token count is {counted} but the model supports {limit}.")
        return content if counted <= limit else content[: limit * 4], counted

    def _refuse_words(self, texts: Iterable[str]) -> None:
        if self.refuse_texts_with and any(self.refuse_texts_with in text for text in texts):
            raise Refusal("INVALID_ARGUMENT", "Request contains an invalid argument.")

    def _counted(self, texts: int, tokens: int) -> None:
        with self._counting:
            self.texts += texts
            self.tokens += tokens


def count_tokens(text: str) -> int:
    """As models count, roughly: four ASCII characters a token, one for any other character."""
    ascii_characters = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return ascii_characters // 4 + len(text) - ascii_characters or int(bool(text))


def _json(raw: bytes) -> Body:
    try:
        body = json.loads(raw)
    except ValueError:
        raise Refusal("INVALID_ARGUMENT", "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise Refusal("INVALID_ARGUMENT", "Invalid JSON payload received.")
    return body


def _limits(model: str, known: dict[str, tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    if model not in known:
        raise Refusal("NOT_FOUND", f"Publisher Model `publishers/google/models/{model}` was not found.")
    return known[model]


def _generative(model: str) -> None:
    if not model.startswith("gemini-") or "embedding" in model or model.startswith(RETIRED):
        raise Refusal("NOT_FOUND", f"Publisher Model `publishers/google/models/{model}` was not found.")


def _dimensions(asked: object, most: int) -> int:
    if asked is None:
        return most
    if not isinstance(asked, int | float) or not 1 <= asked <= most:
        raise Refusal("INVALID_ARGUMENT", f"outputDimensionality must be between 1 and {most}.")
    return int(asked)


def _texts(content: Body) -> list[str]:
    """The texts of a content's parts: plain ones, and text documents given as data."""
    texts = []
    for part in content.get("parts") or []:
        data = part.get("inlineData")
        if "text" in part:
            texts.append(str(part["text"]))
        elif data and str(data.get("mimeType", "")).startswith("text/"):
            texts.append(base64.b64decode(data.get("data", "")).decode("utf-8", "replace"))
        elif data:
            raise Refusal("INVALID_ARGUMENT", f"Unsupported MIME type: {data.get('mimeType')}.")
    return texts


def _answer(told: list[str], prompt: list[str], settings: Body) -> str:
    """What the numbered passages (JSON lines) name where the schema asks for it; an empty object for any other schema;
    a plain sentence where no schema is given."""
    schema = settings.get("responseSchema") or settings.get("responseJsonSchema") or {}
    asked = ((schema.get("properties") or {}).get("passages") or {}).get("items") or {}
    if asked:
        lists = asked.get("properties") or {}
        most = [_named_in(told, words) for words in ("names", "relations")]
        found = [{"passage": number, **_names(text, lists, *most)} for number, text in _numbered(prompt)]
        return json.dumps(
            {"passages": [one for one in found if len(one) > 1]}, ensure_ascii=False, separators=(",", ":")
        )
    if settings.get("responseMimeType") == "application/json":
        return "{}"
    return "No model runs on this machine: this stand-in finds entities and embeds words, nothing else."


def _named_in(told: list[str], words: str) -> int:
    """The number that an instruction names: "at most 12 names"."""
    found = re.search(rf"at most (\d+) {words}", "\n".join(told))
    return int(found.group(1)) if found else 1000


def _names(text: str, lists: Body, most_names: int, most_relations: int) -> Body:
    """Names by kind and pairs by predicate, in the schema's words, order and numbers: of each kind the first before
    the second of any, as who must choose does."""
    found, chosen = entities(text), list[tuple[int, str, str]]()
    for kind in lists:
        names = [name for one, name in found if one == kind][: _most(lists, kind)]
        chosen += [(place, kind, name) for place, name in enumerate(names)]
    chosen = sorted(chosen, key=lambda one: one[0])[:most_names]
    answer: Body = {}
    for _, kind, name in chosen:
        answer.setdefault(kind, []).append(name)
    kept = {name for _, _, name in chosen}
    stated = [one for one in relations(text) if {one[0], one[2]} <= kept and one[1] in lists]
    for subject, predicate, target in stated[:most_relations]:
        answer.setdefault(predicate, []).append([subject, target])
    return {word: answer[word][: _most(lists, word)] for word in lists if word in answer}


def _most(lists: Body, word: str) -> int:
    """How many the schema lets stand in this list."""
    return int(lists[word].get("maxItems") or 1000)


def _numbered(prompt: list[str]) -> list[tuple[int, str]]:
    passages = []
    for line in "\n".join(prompt).splitlines():
        try:
            given = json.loads(line)
        except ValueError:
            continue
        if isinstance(given, dict) and isinstance(given.get("passage"), int) and isinstance(given.get("text"), str):
            passages.append((given["passage"], given["text"]))
    return passages


def _obedient(prompt: list[str]) -> str:
    """The answer of a model that takes the document for its master: every object that the document shows is answered
    as it stands, every line of it and of the prompt is a name of every passage, and all of it is related."""
    numbered = _numbered(prompt)
    listed: list[Any] = []
    for _, text in numbered:
        for shown in _objects(text):
            listed += shown["passages"] if isinstance(shown.get("passages"), list) else [shown]
    lines = [line.strip() for text in prompt for line in text.splitlines()]
    words = [*lines, *(word for _, text in numbered for line in text.splitlines() for word in (line, *line.split()))]
    pairs = [list(pair) for pair in pairwise(words)]
    listed += [{"passage": number, "person": words, "knows": pairs} for number in range(-1, len(numbered) + 2)]
    return json.dumps({"passages": listed}, ensure_ascii=False, separators=(",", ":"))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object that stands in a text."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            shown, at = decoder.raw_decode(text, at)
            yield shown
        except ValueError:
            at += 1
        at = text.find("{", at)


def _garble_vectors(predictions: list[Body], garble: str) -> None:
    if garble == "fewer":
        predictions.pop()
    elif garble == "short_vector":
        predictions[-1]["embeddings"]["values"].pop()
    elif garble == "nan":
        predictions[-1]["embeddings"]["values"][0] = "NaN"


def _enums_as_numbers(content: Body) -> None:
    for candidate in content.get("candidates", []):
        candidate["finishReason"] = FINISH_REASONS[candidate["finishReason"]]
