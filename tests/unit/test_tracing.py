"""Traces: who begins one, who goes on with it, and what leaves the instance before the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.telemetry import KeptSpan, TelemetryServer
from infra.local.trace import lines_of, traces_of
from shared import log, tracing
from shared.config import read_settings
from shared.tracing import Place, parent_in

ROOT = Path(__file__).resolve().parents[2]
TRACE, SPAN = "a" * 32, "b" * 16
KEPT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[TelemetryServer]:
    server = TelemetryServer(tmp_path)
    server.start()
    yield server
    server.stop()
    log.unbind()


def settings_for(endpoint: str, share: float = 1.0) -> Any:
    return read_settings(
        {
            "GOOGLE_CLOUD_PROJECT": "p",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
            "OTEL_TRACES_SAMPLER_ARG": str(share),
        }
    )


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"traceparent": KEPT}, Place(TRACE, SPAN, kept=True)),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, Place(TRACE, SPAN, kept=False)),
        ({"X-Cloud-Trace-Context": f"{'c' * 32}/123;o=1"}, Place("c" * 32, f"{123:016x}", kept=False)),
        ({"X-Cloud-Trace-Context": f"{'c' * 32}/123"}, Place("c" * 32, f"{123:016x}", kept=False)),
        ({"traceparent": "00-nonsense"}, None),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, None),
        ({"traceparent": f"{KEPT}\n"}, None),
        ({"X-Cloud-Trace-Context": "\n/evil"}, None),
        ({}, None),
    ],
)
def test_a_request_names_its_place_in_a_trace(headers: dict[str, str], place: Place | None) -> None:
    """Cloud Run and Pub/Sub say it in two forms; anything else is nobody's trace."""
    assert parent_in(headers) == place


def test_a_message_goes_on_with_the_trace_of_whoever_sent_it(collector: TelemetryServer) -> None:
    """One trace, however many functions a file passes through."""
    settings = settings_for(collector.endpoint)
    with tracing.request(settings, "drive_webhook", {}):
        attributes = tracing.carried()
    with tracing.request(settings, "change_lister", {}, "CONSUMER") as span:
        tracing.go_on(settings, span, attributes)
        with tracing.span("drive changes", "CLIENT", corpus="my-drive"):
            pass

    spans = {one.name: one for one in collector.spans()}

    assert {one.trace_id for one in spans.values()} == {spans["drive_webhook"].trace_id}
    assert spans["change_lister"].parent_id == spans["drive_webhook"].span_id
    assert spans["drive changes"].parent_id == spans["change_lister"].span_id
    assert spans["drive changes"].attributes == {"corpus": "my-drive"}
    assert all(one.began < one.ended for one in spans.values())


def test_spans_are_at_the_collector_before_the_request_is_answered(collector: TelemetryServer) -> None:
    """After its answer an instance may be frozen, and what it still holds is lost."""
    with tracing.request(settings_for(collector.endpoint), "dashboard", {}):
        pass

    assert [one.name for one in collector.spans()] == ["dashboard"]


def test_a_stranger_cannot_have_a_trace_recorded(collector: TelemetryServer) -> None:
    """Whoever may set a header at a public door would decide what we send and pay for."""
    with tracing.request(settings_for(collector.endpoint, share=0.0), "drive_webhook", {"traceparent": KEPT}):
        carried = tracing.carried()
    with tracing.request(settings_for(collector.endpoint), "drive_webhook", {"traceparent": KEPT}):
        tracing.forget()  # as every refused request does

    assert collector.spans() == []
    assert carried["traceparent"].startswith(f"00-{TRACE}-")
    assert carried["traceparent"].endswith("-00")


def test_every_function_decides_the_same_of_one_trace() -> None:
    """Half a trace explains nothing: the choice follows from the trace's id alone, as with OpenTelemetry's samplers."""
    few, many = f"{'0' * 16}{'1' * 16}", f"{'0' * 16}{'f' * 16}"

    assert tracing._chosen(few, 0.1)
    assert not tracing._chosen(many, 0.99)
    assert tracing._chosen(many, 1.0)
    assert not tracing._chosen("0" * 32, 0.0)


