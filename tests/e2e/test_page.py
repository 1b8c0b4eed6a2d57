"""The page in a real browser: by mouse, by keyboard alone, on a narrow phone, and with hostile names on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.local.postgres import PostgresServer
from schemas.messages.file_changed_pb2 import FileChanged
from schemas.messages.tick_pb2 import Tick
from shared.domain.forecast import Pace, Some, forecast
from tests.integration.conftest import postgres  # noqa: F401 - a fixture
from tests.integration.dashboard_world import Person, World, serve

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not looked at")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
HOSTILE = "<script>document.title='stolen'</script>\"><img src=x onerror=\"document.title='stolen'\">\u202efdp.exe"
FOLDER = "application/vnd.google-apps.folder"
SENTENCE = "The keeper of the northern lighthouse lit the lamp at dusk."

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
    pytest.mark.xdist_group("page"),  # one browser for all of them
]


@pytest.fixture(scope="module")
def world(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: F811
    """A dashboard of its own."""
    with serve(postgres, tmp_path_factory.mktemp("page")) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def ada(world: World) -> Person:
    """Somebody with files in every state, some of them with names that are meant to do harm."""
    ada = world.person("ada")
    world.file(ada, "lighthouse.md", [(SENTENCE, {"line_first": 3, "line_last": 4})])
    world.file(ada, HOSTILE, [f"walrus {HOSTILE}"], web_view_link="javascript:document.title='stolen'")
    world.file(ada, "a_very_long_name_without_any_place_to_break_it_" * 4 + ".pdf", ["walrus " * 40 + "w" * 300])
    known = world.get("/api/search?q=northern", ada).json()["results"][0]["file"]["id"]
    world.remembers(ada, known)
    world.sql(
        "UPDATE gdrive_files SET changed_at = indexed_at - interval '3 seconds', found_at = indexed_at - interval "
        "'2 seconds', announced_at = indexed_at - interval '2 seconds' WHERE file_id = %s",
        known,
    )
    top = world.file(ada, "Papers", file_id="papers", state="folder", mime_type=FOLDER)
    world.file(ada, f"Leases {HOSTILE}", file_id="leases", state="folder", mime_type=FOLDER, parents=[top])
    world.file(ada, "locked.pdf", state="skipped", reason_code="encrypted", reason="It needs a password")
    world.file(ada, HOSTILE, state="failed", reason=HOSTILE)
    for number in range(60):
        world.file(ada, f"note {number}.txt", state="queued")
    return ada


@dataclass
class Window:
    """A page with what went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@contextmanager
def opened(world: World, browser: Any, person: Person | None, width: int = 1280, **more: Any) -> Iterator[Window]:
    """A window that watches: errors on its console and requests that leave the origin fail the test."""
    context = browser.new_context(viewport={"width": width, "height": 800}, base_url=world.url, **more)
    context.set_default_timeout(15_000)
    if person:
        context.add_cookies([{"name": "session", "value": person.session, "url": world.url}])
    window = Window(context.new_page())
    window.page.on("console", lambda said: window.errors.append(said.text) if said.type == "error" else None)
    window.page.on("pageerror", lambda error: window.errors.append(str(error)))
    window.page.on(
        "request", lambda asked: None if asked.url.startswith(world.url) else window.outside.append(asked.url)
    )
    try:
        yield window
        assert window.errors == []
        assert window.outside == []
    finally:
        context.close()


