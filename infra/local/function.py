"""`./dev function NAME`: one function alone, by `functions-framework` as deployed, against a running local stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local import hosting, ports
from infra.local.data_folder import DataFolder
from infra.local.errors import StackError
from infra.local.options import Parser, port_of


def environment_of(data: DataFolder) -> dict[str, str]:
    """What points a function at the stack that keeps its data here. Raises `StackError` when none is running."""
    if not data.in_use():
        raise StackError(
            f"No local stack is running on {data.path}. Start one with './dev local' and leave it running, "
            "or name its folder with --data."
        )
    try:
        lines = (data.path / "environment").read_text().splitlines()
    except OSError:
        raise StackError(f"The local stack on {data.path} is still starting; try again in a moment.") from None
    return dict(line.split("=", 1) for line in lines if "=" in line)


def command_of(name: str, port: int) -> list[str]:
    """The deployed command line of one function. Raises `StackError` for a name that is none."""
    return [
        str(Path(sys.executable).with_name("functions-framework")),
        *("--target", name, "--source", str(hosting.source_of(name)), "--signature-type", "http"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Become functions-framework. Returns only when something is in the way."""
    parser = Parser(prog="./dev function", allow_abbrev=False)
    parser.add_argument("name", help=", ".join(hosting.FUNCTIONS))
    parser.add_argument("--port", type=port_of, default=8081, help="where it answers (default: 8081)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder of the running local stack")
    chosen = parser.parse_args(arguments)
    try:
        command = command_of(chosen.name, chosen.port)
        environment = environment_of(DataFolder(chosen.data))
        ports.require(chosen.port)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chosen.name} answers on http://127.0.0.1:{chosen.port}/", file=sys.stderr, flush=True)
    # The framework puts only the source's own folder on the path, and the house is one floor up.
    path = os.pathsep.join(filter(None, [str(hosting.ROOT), os.environ.get("PYTHONPATH", "")]))
    os.execve(command[0], command, {**os.environ, **environment, "PYTHONPATH": path})  # noqa: S606 - no shell
    raise AssertionError("unreachable")


if __name__ == "__main__":
    raise SystemExit(main())
