"""Settings: what is wrong with the environment is said at the start, all at once, in words."""

from __future__ import annotations

import pytest

from shared.config import SettingsError, read_settings
from shared.readers import Limits

PINNED = "projects/p/locations/us/processors/1/processorVersions/pretrained-ocr-v2.0-2023-06-02"


def test_a_processor_without_a_version_is_refused_at_the_start() -> None:
    """The default version moves when somebody or Google moves it; half of a file would be read by another one."""
    assert read_settings({"GOOGLE_CLOUD_PROJECT": "p", "DOCUMENTAI_PROCESSOR": PINNED}).documentai_processor == PINNED
    with pytest.raises(SettingsError, match=r"DOCUMENTAI_PROCESSOR must name a version, like .*processorVersions"):
        read_settings({"GOOGLE_CLOUD_PROJECT": "p", "DOCUMENTAI_PROCESSOR": PINNED.rpartition("/processorV")[0]})


@pytest.mark.parametrize(("said", "pages"), [("", 15), ("off", 15), ("On", 30)])
def test_readers_cut_windows_as_large_as_the_processor_takes(said: str, pages: int) -> None:
    """One setting says both, so that no window is refused and none is smaller than it may be."""
    config = read_settings({"GOOGLE_CLOUD_PROJECT": "p", "DOCUMENTAI_IMAGELESS": said})

    assert config.ocr_pages == Limits.of(config).window_pages == pages


def test_every_fault_is_named_at_once() -> None:
    """Whoever deploys should not find them one after the other."""
    wrong = {"DOCUMENTAI_IMAGELESS": "perhaps", "WINDOW_BYTES": "2 MB", "DOCUMENTAI_PROCESSOR": "ocr"}

    with pytest.raises(SettingsError) as caught:
        read_settings(wrong)

    for words in (
        "GOOGLE_CLOUD_PROJECT is not set",
        "DOCUMENTAI_IMAGELESS must be on or off, not 'perhaps'",
        "WINDOW_BYTES must be a number",
        "DOCUMENTAI_PROCESSOR must name a version",
    ):
        assert words in str(caught.value)
