"""Where an operator's command works: on the local stack that runs on a folder of data, or on a deployed project."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from infra.local.data_folder import DataFolder
from infra.local.errors import StackError
from infra.local.function import environment_of
from shared import config
from shared.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--data DIR`, `--settings FILE` or `--deployed`."""
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder of a running local stack")
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="a deployed project instead: its settings as NAME=value lines; who asks is known by application-default "
        "credentials",
    )
    parser.add_argument(
        "--deployed", action="store_true", help="the place is in the environment, as in the job that Terraform makes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def settings_of(chosen: argparse.Namespace) -> Settings:
    """The settings of that place, which are this process's from here on. Raises `StackError` and `SettingsError`."""
    if not chosen.deployed:
        named = lines_of(chosen.settings) if chosen.settings else environment_of(DataFolder(chosen.data))
        os.environ.update(named)  # Google's clients look there, too
    config.settings.cache_clear()
    return config.read_settings(os.environ)


def lines_of(path: Path) -> dict[str, str]:
    """NAME=value lines; empty ones and comments aside. Raises `StackError`."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise StackError(f"The settings in {path} cannot be read: {error.strerror}.") from error
    kept = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    wrong = [number for number, line in enumerate(kept, 1) if "=" not in line]
    if wrong:
        raise StackError(f"{path} has a line that is not NAME=value: number {wrong[0]} of those that count.")
    pairs = (line.split("=", 1) for line in kept)
    return {name.strip(): value.strip().strip('"') for name, value in pairs}
