"""What a newcomer does on the whole stack, in a real browser: connect, watch, search, open the source, leave.

With DRIVESTREAM_PICTURES=1 it also takes the pictures that the README shows.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.faults.machine import ROOT, Machine, provide_database

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: nobody clicks through it")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
PATIENCE = 180_000  # milliseconds until what never appears fails its test
PICTURES = ROOT / "docs" / "pictures"

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
    pytest.mark.skipif(sys.platform != "linux", reason="finding all processes of a run needs Linux' /proc"),
    pytest.mark.xdist_group("browser"),  # one stack for all of them
]


@dataclass
class Window:
    """A page, and what went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def expects_a_refusal(self) -> None:
        """A browser notes every page that is answered with 4xx; anything else stays an error."""
        refused = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
        self.errors[:] = [error for error in self.errors if not refused.match(error)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Machine]:
    """The sample Drive, as `./dev local` serves it: nobody is connected yet."""
    place = Path(tempfile.mkdtemp(prefix="drivestream-browser-"))
    provide_database(place / "data")
    machine = Machine(place / "data")
    try:
        with machine.running():
            yield machine
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def opened(stack: Machine, browser: Any, width: int = 1280, height: int = 900) -> Iterator[Window]:
    """A person's own browser, with nothing in it. Errors on a console and requests to anybody else fail the test."""
    context = browser.new_context(viewport={"width": width, "height": height}, base_url=stack.address)
    context.set_default_timeout(PATIENCE)
    window = Window(context.new_page())

    def look_at(page: Any) -> None:
        page.on("console", lambda said: window.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: window.errors.append(str(error)))

    look_at(window.page)
    context.on("page", look_at)
    context.on("request", lambda asked: None if _is_local(asked.url) else window.outside.append(asked.url))
    try:
        yield window
        assert window.errors == []
        assert window.outside == []
    finally:
        context.close()


def connect(page: Any, name: str) -> None:
    """Click through the consent as one of the test people."""
    page.goto("/")
    page.get_by_role("button", name="Connect Google Drive").click()
    page.get_by_label(name).check()
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.wait_for_load_state()


def test_whoever_says_no_to_google_is_told_so_and_finds_the_way_back(stack: Machine, browser: Any) -> None:
    """A changed mind is no error, and half a permission is no permission."""
    with opened(stack, browser) as window:
        page = window.page
        page.goto("/")
        page.get_by_role("button", name="Connect Google Drive").click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("link", name="Back to the dashboard").wait_for()
        cancelled = page.get_by_role("paragraph").first.inner_text()
        page.get_by_role("link", name="Back to the dashboard").click()

        page.get_by_role("button", name="Connect Google Drive").click()
        page.get_by_label("See and download all your Google Drive files").uncheck()
        page.get_by_role("button", name="Allow").click()
        page.get_by_role("link", name="Back to the dashboard").wait_for()
        unticked = page.get_by_role("paragraph").first.inner_text()
        page.get_by_role("link", name="Back to the dashboard").click()
        page.get_by_role("button", name="Connect Google Drive").wait_for()
        window.expects_a_refusal()

    assert cancelled.startswith("You did not allow access, so nothing was connected.")
    assert unticked.startswith("You did not tick the permission to read your Drive")


