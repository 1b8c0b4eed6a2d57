"""The REST face of a gRPC method: the same messages as JSON, refusals with the HTTP status that Google gives them.

How Google maps them: https://google.aip.dev/127, and for errors https://google.aip.dev/193. A method whose answer is a
stream answers an array of messages; where it refuses, an array with the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.ai.faults import Refusal


def posted(path: str, request: Any, answer: Callable[[Any], Any], *, streams: bool = False) -> Route:
    """A route for `POST path`, whose variables are fields of the message class `request`.

    `answer` gives the message back, or several where the method `streams`; it raises `Refusal`.
    """

    def told(values: Mapping[str, str], body: bytes) -> Any:
        answered = answer(_message(request, values, body))
        if streams:
            return [json_format.MessageToDict(one) for one in answered]
        return json_format.MessageToDict(answered)

    async def door(asked: Request) -> Response:
        body = await asked.body()
        try:
            return JSONResponse(await run_in_threadpool(told, asked.path_params, body))
        except Refusal as refusal:
            error = refusal.told()
            return JSONResponse([error] if streams else error, refusal.http_status)

    return Route(path, door, methods=["POST"])


def _message(request: Any, values: Mapping[str, str], body: bytes) -> Any:
    try:
        return json_format.ParseDict({**json.loads(body), **values}, request())
    except (ValueError, TypeError, json_format.ParseError) as error:
        raise Refusal("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
