"""Write the bundles: `NAME/` to look at and to run, `NAME.zip` to upload, `bundles.json` to deploy by."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.bundle.contents import FUNCTIONS, ROOT, BundleError, contents

MANIFEST = "bundles.json"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first time that a ZIP can say
_PLAIN_FILE = 0o100644 << 16
_UNIX = 3


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the manifest says of one: the hash of its ZIP, by which it is deployed, and what is in it."""

    sha256: str
    entry_point: str
    commit: str
    files: list[str]


def build(out: Path, functions: Iterable[str] = FUNCTIONS, *, commit: str = "") -> dict[str, Bundle]:
    """Make the bundles of these functions below `out`; what an earlier build left there is gone. Raises `BundleError`,
    also for a folder with anything else in it."""
    packed = {name: {place: path.read_bytes() for place, path in contents(name).items()} for name in functions}
    commit = commit or commit_of(ROOT)
    _make_room(out)
    built = {}
    for name, files in packed.items():
        for place, content in files.items():
            target = out / name / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        archive = pack(files)
        (out / f"{name}.zip").write_bytes(archive)
        built[name] = Bundle(hashlib.sha256(archive).hexdigest(), name, commit, sorted(files))
    manifest = {name: asdict(bundle) for name, bundle in built.items()}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return built


def _make_room(out: Path) -> None:
    if out.exists():
        if any(out.iterdir()) and not (out / MANIFEST).is_file():
            raise BundleError(f"{out} holds other things than bundles: empty it, or name another folder with --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MANIFEST).write_text("{}\n")  # a build that is broken off may be repeated


def pack(files: dict[str, bytes]) -> bytes:
    """A ZIP that says nothing but names and contents, so that the same files are the same bytes on every machine. Not
    compressed: what zlib makes of a file depends on which zlib it is."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for place in sorted(files):
            entry = zipfile.ZipInfo(place, _LONG_AGO)
            entry.create_system = _UNIX
            entry.external_attr = _PLAIN_FILE
            archive.writestr(entry, files[place])
    return written.getvalue()


def commit_of(folder: Path) -> str:
    """The commit that is checked out, with `+changes` where the files are not those of the commit; "" outside git."""
    said = [
        subprocess.run(["git", *question], cwd=folder, capture_output=True, text=True, check=False)
        for question in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "functions", "shared", "schemas"])
    ]
    if any(answer.returncode for answer in said):
        return ""
    return said[0].stdout.strip() + ("+changes" if said[1].stdout.strip() else "")
