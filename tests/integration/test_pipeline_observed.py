"""What an operator sees of the pipeline: one trace for each file, and lines that can be counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.local.telemetry import KeptSpan, TelemetryServer
from infra.local.trace import traces_of
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.tick_pb2 import Tick
from tests.integration.pipeline import ROOT, Pipeline, pipeline, wait_for
from tests.integration.test_pipeline_channels import of_yesterday

__all__ = ["pipeline"]
pytestmark = pytest.mark.xdist_group("pipeline")
DEAD_LETTER = "CloudPubSubDeadLetterSourceSubscription"


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


# Lines and numbers ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    """What is counted, promised and called out."""
    defined: dict[str, Any] = json.loads((ROOT / "infra" / "observability.json").read_text())
    return defined


def counts(where: Mapping[str, str], line: Mapping[str, Any]) -> bool:
    """Whether Cloud Logging's filter, as observability.tf writes it, takes this line."""
    return all(field in line and value in ("*", line[field]) for field, value in where.items())


def test_every_metric_is_made_of_lines_that_the_functions_write(
    pipeline: Pipeline, definition: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A metric whose lines nobody writes is a chart that stays empty, and an alert that never comes."""
    nowhere = "http://127.0.0.1:9/v1/traces"
    capsys.readouterr()
    with pipeline.setting(
        WEBHOOK_URL=pipeline.url("drive_webhook"), SILENCE_SECONDS="0",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=nowhere, OTEL_TRACES_SAMPLER_ARG="1",
    ):  # fmt: skip
        person = pipeline.person({"Tide.md": "High water at six.\n", "Anchor.bin": b"\0\1\2"})
        of_yesterday(pipeline, person)
        pipeline.google.faults.lose_notifications(times=None)
        person.put("Tide.md", "High water at seven.\n")
        pipeline.sync(person)
        pipeline.heal()
        person.put("Tide.md", "High water at eight.\n")
        wait_for(lambda: "eight" in pipeline.text(person, "Tide.md"))
        pipeline.settle()
        pipeline.google.faults.fail("changes.watch", 500, "backendError", times=None)
        with pipeline.setting(CHANNEL_RENEWAL_SECONDS="700000"):
            pipeline.tick("renew")
        pipeline.heal()
        pipeline.sync(person, "CENSUS")
        changed = FileChanged(user_id=person.user_id, file_id=person.id_of("Tide.md"), reason=FileChanged.Reason.ASKED)
        pipeline.sql(
            f"UPDATE gdrive_files SET state = 'waiting', reason_code = 'quota' WHERE user_id = '{person.user_id}'"
            " AND name = 'Anchor.bin'"
        )
        pipeline.push("channel_renewer", changed, attributes={DEAD_LETTER: "file-streamer"})
        pipeline.push("ai_processor", b"\xff")  # refused, with a code
        pipeline.push("channel_renewer", Tick(duty=99))  # type: ignore[arg-type]
        pipeline.post("dashboard", method="GET", path="/healthz")
        pipeline.tick("sweep")

    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines() if text.startswith("{")]
    of_metric = {
        name: [line for line in lines if counts(metric["where"], line)]
        for name, metric in definition["metrics"].items()
    }
    assert [name for name, found in of_metric.items() if not found] == []
    for name, metric in definition["metrics"].items():
        found = of_metric[name]
        lacking = [label for label in metric["labels"] if not any(label in line for line in found)]
        assert (name, lacking) == (name, [])
        if "value" in metric:
            assert {type(line[metric["value"]]) for line in found} <= {int, float}, name
    gauges = {line["gauge"] for line in lines if line["message"] == "gauge"}
    assert gauges == {
        metric["where"]["gauge"] for metric in definition["metrics"].values() if "gauge" in metric["where"]
    }
    everybody = {"function", "logging.googleapis.com/trace", "logging.googleapis.com/spanId", "severity", "message"}
    assert [line for line in lines if "outcome" in line and not everybody <= line.keys()] == []
    of_file = [line for line in lines if line["message"] == "file" and "attempt" in line]
    wanted = {"user_id", "file_id", "attempt", "lane", "message_id", "logging.googleapis.com/labels"}
    assert of_file
    assert [line for line in of_file if not wanted <= line.keys()] == []
    assert not any("tide" in json.dumps(line).lower() for line in lines)  # neither a name nor a text


def test_the_gauges_say_how_old_the_oldest_work_is_and_what_is_spent(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each number is one that somebody acts on, so each is as it is."""
    person = pipeline.person({"Log.md": "Fair.\n", "Chart.md": "Shoals.\n"})
    pipeline.sql(
        "UPDATE gdrive_files SET state = 'queued', state_at = app_now() - interval '2 hours'"
        f" WHERE user_id = '{person.user_id}' AND name = 'Log.md'"
    )
    pipeline.sql(
        "INSERT INTO costs (user_id, file_id, drive_bytes, drive_units, ocr_pages)"
        f" VALUES ('{person.user_id}', 'x', 500000000000, 40000000, 2000)"
    )
    capsys.readouterr()

    pipeline.push("channel_renewer", Tick(duty=Tick.Duty.SWEEP))

    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines() if '"gauge"' in text]
    gauges = {(line["gauge"], line["of"]): line["value"] for line in lines}
    assert 7200 <= gauges["queue_age_seconds", "backfill"] < 7300  # the lane of its first reading
    assert 0.5 <= gauges["drive_quota_today", "drive_bytes"] < 0.51
    assert 0.1 <= gauges["drive_quota_today", "drive_units"] < 0.11
    assert gauges["dollars_today", "all"] >= 3.0
    assert gauges["files", "indexed"] == pipeline.sql(
        "SELECT count(*) FROM gdrive_files JOIN users USING (user_id)"
        " WHERE gdrive_files.state = 'indexed' AND listed AND status = 'active'"
    )[0][0]  # fmt: skip
    pipeline.sql(f"DELETE FROM costs WHERE user_id = '{person.user_id}'")
    pipeline.sql(f"UPDATE gdrive_files SET state = 'indexed' WHERE user_id = '{person.user_id}' AND name = 'Log.md'")
