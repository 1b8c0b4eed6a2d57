"""What reading will take is told from names, types and sizes, and the kinds are those of the readers."""

from __future__ import annotations

from dataclasses import replace

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
    Read,
    Some,
    forecast,
    kind_of,
    learnt,
    share,
)
from shared.readers.formats import FORMATS
from shared.readers.limits import Limits

MEGABYTE = 1_000_000
NOTHING_YET = Pace()


def counted(
    *listed: Some, pace: Pace = NOTHING_YET, entities: float = 1.0, read: list[Read] | None = None
) -> dict[str, list[float]]:
    """What is expected of these files together, where these were read before."""
    found = forecast(listed, pace, entities=entities, kinds=learnt(read or [])).values()
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


@pytest.mark.parametrize(
    ("ending", "sizes", "tokens"),
    [
        ("docx", (10_520, 11_442, 12_700, 14_797, 20_294, 33_732), (62, 559, 1106, 2201, 5538, 16473)),
        ("docx", (36_725, 37_628, 38_821, 40_636, 46_060), (62, 561, 1109, 2208, 5571)),
        ("odt", (8_972, 11_211, 16_694, 29_443), (1106, 2201, 5538, 16473)),
        ("xlsx", (10_232, 30_245, 156_329, 29_424, 95_614), (1372, 6560, 40074, 6560, 19357)),
        ("ods", (5_340, 18_735, 102_916), (1373, 6562, 40092)),
    ],
)
def test_a_document_s_text_is_found_behind_the_wrapping_of_any_maker(
    ending: str, sizes: tuple[int, ...], tokens: tuple[int, ...]
) -> None:
    """Pandoc, python-docx, pandoc again, openpyxl with XlsxWriter, and odfpy wrote these texts, of a line to thirty
    pages. Who made a file is not listed; what they all have is told within two thirds."""
    low, likely, high = counted(*(Some("", ending, files=1, bytes=size, fresh=1) for size in sizes))["embedded_tokens"]

    assert low < sum(tokens) < high
    assert likely == pytest.approx(sum(tokens), rel=0.67)


def test_what_makes_a_document_large_is_mostly_pictures() -> None:
    """A letter of ten megabytes is no novel; but there may be one in it, which the upper end says."""
    short, large = (Some("", "docx", files=1, bytes=size, fresh=1) for size in (40_000, 10 * MEGABYTE))

    assert counted(large)["embedded_tokens"][1] < 50 * counted(short)["embedded_tokens"][1]
    assert counted(large)["embedded_tokens"][1] > counted(short)["embedded_tokens"][1]
    assert counted(large)["embedded_tokens"][2] > 200_000


LETTERS = Some("text/plain", "txt", files=100, bytes=1 * MEGABYTE, fresh=100)
TABLES = Some("text/csv", "csv", files=100, bytes=1 * MEGABYTE, fresh=100)


def letters_read(files: int, tokens: float = 1.0, names: float = 1.0) -> Read:
    """So many letters as above, which took so many times the tokens and the names that nobody had yet learnt."""
    size = files * 10_000
    usual = {name: three[1] * tokens for name, three in counted(Some("text/plain", "txt", files, size, files)).items()}
    embedded, asked, named = (round(usual[f"{name}_tokens"]) for name in ("embedded", "model_input", "model_output"))
    return Read("text/plain", "txt", files, size, files, embedded, asked, round(named * names))


def test_too_few_files_teach_nothing() -> None:
    """The first letters of the first person say little of everybody's."""
    assert counted(LETTERS, read=[letters_read(199, names=5.0)]) == counted(LETTERS)


def test_what_a_model_names_is_learnt_by_how_much_it_was_asked() -> None:
    """As much as is said here counts three hundred files; of many times that only what was found counts."""
    usual = counted(LETTERS)["model_output_tokens"][1]

    half, all_of_it = (
        counted(LETTERS, read=[letters_read(files, names=4.0)])["model_output_tokens"][1] for files in (300, 300_000)
    )

    assert half == pytest.approx(2 * usual, rel=0.01)
    assert all_of_it == pytest.approx(4 * usual, rel=0.01)


def test_the_tokens_of_a_kind_are_learnt_from_that_kind_alone() -> None:
    """Letters in Chinese say nothing of tables; a model that names much says it of both."""
    read = [letters_read(300_000, tokens=3.0, names=2.0)]

    letters, tables = (counted(one, read=read) for one in (LETTERS, TABLES))

    usual_letters, usual_tables = counted(LETTERS), counted(TABLES)
    assert letters["embedded_tokens"][1] == pytest.approx(3 * usual_letters["embedded_tokens"][1], rel=0.01)
    assert letters["model_output_tokens"][1] == pytest.approx(6 * usual_letters["model_output_tokens"][1], rel=0.01)
    assert tables["embedded_tokens"] == usual_tables["embedded_tokens"]
    assert tables["model_output_tokens"][1] == pytest.approx(2 * usual_tables["model_output_tokens"][1], rel=0.01)


def test_what_was_found_narrows_the_range_and_stays_in_it() -> None:
    """A forecast that was borne out is surer; one that was not keeps both what was said and what was found."""
    usual, borne_out, far_off = (
        counted(LETTERS, read=read)["model_output_tokens"]
        for read in ([], [letters_read(3_000)], [letters_read(3_000, names=15.0)])
    )

    assert usual[0] < borne_out[0] < borne_out[1] < borne_out[2] < usual[2]
    assert far_off[0] <= usual[1] < far_off[1] < 15 * usual[1] <= far_off[2]


def test_an_installation_that_names_nothing_learns_nothing_of_names() -> None:
    """With ENTITIES=off there is nothing to learn from, and no division by it."""
    read = replace(letters_read(3_000), model_input_tokens=0, model_output_tokens=0)

    assert counted(LETTERS, read=[read])["model_output_tokens"][1] == counted(LETTERS)["model_output_tokens"][1]


def test_what_is_found_beyond_all_measure_is_not_believed() -> None:
    """A counter that went wrong, or a folder of nothing but blanks, must not make a forecast of nothing."""
    nothing = counted(LETTERS, read=[letters_read(300_000, tokens=0.0)])["embedded_tokens"]

    assert nothing[1] == pytest.approx(counted(LETTERS)["embedded_tokens"][1] / 20, rel=0.02)
