"""Drawings and subtitles: words between things that are none."""

from __future__ import annotations

import pytest

from shared.domain.errors import Skipped
from shared.domain.parts import Text
from shared.readers import BytesSource, read


def texts(content: str, name: str = "a.svg") -> list[tuple[str, dict[str, object]]]:
    source = BytesSource(content.encode(), name)
    return [(part.text, part.locator.as_json()) for part in read(source) if isinstance(part, Text)]


def test_a_drawing_gives_its_words_and_no_script() -> None:
    """A plan of a house is found by the names of its rooms."""
    picture = "QUJD" * 60_000
    found = texts(
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x/svg11.dtd" ['
        '<!ENTITY ns "http://example.com/"> <!ENTITY lol "&ns;&ns;">]>'
        '<svg:svg xmlns:svg="s" xmlns:x="&ns;"><svg:title>The mill</svg:title><svg:desc>Its two floors</svg:desc>'
        "<svg:style>text { color: red }</svg:style><script>alert('no')</script><metadata><t>no</t></metadata>"
        f'<svg:image href="data:image/png;base64,{picture}"/><svg:g><svg:path d="M0 0"/>'
        '<svg:text x="1">Fish &amp; <svg:tspan>chips</svg:tspan><svg:tspan x="1" dy="2">below</svg:tspan></svg:text>'
        "<svg:foreignObject><div>a <b>web</b> page</div></svg:foreignObject> not a text</svg:g></svg:svg>"
    )

    assert found == [
        ("The mill\n", {"part": "title"}),
        ("Its two floors\n", {"part": "description"}),
        ("Fish & chips below\na web page\n", {"heading": "The mill"}),
    ]


def test_a_drawing_without_words_says_so() -> None:
    """Most icons have none."""
    with pytest.raises(Skipped) as caught:
        texts('<svg xmlns="s"><path d="M0 0"/></svg>')

    assert caught.value.code == "no_text"


SRT = (
    "1\r\n00:00:01,000 --> 00:00:02,500\r\nThe mill wheel turns.\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:04,000\r\nAnd stops.\r\n"
)


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_subtitles_keep_their_times_and_lines(name: str) -> None:
    """The time leads to the moment in the film, the line to the place in the file."""
    content = SRT if name == "a.srt" else "WEBVTT\n\n" + SRT.replace(",", ".")
    long = content + "".join(
        f"\n\n{n}\n00:{n % 60:02}:00.000 --> 00:{n % 60:02}:01.000\nLine number {n} of the film." for n in range(3, 400)
    )

    found = texts(long, name)

    assert "00:00:03" in found[0][0]
    assert len(found) > 3
    for piece, place in found[:-1]:
        assert piece.endswith("\n\n"), "a part ends between two cues"
        assert (
            long.replace("\r", "").split("\n")[int(str(place["line_first"])) - 1]
            == piece.replace("\r", "").split("\n")[0]
        )
