"""What an operator sees of the pipeline: one trace for each file, and lines that can be counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.telemetry import KeptSpan, TelemetryServer
from infra.local.trace import traces_of
from tests.integration.pipeline import Pipeline, pipeline, wait_for

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")


@pytest.fixture
def watched(pipeline: Pipeline, tmp_path: Path) -> Iterator[TelemetryServer]:
    """Every trace is kept, and Drive pushes its notifications."""
    collector = TelemetryServer(tmp_path)
    collector.start()
    with pipeline.setting(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector.endpoint,
        OTEL_TRACES_SAMPLER_ARG=1,
        WEBHOOK_URL=pipeline.url("drive_webhook"),
        ENTITIES="on",
    ):
        yield collector
    collector.stop()


def names_below(trace: list[KeptSpan], name: str) -> set[str]:
    """The names of the spans directly below those of this name."""
    above = {span.span_id for span in trace if span.name == name}
    return {span.name for span in trace if span.parent_id in above}


def test_one_edit_is_one_trace_from_the_notification_to_the_rows(pipeline: Pipeline, watched: TelemetryServer) -> None:
    """Whoever asks why a file is not here yet finds the step where it is, whichever function that is."""
    person = pipeline.person({"Diary.md": "# Diary\n\nThe herring gulls are back.\n"})
    file_id = person.id_of("Diary.md")
    before = {span.trace_id for span in watched.spans()}

    person.put("Diary.md", "# Diary\n\nThe oystercatchers are back, too.\n")
    wait_for(lambda: "oystercatchers" in pipeline.text(person, "Diary.md"))
    pipeline.settle()

    traces = [trace for trace in traces_of(watched.spans(), file_id) if trace[0].trace_id not in before]
    (trace,) = traces
    roots = [span for span in trace if not span.parent_id]
    assert [span.name for span in roots] == ["drive_webhook"]
    assert names_below(trace, "drive_webhook") == {"change_lister"}
    assert names_below(trace, "change_lister") >= {"drive changes", "note files", "file_streamer"}
    assert names_below(trace, "file_streamer") >= {"drive metadata", "drive read"}
    assert names_below(trace, "drive read") >= {"ai_processor", "write end"}
    assert names_below(trace, "ai_processor") == {"embed", "find entities", "write rows"}
    assert {span.service for span in trace} == {"drive_webhook", "change_lister", "file_streamer", "ai_processor"}
    assert {span.attributes.get("lane") for span in trace if span.name == "ai_processor"} == {"fresh"}
    assert not any(span.error for span in trace)
