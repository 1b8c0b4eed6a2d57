"""Between gRPC and plain functions: methods by name, refusals as status codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

# The messages of google.pubsub.v1 are built at run time by proto-plus and have no static types.
Pb = Any


class Refused(Exception):
    """The request gets this status code and sentence for an answer."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def bad(text: str) -> Refused:
    """For a request that will never be right."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_here(what: str) -> Refused:
    """For what the real service can do and this one cannot."""
    return Refused(grpc.StatusCode.UNIMPLEMENTED, f"{what} not supported by the local Pub/Sub")


def unary(
    story: Callable[..., Pb],
    request: Any,
    response: Any,
    *,
    with_context: bool = False,
    pool: ThreadPoolExecutor | None = None,
) -> Any:
    """A method handler for `story(request)` or `story(request, context)`; the others are message classes.

    With `pool` the calls are received and answered in threads of their own, no more at a time than it has.
    """

    def answer(message: Pb, context: grpc.ServicerContext) -> Pb:
        try:
            return story(message, context) if with_context else story(message)
        except Refused as refused:
            context.abort(refused.code, refused.text)

    if pool is not None:
        setattr(answer, "experimental_thread_pool", pool)  # noqa: B010 - gRPC's own name for it
    return grpc.unary_unary_rpc_method_handler(answer, _pb(request).FromString, _pb(response).SerializeToString)


def streams(story: Callable[..., Any], request: Any, response: Any) -> Any:
    """A method handler for `story(requests, context)`, a generator of responses."""

    def answer(messages: Any, context: grpc.ServicerContext) -> Any:
        try:
            yield from story(messages, context)
        except Refused as refused:
            context.abort(refused.code, refused.text)

    return grpc.stream_stream_rpc_method_handler(answer, _pb(request).FromString, _pb(response).SerializeToString)


def service(name: str, methods: Mapping[str, Any]) -> grpc.GenericRpcHandler:
    """A service of google.pubsub.v1. What is not in `methods` is UNIMPLEMENTED."""
    return grpc.method_handlers_generic_handler(f"google.pubsub.v1.{name}", methods)


def _pb(message: Any) -> Any:
    return message.pb() if hasattr(message, "pb") else message
