"""What is in a bundle: everything that the function reaches, nothing else, and the same bytes each time."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from infra.bundle import FUNCTIONS, MANIFEST, BundleError, build, contents, reached
from infra.bundle.build import pack
from infra.bundle.contents import DATA, OWN, ROOT, path_of
from tests.bundles.alone import required

DRIVE = {"shared.adapters.drive", "shared.adapters.download", "google-api-python-client"}
SQL = {"shared.adapters.postgres", "pg8000", "cloud-sql-python-connector"}
SECRETS = {"shared.adapters.secrets", "shared.adapters.sealing", "google-cloud-secret-manager"}
MODELS = {
    "shared.adapters.vertex", "shared.adapters.documentai", "google-cloud-aiplatform", "google-cloud-documentai",
    "google-genai", "vertexai",
}  # fmt: skip
CLIENTS = {"shared.adapters.firestore", "shared.adapters.pubsub", "google-cloud-firestore", "google-cloud-pubsub"}


@pytest.mark.parametrize(
    ("function", "nothing_of"),
    [
        ("drive_webhook", DRIVE | SQL | MODELS | SECRETS | CLIENTS | {"google-api-core", "grpcio"}),
        ("oauth_callback", DRIVE | MODELS | CLIENTS),
        ("dashboard", DRIVE | MODELS),
    ],
)
def test_a_public_door_holds_no_client_that_it_does_not_need(function: str, nothing_of: set[str]) -> None:
    """What is not there cannot be abused by whoever breaks in, and costs no start."""
    modules = {place.removesuffix(".py").replace("/", ".") for place in contents(function)}
    installed = set(required(ROOT / "functions" / function / "requirements.txt"))

    assert (modules | installed) & nothing_of == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_bundle_holds_only_the_function_itself_and_what_it_reaches(function: str) -> None:
    """Stand-ins, tests and other functions are no part of what is deployed."""
    places = set(contents(function))

    folders = {place.partition("/")[0] for place in places if "/" in place}
    others = {place for place in places if re.match(rf"functions/(?!__init__|{function}/)", place)}
    strange = {
        place for place in places if Path(place).suffix not in {".py", ".sql", ".html", ".css", ".js", ".json", ".txt"}
    }
    assert folders <= set(OWN)
    assert others == set()
    assert strange == set() or function == "dashboard"
    assert {"main.py", "requirements.txt"} <= places
    assert not {place for place in places if "test" in place or place == f"functions/{function}/main.py"}


def test_imports_inside_functions_and_started_programs_are_reached() -> None:
    """What is loaded on first use is missed only when the first message arrives."""
    assert {"shared.readers.registry", "shared.readers.child_program", "shared.readers.pdf_child"} <= reached(
        "file_streamer"
    )


def test_every_module_that_reads_files_says_which() -> None:
    """Imports do not tell of a template or a query; a bundle without it fails only in production."""
    everything = {module for function in FUNCTIONS for module in reached(function)}
    reading = {module for module in everything if re.search(r"__file__|import files\b", path_of(module).read_text())}
    starting = {"shared.readers.child", "shared.readers.child_program"}  # programs, which are found by their names

    assert reading - starting == set(DATA)


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    """A deployment is named by its hash: another hash for the same commit would start every instance anew."""
    first = build(tmp_path / "a", commit="c")
    elsewhere = subprocess.run(
        [sys.executable, "-m", "infra.bundle", "--out", str(tmp_path / "b"), "--commit", "c"],
        cwd=ROOT, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )  # fmt: skip

    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert set(first) == set(FUNCTIONS)
    assert first["dashboard"].sha256 in elsewhere.stdout
    assert [
        path for path in files if (tmp_path / "a" / path).read_bytes() != (tmp_path / "b" / path).read_bytes()
    ] == []


def test_an_archive_says_nothing_but_names_and_contents() -> None:
    """Times, owners and the order of a folder differ from machine to machine."""
    one = pack({"b.py": b"2", "a.py": b"1"})
    other = pack({"a.py": b"1", "b.py": b"2"})

    assert one == other
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.namelist() == ["a.py", "b.py"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    """`--out .` must not cost anybody their work."""
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(BundleError, match="other things"):
        build(tmp_path, ["drive_webhook"], commit="c")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_build_replaces_the_one_before(tmp_path: Path) -> None:
    """A module that is reached no more must not stay behind."""
    build(tmp_path / "dist", ["change_lister", "drive_webhook"], commit="c")
    build(tmp_path / "dist", ["drive_webhook"], commit="c")

    assert {path.name for path in (tmp_path / "dist").iterdir()} == {"drive_webhook", "drive_webhook.zip", MANIFEST}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_installed_distribution_takes_the_name_of_a_package_of_ours(function: str) -> None:
    """The server puts the bundle's folder at the end of the path: an installed `shared` would be imported instead."""
    installed = set(required(ROOT / "functions" / function / "requirements.txt"))
    owners = packages_distributions()

    taken = {name for name in OWN if installed & set(map(canonicalize_name, owners.get(name, [])))}
    assert "functions-framework" in map(canonicalize_name, owners["functions_framework"])
    assert taken == set()
