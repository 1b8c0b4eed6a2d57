"""Tokens are sealed for one person, with keys that rotate."""

from __future__ import annotations

import traceback

import pytest
from cryptography.fernet import Fernet

from shared.adapters.sealing import Seal, Unsealable
from shared.domain.errors import Rejected, Unavailable

OLD, NEW, FOREIGN = Fernet.generate_key(), Fernet.generate_key(), Fernet.generate_key()


def test_what_is_sealed_for_a_person_opens_for_that_person() -> None:
    """Without this nobody's Drive can be read."""
    seal = Seal(lambda: NEW)

    sealed = seal.seal("ada", "1//refresh-token – ✓")

    assert seal.open("ada", sealed) == "1//refresh-token – ✓"
    assert "refresh" not in sealed


def test_a_token_moved_into_another_persons_row_does_not_open() -> None:
    """Whoever can write rows but has no key must not be able to read with somebody else's grant."""
    seal = Seal(lambda: NEW)

    with pytest.raises(Unsealable):
        seal.open("grace", seal.seal("ada", "token"))


def test_an_old_key_opens_until_it_is_removed_and_rotation_moves_to_the_newest() -> None:
    """Keys are exchanged while everybody stays connected."""
    sealed = Seal(lambda: OLD).seal("ada", "token")
    both = Seal(lambda: NEW + b"\n" + OLD + b"\n")

    assert both.needs_rotation(sealed)
    rotated = both.rotate(sealed)

    assert not both.needs_rotation(rotated)
    assert both.open("ada", sealed) == "token"
    assert Seal(lambda: NEW).open("ada", rotated) == "token"
    with pytest.raises(Unsealable):
        Seal(lambda: NEW).open("ada", sealed)


def test_a_key_that_is_newer_than_the_cached_ones_is_asked_for_once() -> None:
    """Right after a rotation, another process seals with a key that this one has not read: no grant is lost."""
    sealed = Seal(lambda: NEW + b"\n" + OLD).seal("ada", "token")

    assert Seal(lambda: OLD, lambda: NEW + b"\n" + OLD).open("ada", sealed) == "token"


@pytest.mark.parametrize(
    "sealed",
    ["", "not a token", "ünïcode", Fernet(FOREIGN).encrypt(b'["ada","secret"]').decode()],
    ids=["empty", "not a token", "not ASCII", "another key's"],
)
def test_what_no_key_opens_is_rejected_without_a_word_of_it(sealed: str) -> None:
    """An exception ends in logs and rows: it must not carry what it could not open."""
    with pytest.raises(Unsealable) as caught:
        Seal(lambda: NEW).open("ada", sealed)

    assert isinstance(caught.value, Rejected)
    assert not sealed or sealed not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize(
    "keys", [b"", b"\n \n", b"short", NEW + b"\nnot-a-key-but-secret"], ids=["none", "blank", "short", "one of two"]
)
def test_unusable_keys_stop_the_work_and_are_not_told(keys: bytes) -> None:
    """A wrong secret is mended by a person; until then nothing is rejected, nothing is written unsealed."""
    with pytest.raises(Unavailable) as caught:
        Seal(lambda: keys).seal("ada", "token")

    story = "".join(traceback.format_exception(caught.value))
    assert "not-a-key" not in story.replace('NEW + b"\\nnot-a-key-but-secret"', "")
