"""`./dev bench NAME`: runs one benchmark; the last line of standard output is its result as one JSON object."""

from __future__ import annotations

import importlib
import json
import sys

from shared.domain.errors import DrivestreamError

# Each is a module with `measure(arguments)`, loaded only when it is asked for: what one needs must not slow another.
BENCHMARKS = {
    "cold": "from a start to the first real answer, each function against a bare one: [--repetitions N] [--record]",
    "memory": "what streaming and reading take, whatever the size: [--scale] [--megabytes N...] [--only NAME...]",
    "lives": "a file read in one life of the function and in several: [--scale] [--only NAME...]",
    "stream": "one file of an outside Drive: --drive URL --token T --file ID --consumer sha|noop",
    "compare-stream": "streaming against MediaIoBaseDownload and curl: [--places near far capped] [--repetitions N]",
    "compare-load": "a thousand small files against the usual way: [--files N] [--repetitions N]",
    "freshness": "how soon an edit is found during a first sync and after: [--files N] [--edits N]",
    "insert": "passages into Postgres against psycopg: [--passages N] [--repetitions N] [--indexed N] [--language L]",
    "faults": "files from a server that refuses and cuts: [--files N]",
    "search": "recall and time of a search: [--passages N] [--people N] [--queries N]",
    "api": "anything at all, asked of the dashboard's API: [--examples N] [--seed N]",
    "page": "the dashboard of somebody with very many files: [--files N] [--repetitions N]",
    "relevance": "how good search is: labelled questions, by hybrid search, vectors alone and full text alone",
    "plan": "the plan's prediction for a local run beside that run: [--files N] [--measured N] [--seed N]",
    "forecast": "what reading was to take and what it took: the sample Drive and a folder: "
    "[--folder made|office] [--files N] [--seed N]",
    "load": "a folder of an outside Drive, read and cut: --drive URL --token T --folder ID",
}


def main(arguments: list[str]) -> int:
    """Run the benchmark that is asked for."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print("usage: ./dev bench NAME [OPTIONS]\n")
        print("\n".join(f"  {name:15} {what}" for name, what in BENCHMARKS.items()))
        return 0
    if name not in BENCHMARKS:
        print(f"There is no benchmark '{name}'; there are {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    try:
        result = importlib.import_module(f"tests.bench.{name.replace('-', '_')}").measure(rest)
    except DrivestreamError as error:
        print(error.reason, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0 if result.get("complete", True) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
