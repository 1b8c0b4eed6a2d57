"""Tokens at rest: sealed with a key from Secret Manager, and bound to their person.

The person's id is inside what is sealed, so that a sealed token that was moved into another person's row does not
open there. Keys are Fernet keys, one a line, newest first: all of them open, the first seals.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.domain.errors import Rejected, Unavailable


class Unsealable(Rejected):
    """A sealed text that no key opens, or that was sealed for somebody else."""

    code = "unsealable"


class Seal:
    """Seals and opens with the keys that `keys` returns at that moment; a cache is the caller's business.

    `fresh_keys` is asked once more before a text is called unsealable: just after a rotation another process may
    already seal with a key that this one has not read yet.
    """

    def __init__(self, keys: Callable[[], bytes], fresh_keys: Callable[[], bytes] | None = None) -> None:
        self._keys = keys
        self._fresh_keys = fresh_keys

    def seal(self, user_id: str, text: str) -> str:
        """`text` sealed for one person with the newest key."""
        return _ring(self._keys()).encrypt(json.dumps([str(user_id), text]).encode()).decode()

    def open(self, user_id: str, sealed: str) -> str:
        """What was sealed for this person. Raises `Unsealable`."""
        owner, text = json.loads(self._opened(sealed))
        if owner != str(user_id):
            raise Unsealable("This token was sealed for somebody else.")
        return str(text)

    def needs_rotation(self, sealed: str) -> bool:
        """Whether another than the newest key sealed this. Raises `Unsealable` where none did."""
        self._opened(sealed)
        return not _opens(Fernet(_lines(self._keys())[0]), sealed)

    def rotate(self, sealed: str) -> str:
        """The same content, for the same person, under the newest key. Raises `Unsealable`."""
        opened = self._opened(sealed)
        return _ring(self._keys()).encrypt(opened).decode()

    def _opened(self, sealed: str) -> bytes:
        for keys in (self._keys, self._fresh_keys):
            if keys is None:
                continue
            try:
                return _ring(keys()).decrypt(sealed.encode())
            except (InvalidToken, UnicodeEncodeError):
                continue
        raise Unsealable("A stored token cannot be opened with the present keys; the person must connect again.")


def _opens(key: Fernet, sealed: str) -> bool:
    try:
        key.decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def _ring(keys: bytes) -> MultiFernet:
    try:
        return MultiFernet([Fernet(line) for line in _lines(keys)])
    except ValueError:
        # Not chained: the message of the original may hold a part of the key.
        raise _unusable_keys() from None


def _lines(keys: bytes) -> list[bytes]:
    lines = [line.strip() for line in keys.splitlines() if line.strip()]
    if not lines:
        raise _unusable_keys()
    return lines


def _unusable_keys() -> Unavailable:
    return Unavailable(
        "The keys that seal tokens are missing or malformed: the secret must hold one Fernet key a line.", code="keys"
    )
