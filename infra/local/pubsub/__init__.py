"""Pub/Sub on one machine: Google's own clients talk to it through PUBSUB_EMULATOR_HOST.

What it does not do, it refuses with UNIMPLEMENTED rather than pretending: snapshots, Avro schemas, exactly-once
delivery, retention on topics, message transforms, ingestion and export to other Google services.
"""

from infra.local.pubsub.faults import Fault, Faults
from infra.local.pubsub.server import PubSubServer

__all__ = ["Fault", "Faults", "PubSubServer"]
