"""Google for one machine: a folder served as Drive v3, with OAuth, OpenID Connect and push notifications."""

from infra.local.google.faults import Faults
from infra.local.google.server import GoogleServer

__all__ = ["Faults", "GoogleServer"]
