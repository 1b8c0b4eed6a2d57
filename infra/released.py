"""What the released version says and reads: its messages, its statements, its schema. The next version works beside it.

While a version is deployed, and while it is rolled back, both run at once: old messages reach new code and new ones old
code, and the old code's statements meet the newest schema. So `schemas/released` keeps what the release in production
speaks, tests hold every change to it, and `./dev release` replaces it when this version has become that release.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from grpc_tools import protoc

from infra.migrate import migrations
from infra.schemas import ROOT, GenerationFailed
from shared.consume import REQUIRED

SCHEMAS = ROOT / "schemas"
RELEASED = SCHEMAS / "released"
_STATED = "release.json"


def release(to: Path = RELEASED) -> None:
    """Keep what this version speaks, as that of the release that others must get on with."""
    shutil.rmtree(to, ignore_errors=True)
    for folder, pattern in (("messages", "*.proto"), ("sql/queries", "*.sql")):
        (to / folder).mkdir(parents=True)
        for path in (SCHEMAS / folder).glob(pattern):
            shutil.copyfile(path, to / folder / path.name)
    stated = {"migration": migrations()[-1].number, "required": {name: list(REQUIRED[name]) for name in REQUIRED}}
    (to / _STATED).write_text(json.dumps(stated, indent=1, sort_keys=True) + "\n")


def last_migration(folder: Path = RELEASED) -> str:
    """The number of the newest migration that the release has run."""
    return str(json.loads((folder / _STATED).read_text())["migration"])


def required_fields(folder: Path = RELEASED) -> Mapping[str, list[str]]:
    """Without which fields the release refuses a message."""
    required: Mapping[str, list[str]] = json.loads((folder / _STATED).read_text())["required"]
    return required


def message_classes(folder: Path) -> dict[str, type[Message]]:
    """The classes of the `.proto` files in a folder, by name, apart from those of this process."""
    pool = descriptor_pool.DescriptorPool()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "set"
        arguments = ["protoc", f"-I{folder}", f"--descriptor_set_out={out}", *map(str, sorted(folder.glob("*.proto")))]
        if protoc.main(arguments) != 0:
            raise GenerationFailed(f"protoc could not compile {folder}")
        files = FileDescriptorSet.FromString(out.read_bytes()).file
    for file in files:
        pool.Add(file)
    found = [message for file in files for message in pool.FindFileByName(file.name).message_types_by_name.values()]
    return {one.name: message_factory.GetMessageClass(one) for one in found}


if __name__ == "__main__":
    release()
    print(f"{RELEASED.relative_to(ROOT)} is what this version speaks.", file=sys.stderr)