def test_a_newcomer_connects_watches_searches_opens_and_leaves(stack: Machine, browser: Any) -> None:
    """The whole promise, by clicking: no reload, no command, no documentation."""
    with opened(stack, browser) as window:
        page = window.page
        loads: list[str] = []
        connect(page, "Ada Lindqvist")
        page.on("load", lambda: loads.append(page.url))

        steps = _watch_until_done(page)

        assert loads == [], "the page was loaded anew"
        assert len(steps) >= 2, f"progress did not move: {steps}"
        assert steps == sorted(steps), f"progress went backwards: {steps}"

        for phrase, name, place in (
            ("the battery had been borrowed for", "Survey 2025.pdf", "page 3"),
            (
                "valley is worn as thin as filo",
                "Minutes.md",
                "under “Minutes of the meeting about the roof > Findings”",
            ),
            ("idles like somebody knitting", "Restoration log.txt", "line"),
            ("four hundred rolls for the regatta", "Invoices.xlsx", "sheet 2025, row"),
        ):
            first = _search_by_keyboard(page, phrase, name)
            assert place in first.locator(".place").inner_text()
            assert phrase.split()[-1] in " ".join(first.locator("mark").all_inner_texts())

        source = _open_source(page, "valley is worn as thin as filo", "Minutes.md")
        assert urlsplit(source.url).scheme == "http"
        assert urlsplit(source.url).hostname == "127.0.0.1"
        assert "worn as thin as filo" in source.locator("pre").inner_text()
        source.close()
        source = _open_source(page, "the battery had been borrowed for", "Survey 2025.pdf")
        assert source.get_by_role("heading", name="Survey 2025.pdf").is_visible()
        assert source.get_by_role("link", name="Open the file itself").is_visible()
        source.close()

        page.goto("/")
        page.get_by_text("Disconnect and erase…").click()
        page.get_by_role("button", name="Yes, disconnect and erase everything").click()
        page.get_by_role("heading", name="You are disconnected").wait_for()
        receipt = page.locator("code").inner_text()
        assert re.fullmatch(r"[0-9a-f-]{36}", receipt)
        for _ in range(100):
            if "Everything was erased on" in page.get_by_role("main").inner_text():
                break
            page.wait_for_timeout(500)
            page.reload()
        assert re.search(
            r"Everything was erased on .*: \d+ files and \d+ passages", page.get_by_role("main").inner_text()
        )
        page.goto("/")
        page.get_by_role("button", name="Connect Google Drive").wait_for()


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_every_page_on_the_way_fits_the_screen(stack: Machine, browser: Any, width: int) -> None:
    """On a phone, a tablet and a desk: nobody scrolls sideways, on our pages or on Google's."""
    with opened(stack, browser, width) as window:
        page = window.page
        page.goto("/")
        page.get_by_role("button", name="Connect Google Drive").wait_for()
        _fits(page)
        page.get_by_role("button", name="Connect Google Drive").click()
        page.get_by_role("button", name="Cancel").wait_for()
        _fits(page)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("link", name="Back to the dashboard").wait_for()
        _fits(page)
        window.expects_a_refusal()

        connect(page, "Ben Okafor")
        _fits(page)
        page.get_by_role("heading", name="Everything is read").wait_for()
        _fits(page)
        first = _search_by_keyboard(page, "tide tables", None)
        _fits(page)
        first.locator("h2 a").click()
        page.get_by_role("heading", name="What happened").wait_for()
        _fits(page)
        page.goto("/?state=skipped")
        _fits(page)


@pytest.mark.skipif(os.environ.get("DRIVESTREAM_PICTURES") != "1", reason="DRIVESTREAM_PICTURES=1 takes the pictures")
def test_the_pictures_show_what_a_newcomer_sees(stack: Machine, browser: Any) -> None:
    """A README with an old picture promises what nobody gets."""
    with opened(stack, browser) as window:
        page = window.page
        page.goto("/")
        page.get_by_role("button", name="Connect Google Drive").wait_for()
        page.screenshot(path=PICTURES / "connect.png")
        connect(page, "Ada Lindqvist")
        page.get_by_role("heading", name="Everything is read").wait_for()
        # Few results, so that one picture shows the search, the progress and the files.
        page.goto("/?q=the+battery+had+been+borrowed&limit=1")
        page.locator(".results mark").first.wait_for()
        page.screenshot(path=PICTURES / "dashboard.png")
        found = page.locator(".results h2 a").first.get_attribute("href")
        for name, address, width in (("phone", page.url, 360), ("file", found, 768), ("forecast", "/forecast", 768),
                                     ("settings", "/settings", 1440), ("costs", "/costs", 1440),
                                     ("history", "/history?log=audit", 1440)):  # fmt: skip
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address)
            page.get_by_role("main").wait_for()
            page.screenshot(path=PICTURES / f"{name}.png")


def _watch_until_done(page: Any) -> list[int]:
    """The numbers of finished files that the page showed by itself, in order, until everything is read."""
    page.evaluate(
        """() => {
            window.seen = [];
            const look = () => {
                const bar = document.querySelector("#progress progress");
                if (bar && seen.at(-1) !== bar.value) seen.push(bar.value);
            };
            look();
            new MutationObserver(look).observe(document.getElementById("progress"), {childList: true, subtree: true});
        }"""
    )
    page.get_by_role("heading", name="Everything is read").wait_for()
    steps: list[int] = page.evaluate("window.seen")
    return steps


def _search_by_keyboard(page: Any, words: str, name: str | None) -> Any:
    """Slash (or, being there already, select all), words, Enter. The first result, once it is that of these words."""
    if urlsplit(page.url).path != "/":
        page.goto("/")
    page.keyboard.press("Control+a" if page.evaluate("document.activeElement.id") == "q" else "/")
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("q") == [words])
    page.locator("#results:not([aria-busy]) .results mark").first.wait_for()
    first = page.locator(".results > li:first-child")
    if name is not None:
        first.filter(has=page.get_by_role("heading", name=name, exact=True)).wait_for()
    return first


def _open_source(page: Any, words: str, name: str) -> Any:
    first = _search_by_keyboard(page, words, name)
    with page.context.expect_page() as found:
        first.get_by_role("link", name="Open the source").click()
    source = found.value
    source.wait_for_load_state()
    return source


def _fits(page: Any) -> None:
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"), page.url


def _is_local(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("data", "blob") or parts.hostname == "127.0.0.1"
