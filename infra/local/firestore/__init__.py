"""A local Firestore: Google's own clients talk to it, and what they were told is stored survives any crash."""

from infra.local.firestore.server import FirestoreServer

__all__ = ["FirestoreServer"]