def test_each_of_many_files_has_a_trace_of_its_own_linked_to_where_it_was_found(collector: TelemetryServer) -> None:
    """A first sync of a million files is no trace of a million files."""
    carried = []
    with tracing.request(settings_for(collector.endpoint), "change_lister", {}):
        for name in ("one", "two"):
            with tracing.apart("announced", file_id=name):
                carried.append(tracing.carried()["traceparent"])

    spans = collector.spans()
    listing = next(one for one in spans if one.name == "change_lister")
    files = [one for one in spans if one.name == "announced"]

    assert len({one.trace_id for one in spans}) == 3
    assert [one.linked_to for one in files] == [(listing.trace_id,)] * 2
    assert [text.split("-")[1] for text in carried] == [one.trace_id for one in files]


def test_what_went_wrong_is_told_by_its_stable_name(collector: TelemetryServer) -> None:
    """The text of an error may hold what is nobody's business."""
    with (
        pytest.raises(ValueError, match="secret"),
        tracing.request(settings_for(collector.endpoint), "dashboard", {}),
        tracing.span("search"),
    ):
        raise ValueError("secret")

    assert {(one.name, one.error) for one in collector.spans()} == {
        ("search", "ValueError"),
        ("dashboard", "ValueError"),
    }


def test_a_collector_that_is_away_costs_the_trace_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody's file may wait for a trace."""
    with tracing.request(settings_for("http://127.0.0.1:9/v1/traces"), "dashboard", {}):
        answer = "done"

    line = json.loads(capsys.readouterr().out)
    assert answer == "done"
    assert (line["severity"], line["message"], line["spans"]) == ("WARNING", "trace not sent", 1)
    log.unbind()


def test_every_line_of_a_request_names_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """Cloud Logging shows all lines of one file together, across functions, also where no span is kept."""
    log.unbind()
    settings = settings_for("")
    with tracing.request(settings, "file_streamer", {}) as span:
        tracing.go_on(settings, span, {"traceparent": KEPT})
        log.event("reading")

    line = json.loads(capsys.readouterr().out)
    assert line["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE}"
    assert line["logging.googleapis.com/spanId"] == span.place.span_id
    assert line["logging.googleapis.com/trace_sampled"] is False
    log.unbind()


def test_nothing_is_imported_for_a_trace_that_is_not_kept() -> None:
    """The wire format alone is 49 modules, which a door's first answer need not wait for."""
    code = (
        "import sys\n"
        "from shared import tracing\n"
        "from shared.config import Settings\n"
        "with tracing.request(Settings(google_cloud_project='p'), 'drive_webhook', {}), tracing.span('step'):\n"
        "    tracing.carried()\n"
        "spaces = {'google', 'google.cloud'}  # namespaces, which some installations make at every start\n"
        "loaded = [name for name in sys.modules if name.startswith(('opentelemetry', 'requests', 'google'))]\n"
        "print(sorted(set(loaded) - spaces))"
    )

    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert said == "[]\n"


def test_the_collector_takes_what_opentelemetry_sends_and_refuses_the_rest(collector: TelemetryServer) -> None:
    """A stand-in that takes anything proves nothing."""
    protobuf = {"Content-Type": "application/x-protobuf"}

    assert requests.post(collector.endpoint, data=b"", headers=protobuf, timeout=5).status_code == 200
    assert requests.post(collector.endpoint, data=b"\xff\xff", headers=protobuf, timeout=5).status_code == 400
    assert requests.post(collector.endpoint, json={}, timeout=5).status_code == 415


def test_a_trace_is_told_as_a_tree() -> None:
    """Whoever asks where a file is wants to see where its time went."""

    def kept(service: str, name: str, span: str, parent: str, began: int, **attributes: str) -> KeptSpan:
        return KeptSpan(service, name, TRACE, span, parent, began * 10**6, (began + 5) * 10**6, attributes, "", ())

    spans = [
        kept("file_streamer", "drive read", "3", "2", 30, bytes="17"),
        kept("drive_webhook", "drive_webhook", "1", "away", 10),
        kept("file_streamer", "file_streamer", "2", "1", 20, file_id="f", lane="fresh"),
    ]

    (trace,) = traces_of(spans, "f")

    assert list(lines_of(trace)) == [
        f"trace {TRACE}, 25 ms in all",
        "        0 ms       5.0 ms  drive_webhook",
        "       10 ms       5.0 ms    file_streamer  lane fresh",
        "       20 ms       5.0 ms      file_streamer: drive read  bytes 17",
    ]
    assert traces_of(spans, "g") == []
