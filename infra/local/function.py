"""`./dev function NAME`: one function alone, by `functions-framework` as deployed, against a running local stack."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infra.local import hosting
from infra.local.errors import StackError


def environment_of(data: Path) -> dict[str, str]:
    """What points a function at the stack whose data is kept here. Raises `StackError` when none ever ran."""
    try:
        lines = (data / "environment").read_text().splitlines()
    except OSError:
        raise StackError(
            f"No local stack keeps its data in {data}. Start one with './dev local --data {data}' and leave it running."
        ) from None
    return dict(line.split("=", 1) for line in lines if "=" in line)


def main(arguments: list[str] | None = None) -> int:
    """Become functions-framework. Returns only when something is in the way."""
    parser = argparse.ArgumentParser(prog="./dev function", allow_abbrev=False)
    parser.add_argument("name", help=", ".join(hosting.FUNCTIONS))
    parser.add_argument("--port", type=int, default=8081, help="where it answers (default: 8081)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder of the running local stack")
    chosen = parser.parse_args(arguments)
    try:
        source = hosting.source_of(chosen.name)
        environment = environment_of(chosen.data.absolute())
        if not hosting.port_is_free(chosen.port):
            raise StackError(hosting.busy(chosen.port))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chosen.name} answers on http://127.0.0.1:{chosen.port}/", file=sys.stderr, flush=True)
    command = [
        str(Path(sys.executable).with_name("functions-framework")),
        *("--target", chosen.name, "--source", str(source), "--signature-type", "http"),
        *("--host", "127.0.0.1", "--port", str(chosen.port)),
    ]
    # The framework puts only the source's own folder on the path, and the house is one floor up.
    path = os.pathsep.join(filter(None, [str(hosting.ROOT), os.environ.get("PYTHONPATH", "")]))
    os.execve(command[0], command, {**os.environ, **environment, "PYTHONPATH": path})  # noqa: S606 - no shell


if __name__ == "__main__":
    raise SystemExit(main())
