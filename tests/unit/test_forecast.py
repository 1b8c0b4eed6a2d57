"""What reading will take is told from names, types and sizes, and the kinds are those of the readers."""

from __future__ import annotations

import pytest

from shared.adapters.vertex import ENTITY_TOKENS_PER_REQUEST, INSTRUCTION
from shared.domain.forecast import (
    BY_NAME,
    HELD,
    INSTRUCTION_TOKENS,
    KINDS,
    REQUEST_TOKENS,
    WINDOW,
    Pace,
    Some,
    forecast,
    kind_of,
    share,
)
from shared.readers.formats import FORMATS
from shared.readers.limits import Limits

MEGABYTE = 1_000_000
NOTHING_YET = Pace()


def counted(*listed: Some, pace: Pace = NOTHING_YET, entities: float = 1.0) -> dict[str, list[float]]:
    """What is expected of these files together."""
    found = forecast(listed, pace, entities=entities).values()
    names = next(iter(found)).counted
    return {name: [sum(one.counted[name][at] for one in found) for at in range(3)] for name in names}


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.kind)
def test_a_kind_is_read_by_the_forecast_as_by_the_readers(row: object) -> None:
    """A format that is learnt or given up changes the forecast with it."""
    assert isinstance(row, type(FORMATS[0]))
    if row.kind == "tabs":  # no file: a way to read a Sheet
        return
    kinds = [kind_of("application/octet-stream", ending) for ending in row.extensions.split()]
    kinds += [kind_of(mime_type.replace("/*", "/x-other"), "") for mime_type in row.mime_types.split()]

    for kind in kinds:
        assert bool(kind.skipped or kind.name == "unknown") == (row.read is None), (row.kind, kind.name)


def test_no_ending_and_no_type_is_of_two_kinds() -> None:
    """Or which of them counts would be a matter of their order."""
    for said in ("endings", "types"):
        words = [word for kind in KINDS for word in getattr(kind, said).split()]
        assert len(words) == len(set(words))


def test_constants_are_those_of_what_is_forecast() -> None:
    """A longer instruction, or a larger hold, costs more."""
    assert pytest.approx(len(INSTRUCTION) / 4 + 12, rel=0.05) == INSTRUCTION_TOKENS
    assert REQUEST_TOKENS * 4 / 3 == ENTITY_TOKENS_PER_REQUEST
    assert Limits().hold_bytes == HELD
    assert Limits().window_bytes == WINDOW


def test_a_text_costs_a_look_and_a_download_its_bytes_and_its_words() -> None:
    """The commonest file of all."""
    found = counted(Some("text/plain", "txt", files=10, bytes=10_000, fresh=10))

    assert found["drive_units"] == [2050, 2050, 2050]
    assert found["drive_bytes"] == [10_000, 10_000, 10_000]
    assert found["embedded_tokens"][1] == pytest.approx(2_500, rel=0.1)
    assert found["model_input_tokens"][1] > found["embedded_tokens"][1] + 10 * INSTRUCTION_TOKENS
    assert found["ocr_pages"] == [0, 0, 0]


def test_equal_contents_are_embedded_once_and_read_each() -> None:
    """A copy costs its download and its names, and no vector."""
    alone = counted(Some("text/plain", "txt", files=2, bytes=8_000, fresh=2))
    copied = counted(Some("text/plain", "txt", files=2, bytes=8_000, fresh=1))

    assert copied["embedded_tokens"][1] == pytest.approx(alone["embedded_tokens"][1] / 2)
    assert copied["drive_bytes"] == alone["drive_bytes"]
    assert copied["model_input_tokens"] == alone["model_input_tokens"]


def test_what_holds_no_text_costs_its_beginning_and_nothing_of_models() -> None:
    """A video of a gigabyte is looked at, not streamed."""
    found = counted(Some("video/mp4", "mp4", files=3, bytes=3000 * MEGABYTE, fresh=3))

    assert found["drive_bytes"][2] == 3 * WINDOW
    assert not any(sum(found[name]) for name in ("embedded_tokens", "model_input_tokens", "ocr_pages"))


@pytest.mark.parametrize(
    ("some", "kind", "units"),
    [
        (Some("text/plain", "txt", 1, 0, 1, empty=True), "empty", 5),
        (Some("text/plain", "txt", 1, 900, 1, outside=True), "outside", 0),
        (Some("text/plain", "txt", 1, 900, 1, closed=True), "closed", 0),
        (Some("application/vnd.google-apps.form", "", 1, 0, 1, unsized=True), "pointer", 0),
        (Some("application/vnd.google-apps.shortcut", "", 1, 0, 1, unsized=True), "pointer", 0),
    ],
)
def test_what_is_not_read_is_counted_by_its_reason(some: Some, kind: str, units: int) -> None:
    """Every file is in the forecast, and none of these costs a download."""
    (found,) = forecast([some], NOTHING_YET).items()

    assert found[0] == kind
    assert BY_NAME[kind].skipped
    assert found[1].files == 1
    assert found[1].counted["drive_units"] == [units] * 3


def test_a_native_document_without_a_size_stands_for_an_ordinary_one() -> None:
    """Drive does not always state a size of what its editors made."""
    found = counted(Some("application/vnd.google-apps.document", "", files=4, bytes=0, fresh=4, unsized=True))

    assert found["drive_bytes"][1] == pytest.approx(4 * BY_NAME["document"].stands_for)
    assert found["embedded_tokens"][1] > 0


def test_every_range_is_in_order() -> None:
    """At least, likely, at most: whatever the kind and the size."""
    for kind in KINDS:
        for size in (1, 1_000, MEGABYTE, 100 * MEGABYTE):
            mime_type, ending = (kind.types.split() or [""])[0], (kind.endings.split() or [""])[0]
            for name, three in counted(Some(mime_type, ending, 7, 7 * size, 7)).items():
                assert three == sorted(three), (kind.name, size, name)


def test_names_cost_what_the_setting_says() -> None:
    """With ENTITIES=off no model is asked but for vectors."""
    listed = Some("text/plain", "txt", files=10, bytes=100_000, fresh=10)

    assert counted(listed, entities=share("off"))["model_input_tokens"] == [0, 0, 0]
    assert counted(listed, entities=share("0.5"))["model_input_tokens"][1] == pytest.approx(
        counted(listed, entities=share("on"))["model_input_tokens"][1] / 2
    )


def test_the_time_is_that_of_the_pace_or_of_drives_quota_where_that_is_slower() -> None:
    """Nobody is told tomorrow where the quota says next week."""
    slow = Pace(files=1_000, bytes=10 * MEGABYTE, seconds=1_000.0)
    few = Some("text/plain", "txt", files=100, bytes=100_000, fresh=100)
    huge = Some("text/plain", "txt", files=100, bytes=3 * 10**12, fresh=100)

    assert counted(few, pace=slow)["seconds"][1] == pytest.approx(100)
    assert counted(huge)["seconds"][0] >= 3 * 86_400