def scrolls_sideways(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def faults_of(page: Any) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and good practice, as the rule and where it is broken."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-core is not installed")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{rule['id']}: {[node['html'][:200] for node in rule['nodes']]}" for rule in found["violations"]]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (768, "dark"), (1440, "light")])
def test_every_page_fits_every_screen(world: World, browser: Any, ada: Person, width: int, scheme: str) -> None:
    """Nothing is cut off on a phone, and nobody scrolls sideways to read."""
    file_id = world.get("/api/files?state=failed", ada).json()["files"][0]["id"]

    with opened(world, browser, None, width, color_scheme=scheme) as window:
        window.page.goto("/")
        assert window.page.get_by_role("button", name="Connect Google Drive").is_visible()
        assert not scrolls_sideways(window.page)
        assert faults_of(window.page) == []
    with opened(world, browser, ada, width, color_scheme=scheme) as window:
        read = world.get("/api/search?q=northern", ada).json()["results"][0]["file"]["id"]
        for path in ("/", "/?q=walrus", "/?state=failed&sort=name", f"/files/{file_id}", f"/files/{read}", "/history",
                     "/history?log=audit", "/costs", "/settings", "/health"):  # fmt: skip
            window.page.goto(path)
            assert window.page.get_by_role("main").is_visible()
            assert not scrolls_sideways(window.page), path
            assert faults_of(window.page) == [], path


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_somebody_is_told_what_reading_takes_before_it_begins(world: World, browser: Any, width: int) -> None:
    """Nothing is read, and nothing costs, before the button is pressed; then expected and actual stand side by side."""
    zoe = world.person(f"zoe{width}")
    world.file(zoe, "lease.pdf", state="queued", mime_type="application/pdf", size=2_000_000)
    world.sql("INSERT INTO settings (user_id, reading) VALUES (%s, 'asks')", zoe.user_id)
    listed = [Some("application/pdf", "pdf", 1, 2_000_000, 1), Some("video/mp4", "mp4", 2, 9_000_000_000, 2)]
    for kind, expected in forecast(listed, Pace()).items():
        row = expected.as_row(kind)
        world.sql(
            "INSERT INTO forecasts (user_id, corpus, kind, files, listed_bytes, expected) "
            "VALUES (%s, 'my-drive', %s, %s, %s, CAST(%s AS jsonb))",
            zoe.user_id, kind, row["files"], row["listed_bytes"], json.dumps(row["expected"]),
        )  # fmt: skip
    with opened(world, browser, zoe, width) as window:
        page = window.page
        page.goto("/")
        assert page.get_by_text("Nothing has been read yet.").is_visible()
        assert not scrolls_sideways(page)
        assert faults_of(page) == []
        page.get_by_role("button", name="Start reading").press("Enter")
        page.get_by_role("heading", name="Reading your Drive").wait_for()
        page.goto("/forecast")
        assert page.get_by_role("columnheader", name="So far").first.is_visible()
        assert not scrolls_sideways(page)
        assert faults_of(page) == []
    assert world.get("/api/forecast", zoe).json()["reading"] == "begun"


def test_folders_are_chosen_in_a_tree_by_keyboard_alone(world: World, browser: Any, ada: Person) -> None:
    """Branch after branch, and the choice says what it means."""
    with opened(world, browser, ada) as window:
        page = window.page
        page.goto("/settings")
        page.get_by_role("link", name="Show the folders in Papers").focus()
        page.keyboard.press("Enter")
        page.get_by_role("checkbox", name="Leases").wait_for()
        assert page.get_by_role("checkbox", name="Leases").evaluate("one => one === document.activeElement")
        page.keyboard.press("Space")
        assert not page.get_by_role("checkbox", name="Everything").is_checked()
        page.get_by_role("button", name="Save the choice of folders").press("Enter")
        page.get_by_role("status").filter(has_text="Saved").wait_for()

        assert page.get_by_text("Only what lies in 1 chosen folder is read.").is_visible()
        assert page.get_by_role("checkbox", name="Leases").is_checked()
    assert world.get("/api/settings", ada).json()["selected_folders"][0]["id"] == "leases"
    world.ask("PUT", "/api/settings", ada, json={"selected_folders": []})


def test_caps_are_typed_as_people_type_them(world: World, browser: Any) -> None:
    """Gigabytes for bytes; what is no number is refused in a sentence."""
    eve = world.person("eve")
    with opened(world, browser, eve) as window:
        page = window.page
        page.goto("/settings")
        page.get_by_label("Gigabytes read from Drive").fill("1.5")
        page.get_by_label("Pages recognised").fill("2,000")
        page.get_by_role("button", name="Save the caps").click()
        page.get_by_role("status").filter(has_text="Saved").wait_for()
        assert world.get("/api/settings", eve).json()["caps"] == {"bytes": 1_500_000_000, "pages": 2000, "tokens": None}
        page.get_by_label("Tokens of models").fill("many")
        page.get_by_role("button", name="Save the caps").click()
        page.get_by_text("A cap is a number, or empty for none.").wait_for()
        window.errors[:] = [error for error in window.errors if "status of 400" not in error]


def test_files_are_sorted_and_the_order_goes_on_over_pages(world: World, browser: Any) -> None:
    """By name, and the next page begins where the last one ended."""
    kim = world.person("kim")
    for number in range(55):
        world.file(kim, f"file {number:03}.txt", state="queued", size=number)
    with opened(world, browser, kim) as window:
        page = window.page
        page.goto("/")
        page.get_by_role("columnheader").get_by_role("link", name="Name").click()
        assert page.locator(".files .name a").first.inner_text() == "file 000.txt"
        page.get_by_role("link", name="Next page").click()
        assert page.locator(".files .name a").all_inner_texts() == [f"file {number:03}.txt" for number in range(50, 55)]
        page.get_by_role("columnheader").get_by_role("link", name="Size").click()
        assert page.locator(".files .name a").first.inner_text() == "file 054.txt"


