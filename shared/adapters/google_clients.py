"""What Google's generated clients raise, in our errors; what they share with plain requests is in `google_calls`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPICallError
from google.protobuf.json_format import ParseError

from shared.adapters.google_calls import reached, refusal, unreadable
from shared.domain.errors import Unavailable


@contextmanager
def classified(service: str) -> Iterator[None]:
    """Raise our errors for Google's: the body is one call of a client to `service`, a name for people."""
    try:
        with reached(service):
            yield
    except ParseError as error:
        raise unreadable(service) from error
    except GoogleAPICallError as error:
        if isinstance(response := getattr(error, "response", None), requests.Response):
            raise refusal(service, response) from error
        raise Unavailable(f"{service} did not answer as expected; it will be tried again.") from error
