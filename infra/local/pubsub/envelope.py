"""What a push request looks like: wrapped JSON, unwrapped bytes or a binary CloudEvent; and its OIDC token."""

from __future__ import annotations

import hashlib
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from infra.local.pubsub.broker import Delivery, rfc3339
from infra.local.pubsub.wire import Pb

Sign = Callable[[dict[str, object]], str]

_CLOUD_EVENTS = "__GCP_CloudEventsMode"
_CUSTOM = "CUSTOM_PUBSUB_"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN_SECONDS, _TOKEN_KEPT_SECONDS = 3600, 600


@dataclass(frozen=True, slots=True)
class Request:
    """A push request, but for its token."""

    headers: dict[str, str]
    body: bytes


def enclose(delivery: Delivery, subscription: Pb) -> Request:
    """The request that carries a delivery to the subscription's endpoint."""
    config = subscription.push_config
    if config.HasField("no_wrapper"):
        headers = _metadata(delivery) if config.no_wrapper.write_metadata else {}
        return Request(headers, delivery.message.data)
    headers = {"Content-Type": "application/json", **_event_headers(delivery, config.push_endpoint)}
    return Request(headers, _wrapped(delivery, counts=subscription.HasField("dead_letter_policy")))


def _wrapped(delivery: Delivery, *, counts: bool) -> bytes:
    """The JSON is put together by hand around the payload, so that megabytes of base64 are copied once only."""
    message = delivery.message
    published = rfc3339(message.published)
    rest: dict[str, object] = {"messageId": str(message.id), "message_id": str(message.id)}
    rest |= {"publishTime": published, "publish_time": published}
    if message.attributes:
        rest["attributes"] = dict(message.attributes)
    if message.ordering_key:
        rest["orderingKey"] = message.ordering_key
    outer: dict[str, object] = {"subscription": delivery.subscription}
    if counts:
        outer["deliveryAttempt"] = delivery.attempt
    data = (b'"data":"', b64encode(message.data), b'",') if message.data else ()
    return b"".join((b'{"message":{', *data, _inside(rest), b"},", _inside(outer), b"}"))


def _inside(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()[1:-1]


def _metadata(delivery: Delivery) -> dict[str, str]:
    """Metadata and attributes as headers. Attributes that cannot be headers are left out."""
    message = delivery.message
    headers = {
        "x-goog-pubsub-subscription-name": delivery.subscription,
        "x-goog-pubsub-message-id": str(message.id),
        "x-goog-pubsub-publish-time": rfc3339(message.published),
    }
    if message.ordering_key:
        headers["x-goog-pubsub-ordering-key"] = message.ordering_key
    attributes = {
        key: value for key, value in message.attributes.items() if _HEADER.fullmatch(key) and value.isprintable()
    }
    return {**attributes, **headers}


def _event_headers(delivery: Delivery, endpoint: str) -> dict[str, str]:
    """Cloud Run's platform turns pushes with this query into binary CloudEvents before a function sees them."""
    mode = parse_qs(urlsplit(endpoint).query).get(_CLOUD_EVENTS, [""])[0]
    if not mode.startswith(_CUSTOM):
        return {}
    return {
        "ce-id": str(delivery.message.id),
        "ce-source": f"//pubsub.googleapis.com/{mode.removeprefix(_CUSTOM)}",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
        "ce-time": rfc3339(delivery.message.published),
    }


class Tokens:
    """OIDC tokens of push subscriptions, as Google's: an hour of life, and reused for a while."""

    def __init__(self, sign: Sign | None, issuer: str) -> None:
        self._sign = sign
        self._issuer = issuer
        self._kept: dict[tuple[str, str], tuple[float, str]] = {}

    def headers(self, config: Pb) -> dict[str, str]:
        """The Authorization header, where the subscription asks for a token and there is a signer."""
        if self._sign is None or not config.HasField("oidc_token"):
            return {}
        key = (config.oidc_token.service_account_email, config.oidc_token.audience or config.push_endpoint)
        until, token = self._kept.get(key, (0.0, ""))
        if time.time() > until:
            token = self._sign(self._claims(*key))
            self._kept[key] = (time.time() + _TOKEN_KEPT_SECONDS, token)
        return {"Authorization": f"Bearer {token}"}

    def _claims(self, email: str, audience: str) -> dict[str, object]:
        now = int(time.time())
        # Google names a service account by a number of 21 digits; any stable one will do.
        number = str(int(hashlib.sha256(email.encode()).hexdigest(), 16))[:21]
        return {
            "iss": self._issuer,
            "aud": audience,
            "azp": number,
            "sub": number,
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
        }
