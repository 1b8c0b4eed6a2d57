"""`./dev bundle [FUNCTION...] [--out DIR] [--commit SHA]`: build what is deployed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infra.bundle import FUNCTIONS, MANIFEST, BundleError, build
from infra.bundle.contents import ROOT


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every bundle that was asked for is there."""
    parser = argparse.ArgumentParser(prog="./dev bundle", description="Build what is deployed.", allow_abbrev=False)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help=f"default: {', '.join(FUNCTIONS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where to (default: dist)")
    parser.add_argument(
        "--commit",
        default=os.environ.get("COMMIT_SHA", ""),
        help="which commit this is, where git cannot be asked (default: $COMMIT_SHA, then git)",
    )
    asked = parser.parse_args(arguments)
    try:
        built = build(asked.out, asked.functions or FUNCTIONS, commit=asked.commit)
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    for name, bundle in built.items():
        size = (asked.out / f"{name}.zip").stat().st_size
        print(f"{name:16} {len(bundle.files):4} files {size / 1024:6.0f} KiB  {bundle.sha256}")
    print(f"{asked.out / MANIFEST} names them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