def test_the_history_can_be_taken_along(world: World, browser: Any, ada: Person) -> None:
    """As a spreadsheet reads it, with no name of a file that it would take for a formula."""
    lee = world.person("lee")
    file_id = world.file(lee, '=HYPERLINK("http://thief.example")', ["Text."])
    world.remembers(lee, file_id)
    with opened(world, browser, lee) as window:
        page = window.page
        page.goto("/history?log=audit")
        with page.expect_download() as coming:
            page.get_by_role("link", name="CSV").click()
        text = Path(coming.value.path()).read_text(encoding="utf-8")
    assert coming.value.suggested_filename == "drivestream-audit.csv"
    assert text.count("\n") == 3
    assert "\"'=HYPERLINK" in text
    assert [row["action"] for row in world.get("/api/export/audit/json", lee).json()] == ["read", "read"]


def test_a_page_is_light_and_soon_there(world: World, browser: Any, ada: Person) -> None:
    """All that it loads is under 150 kB and one request deep: what a slow line and a small phone can take."""
    sizes: list[int] = []
    with opened(world, browser, ada, 360) as window:
        page = window.page
        page.on("response", lambda got: sizes.append(len(got.body())) if "/api/events" not in got.url else None)
        page.goto("/?q=walrus", wait_until="load")
        blocking = page.evaluate(
            "performance.getEntriesByType('resource').filter(one => one.renderBlockingStatus === 'blocking').length"
        )
    assert sum(sizes) < 150_000
    assert blocking == 1  # the one style sheet


def test_a_refusal_is_a_readable_page(world: World, browser: Any) -> None:
    """Somebody who pressed "back" after connecting lands here: a sentence, and a way out."""
    with opened(world, browser, None, 360) as window:
        page = window.page
        page.goto("/signin?code=used-already-" + "x" * 20)

        assert page.get_by_text("used already").evaluate("one => getComputedStyle(one).fontSize") == "18.4px"
        assert not scrolls_sideways(page)
        page.get_by_role("link", name="Back to the dashboard").click()
        page.get_by_role("button", name="Connect Google Drive").wait_for()
        window.errors[:] = [error for error in window.errors if "status of 400" not in error]


def test_somebody_finds_a_sentence_by_keyboard_alone(world: World, browser: Any, ada: Person) -> None:
    """From anywhere on the page: slash, words, Enter; then on to the result and into the file."""
    with opened(world, browser, ada) as window:
        page = window.page
        page.goto("/")
        page.keyboard.press("/")
        page.keyboard.type("northern lighthouse")
        page.keyboard.press("Enter")
        first = page.locator(".results > li").first
        first.wait_for()
        text = first.inner_text()
        marked = first.locator("mark").all_inner_texts()
        address = page.url
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "lighthouse.md":
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/files/*")

        assert "lighthouse.md" in text
        assert "lines 3–4" in text
        assert marked == ["northern lighthouse"]
        assert address.endswith("/?q=northern+lighthouse")
        assert page.get_by_role("heading", name="lighthouse.md").is_visible()
        page.go_back()
        page.locator(".results > li").first.wait_for()


def test_what_has_the_focus_can_be_seen(world: World, browser: Any, ada: Person) -> None:
    """Somebody without a mouse is lost without it."""
    with opened(world, browser, ada) as window:
        page = window.page
        page.goto("/")
        for _ in range(12):
            page.keyboard.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", page.evaluate("document.activeElement.outerHTML")


def test_hostile_names_do_nothing_and_links_open_elsewhere(world: World, browser: Any, ada: Person) -> None:
    """Whoever shares a file with somebody writes a line on that person's page."""
    with opened(world, browser, ada) as window:
        page = window.page
        for path in ("/?q=walrus", "/?state=failed", "/?state=indexed"):
            page.goto(path)
            page.get_by_text("<script>document.title").first.wait_for()
            assert page.title() != "stolen"
            assert page.locator("img, main script").count() == 0
            assert page.locator("a[href^='javascript']").count() == 0
        for link in page.locator("a[target=_blank]").all():
            assert "noopener" in link.get_attribute("rel")
            assert link.get_attribute("href").startswith("https://")


def test_the_page_follows_the_work_by_itself(world: World, browser: Any) -> None:
    """Nobody presses "reload" during the first sync."""
    person = world.person("live")
    world.file(person, "first.txt", ["a text"])
    with opened(world, browser, person) as window:
        page = window.page
        page.goto("/")
        page.get_by_text("1 of 1 file done").wait_for()
        box = page.get_by_label("Search in your files")
        box.fill("half a que")
        file_id = world.file(person, "second.txt", state="queued")
        page.get_by_text("1 of 2 files done, 1 to go").wait_for()
        page.get_by_role("link", name="second.txt", exact=True).wait_for()
        world.sql("UPDATE gdrive_files SET state = 'skipped', reason = 'No text' WHERE file_id = %s", file_id)
        page.get_by_text("2 of 2 files done").wait_for()
        page.get_by_text("No text.").wait_for()

        assert box.input_value() == "half a que"
        assert box.evaluate("box => box === document.activeElement")
        assert re.search(r"\d+ files", page.locator("#news").inner_text())


def test_without_a_stream_the_page_asks_now_and_then(world: World, browser: Any) -> None:
    """Some networks hold streams back."""
    person = world.person("polling")
    with opened(world, browser, person) as window:
        page = window.page
        page.route("**/api/events", lambda route: route.fulfill(status=204))
        page.goto("/")
        world.file(person, "late.txt")
        page.get_by_role("link", name="late.txt", exact=True).wait_for()


