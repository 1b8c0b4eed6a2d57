"""The mixed folder that end-to-end tests read: what its manifest says, or those tests blame the wrong one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from infra.local.google.folder import SCHEMA, FolderDrive
from infra.local.google.items import Item
from infra.local.google.store import Store
from shared.domain.errors import Skipped
from shared.domain.parts import Text
from shared.readers import PathSource, read
from tests.mixed_folder import make

Manifest = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("mixed") / "folder"
    return folder, make(folder, 700, big=False)


@pytest.fixture(scope="module")
def listed(made: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """The files as the local Drive lists them."""
    drive = FolderDrive(
        made[0], Store(tmp_path_factory.mktemp("drive") / "drive.sqlite", SCHEMA), time.time, lambda: None, ()
    )
    drive.scan()
    return {item.path: item for item in drive.items() if not item.is_folder}


def text_of(folder: Path, item: Item) -> str:
    """All that the readers give; empty for what they refuse."""
    source = PathSource(folder / item.path, item.mime_type)
    source.name = item.name
    try:
        return "".join(part.text for part in read(source) if isinstance(part, Text))
    except Skipped:
        return ""


def test_one_seed_gives_one_folder(tmp_path: Path) -> None:
    """A failure is repeated by its seed."""
    folders = [tmp_path / name for name in ("one", "again", "other")]

    one, again, other = (make(folder, 150, seed, big=False) for folder, seed in zip(folders, (7, 7, 8), strict=True))

    assert one == again
    assert one != other
    for path, said in one.items():
        if said["kind"] != "locked":
            assert (folders[0] / path).read_bytes() == (folders[1] / path).read_bytes()


def test_every_file_of_the_manifest_is_listed_and_no_other(
    made: tuple[Path, Manifest], listed: dict[str, Item]
) -> None:
    """Accounting for all files begins with knowing them all; symbolic links are none."""
    assert len(made[1]) == 700
    assert listed.keys() == made[1].keys()
    assert any(path.is_symlink() for path in made[0].iterdir())


def test_each_file_ends_as_the_manifest_says(made: tuple[Path, Manifest], listed: dict[str, Item]) -> None:
    """What the readers make of a file is what the end-to-end tests will expect of the whole flow."""
    folder, manifest = made

    wrong = [
        (path, said["kind"], said["expect"])
        for path, said in manifest.items()
        if said["kind"] != "locked" and bool(text_of(folder, listed[path])) != (said["expect"] == "indexed")
    ]

    assert wrong == []


def test_each_phrase_is_in_its_file_and_in_no_other(made: tuple[Path, Manifest], listed: dict[str, Item]) -> None:
    """A search for the phrase has one right answer."""
    folder, manifest = made
    texts = {path: " ".join(text_of(folder, item).split()) for path, item in listed.items()}
    everything = "\0".join(texts.values())

    for path, said in manifest.items():
        if said["phrase"]:
            assert said["phrase"] in texts[path]
            assert everything.count(said["phrase"]) == 1
    assert sum(bool(said["phrase"]) for said in manifest.values()) > 500


def test_the_folder_has_what_real_folders_have(tmp_path: Path) -> None:
    """Names that break programs, copies, deep places, and big files for those who ask."""
    manifest = make(tmp_path / "folder", 300, huge=True)
    sizes = {path: (tmp_path / "folder" / path).stat().st_size for path in manifest}

    assert max(path.count("/") for path in manifest) > 15
    assert {said["kind"] for said in manifest.values()} >= {"empty", "noise", "broken pdf", "cut zip", "docx", "pdf"}
    assert any("\n" in path for path in manifest)
    assert sizes["Archive/big.txt"] >= 5_000_000
    assert sizes["Archive/huge.csv"] >= 20_000_000
