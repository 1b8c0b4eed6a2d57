"""`./dev trace FILE_ID`: what happened to a file, step by step through the functions, as its traces tell.

Needs a stack that was started with `--trace`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.local.options import Parser
from infra.local.telemetry import KeptSpan, spans_in

_TOLD = ("lane", "attempt", "bytes", "chunks", "files", "texts", "passages", "index", "code", "status")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every trace of the file, the oldest first. 1 where there is none."""
    parser = Parser(prog="./dev trace", description="A file's way through the functions.", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE_ID")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder of the local stack")
    chosen = parser.parse_args(arguments)
    spans = list(spans_in(chosen.data / "telemetry"))
    found = traces_of(spans, chosen.file)
    if not found:
        why = "of this file" if spans else "at all: start the stack with './dev local --trace'"
        print(f"{chosen.data} has no trace {why}.", file=sys.stderr)
        return 1
    for trace in found:
        print("\n".join(lines_of(trace)), end="\n\n")
    return 0


def traces_of(spans: Sequence[KeptSpan], file_id: str) -> list[list[KeptSpan]]:
    """The spans of each trace in which this file was worked on, the oldest trace first."""
    names = {span.trace_id for span in spans if span.attributes.get("file_id") == file_id}
    traces = [sorted((span for span in spans if span.trace_id == name), key=lambda one: one.began) for name in names]
    return sorted(traces, key=lambda trace: trace[0].began)


def lines_of(trace: Sequence[KeptSpan]) -> Iterator[str]:
    """A trace as a tree: when each step began after the first, how long it took, and what it was."""
    first = trace[0].began
    known = {span.span_id for span in trace}
    yield f"trace {trace[0].trace_id}, {(max(span.ended for span in trace) - first) / 1e6:,.0f} ms in all"

    def below(parent: str | None) -> Iterator[KeptSpan]:
        return (span for span in trace if (span.parent_id if span.parent_id in known else None) == parent)

    def tell(span: KeptSpan, depth: int) -> Iterator[str]:
        told = [f"{name} {span.attributes[name]}" for name in _TOLD if name in span.attributes]
        told += [f"failed: {span.error}"] if span.error else []
        told += [f"found in trace {name}" for name in span.linked_to]
        name = "  " * depth + (span.name if span.name == span.service else f"{span.service}: {span.name}")
        yield f"{(span.began - first) / 1e6:9,.0f} ms {span.milliseconds:9,.1f} ms  {name}  {', '.join(told)}".rstrip()
        for child in below(span.span_id):
            yield from tell(child, depth + 1)

    for root in below(None):
        yield from tell(root, 0)


if __name__ == "__main__":
    sys.exit(main())