def test_try_again_says_that_it_was_heard(world: World, browser: Any, ada: Person) -> None:
    """A button that does nothing visible is pressed ten times."""
    world.said("file-streamer")
    with opened(world, browser, ada) as window:
        page = window.page
        page.goto("/?state=skipped")
        page.get_by_role("button", name="Try again: locked.pdf").click()
        page.get_by_text("Asked: the file is looked at again.").wait_for(state="attached")

    [asked] = world.said("file-streamer")
    assert isinstance(asked, FileChanged)
    assert asked.user_id == str(ada.user_id)


def test_all_files_can_be_paged_through(world: World, browser: Any, ada: Person) -> None:
    """The first fifty are not all."""
    with opened(world, browser, ada) as window:
        page = window.page
        page.goto("/")
        first = page.locator("table.files tbody tr").count()
        page.get_by_role("link", name="Next page").click()
        page.get_by_role("link", name="First page").wait_for()

        assert (first, page.locator("table.files tbody tr").count()) == (50, 15)


def test_without_scripts_the_page_still_works(world: World, browser: Any) -> None:
    """Searching, filtering, trying again and signing out are forms and links."""
    person = world.person("plain")
    world.file(person, "lighthouse.md", [SENTENCE])
    file_id = world.file(person, "broken.pdf", state="failed", reason="It broke.")
    world.said("file-streamer")
    with opened(world, browser, person, java_script_enabled=False) as window:
        page = window.page
        page.goto("/")
        page.get_by_label("Search in your files").fill("lamp at dusk")
        page.get_by_role("button", name="Search").click()
        page.locator(".results mark").first.wait_for()
        page.get_by_role("link", name="Failed 1").click()
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("Asked: this file is looked at again now.").wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Connect Google Drive").wait_for()

    assert [asked.file_id for asked in world.said("file-streamer")] == [file_id]  # type: ignore[attr-defined]
    assert world.get("/api/status", person).status_code == 401


def test_disconnecting_asks_first_and_leaves_a_receipt(world: World, browser: Any) -> None:
    """It cannot be undone, so it is never one click away; and whoever leaves can prove it."""
    person = world.person("leaver")
    world.said("channel-renewer")
    with opened(world, browser, person) as window:
        page = window.page
        page.goto("/")
        button = page.get_by_role("button", name="Yes, disconnect and erase everything")
        assert not button.is_visible()
        page.get_by_text("Disconnect and erase…").click()
        button.click()
        page.get_by_role("heading", name="You are disconnected").wait_for()

        assert re.search(r"Your receipt: [0-9a-f-]{36}", page.get_by_role("main").inner_text())
        assert page.context.cookies() == []
    assert world.said("channel-renewer") == [Tick(duty=Tick.Duty.ERASE, user_id=str(person.user_id))]
    assert world.sql("SELECT status FROM users WHERE user_id = %s", person.user_id) == [["erasing"]]


def test_whoever_signs_out_elsewhere_is_not_shown_old_things(world: World, browser: Any) -> None:
    """A page that stays open on a shared screen shows a Drive to whoever passes."""
    person = world.person("elsewhere")
    world.file(person, "private.txt", ["text"])
    with opened(world, browser, person) as window:
        page = window.page
        page.goto("/")
        page.get_by_role("link", name="private.txt", exact=True).wait_for()
        world.ask("POST", "/signout", person)
        page.get_by_role("button", name="Connect Google Drive").wait_for()
        window.errors.clear()  # the browser notes the 401 that told it
