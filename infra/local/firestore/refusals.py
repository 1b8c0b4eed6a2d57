"""What the server refuses, with the status that the service would answer."""

from __future__ import annotations

import grpc


class Refused(Exception):
    """A call that is answered with a gRPC status instead of a response."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def invalid(message: str) -> Refused:
    """The request can never succeed as it is."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refused:
    """The document must exist and does not."""
    return Refused(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refused:
    """The document must not exist and does."""
    return Refused(grpc.StatusCode.ALREADY_EXISTS, message)


def failed_precondition(message: str) -> Refused:
    """The state of the database does not allow the call."""
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> Refused:
    """Another writer was first; the client tries the whole transaction again."""
    return Refused(grpc.StatusCode.ABORTED, message)
