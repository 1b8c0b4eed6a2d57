"""The teacher's folder, which no forecast has seen: one seed gives one folder, its files end as they are meant to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.bench.school_folder import KINDS, make_folder
from tests.unit.test_office_folder import digests, found_in

FOUND = {kind.name: kind.found for kind in KINDS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """One file of each kind."""
    place = tmp_path_factory.mktemp("school")
    return place, make_folder(place, len(KINDS))


def test_one_seed_gives_one_folder(made: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """A forecast is held against the same files again."""
    place, kinds = made

    again = make_folder(tmp_path, len(KINDS))

    assert again == kinds
    assert digests(tmp_path) == digests(place)


def test_every_kind_is_there_once_before_any_is_there_twice(made: tuple[Path, dict[str, str]]) -> None:
    """A small folder is as mixed as a large one."""
    place, kinds = made

    assert Counter(kinds.values()) == {kind.name: 1 for kind in KINDS}
    assert set(digests(place)) == set(kinds)


def test_two_thousand_files_are_as_many_of_each_kind_as_is_said() -> None:
    """The counts in the table are the folder."""
    assert sum(kind.count for kind in KINDS) == 2000


def test_readers_find_in_each_file_what_it_was_made_to_hold(made: tuple[Path, dict[str, str]]) -> None:
    """A wrapping that no reader opens would make the folder easier to forecast than a real one."""
    place, kinds = made

    found = {kind: found_in(place / path) for path, kind in kinds.items() if kind != "copy"}

    assert found == {kind: FOUND[kind] for kind in found}
