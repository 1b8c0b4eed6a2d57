"""What a message to a topic is on its way out, whoever carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from shared import tracing

LARGEST_MESSAGE = 7 * 1024 * 1024


class MessageTooLarge(Exception):
    """A message above our hard limit: a bug in whoever cut it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """The bytes of a message, and its attributes: its own, and the trace that it belongs to."""

    topic: str  # the resource name
    data: bytes
    attributes: dict[str, str]


def letter(project: str, topic: str, message: Message, attributes: Mapping[str, str]) -> Letter:
    """The message as it is said to a topic of the project. Raises `MessageTooLarge`."""
    data = message.SerializeToString()
    if len(data) > LARGEST_MESSAGE:
        raise MessageTooLarge(f"{type(message).__name__} of {len(data)} bytes for {topic}")
    return Letter(f"projects/{project}/topics/{topic}", data, {**attributes, **tracing.carried()})
