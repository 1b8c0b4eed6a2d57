"""Regenerate the message classes from `schemas/messages/*.proto`, the only definition of the messages.

Run by `./dev schemas`. The classes are committed; a test regenerates them and compares.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]


class GenerationFailed(Exception):
    """protoc refused a definition; its own message is on stderr."""


def generate(out: Path) -> list[Path]:
    """Write `*_pb2.py` and typed stubs below `out`, in the folder layout of the repository. Returns the files."""
    protos = sorted((ROOT / "schemas" / "messages").glob("*.proto"))
    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    out.mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"--python_out={out}",
        f"--plugin=protoc-gen-mypy={plugin}",
        f"--mypy_out={out}",
        *(str(proto) for proto in protos),
    ]
    if protoc.main(arguments) != 0:
        raise GenerationFailed("protoc could not compile schemas/messages/*.proto")
    return [
        out / "schemas" / "messages" / f"{proto.stem}_pb2{suffix}" for proto in protos for suffix in (".py", ".pyi")
    ]


if __name__ == "__main__":
    for path in generate(ROOT):
        print(path.relative_to(ROOT))
    print(f"protobuf runtime {metadata.version('protobuf')}", file=sys.stderr)
