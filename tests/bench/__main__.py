"""`./dev bench NAME`: runs one benchmark; the last line of standard output is its result as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys

from tests.bench import cold

BENCHMARKS = {"cold": cold.measure}


def main() -> int:
    """Run the benchmark that is asked for."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="One benchmark, one JSON object.")
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    asked = parser.parse_args()
    print(json.dumps(BENCHMARKS[asked.name]()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
