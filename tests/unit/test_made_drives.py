"""The Drives that no forecast has seen: one seed gives one folder, and its files end as they are meant to."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from infra.local.google.export import EXPORTS
from infra.local.google.items import mime_type_of, name_and_kind
from shared.domain.errors import Skipped
from shared.domain.parts import Image, Pages, Text, Truncated
from shared.readers import PathSource, read
from tests.bench import office_folder, school_folder

Made = tuple[Path, dict[str, str], ModuleType]
FOLDERS = {"office": office_folder, "school": school_folder}


@pytest.fixture(scope="module", params=FOLDERS)
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Made:
    """One file of each kind, which file is of which, and the folder's own module."""
    folder = FOLDERS[request.param]
    place = tmp_path_factory.mktemp(request.param)
    return place, folder.make_folder(place, len(folder.KINDS)), folder


def found_in(file: Path) -> str:
    """Text, pages, what a native file offers, or the code of the reason."""
    mime_type = mime_type_of(file)
    if name_and_kind(file.name)[1] != "blob":
        texts = [export(file.read_bytes()) for export in EXPORTS.get(mime_type, {}).values()]
        return "native" if texts and all(texts) else mime_type.rpartition(".")[2]
    try:
        parts = list(read(PathSource(file, mime_type)))
    except Skipped as why:
        return why.code
    assert not any(isinstance(part, Truncated) for part in parts)
    pages = any(isinstance(part, Pages | Image) for part in parts)
    return "text" if any(isinstance(part, Text) for part in parts) else "pages" if pages else "nothing"


def digests(place: Path) -> dict[str, str]:
    return {
        str(file.relative_to(place)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in place.rglob("*")
        if file.is_file()
    }


def test_one_seed_gives_one_folder(made: Made, tmp_path: Path) -> None:
    """A forecast is held against the same files again."""
    place, kinds, folder = made

    again = folder.make_folder(tmp_path, len(folder.KINDS))

    assert again == kinds
    assert digests(tmp_path) == digests(place)


def test_every_kind_is_there_once_before_any_is_there_twice(made: Made) -> None:
    """A small folder is as mixed as a large one."""
    place, kinds, folder = made

    assert Counter(kinds.values()) == {kind.name: 1 for kind in folder.KINDS}
    assert set(digests(place)) == set(kinds)


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_two_thousand_files_are_as_many_of_each_kind_as_is_said(folder: ModuleType) -> None:
    """The counts in the table are the folder."""
    assert sum(kind.count for kind in folder.KINDS) == 2000


def test_readers_find_in_each_file_what_it_was_made_to_hold(made: Made) -> None:
    """A wrapping that no reader opens would make the folder easier to forecast than a real one."""
    place, kinds, folder = made
    meant = {kind.name: kind.found for kind in folder.KINDS}

    found = {kind: found_in(place / path) for path, kind in kinds.items() if kind != "copy"}

    assert found == {kind: meant[kind] for kind in found}
