"""The dashboard for somebody with very many files: how long each address takes, and when a browser shows something."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.integration.dashboard_world import Person, World, dashboard_alone

CHROMIUM = Path("/usr/bin/chromium")
ADDRESSES = (
    "/", "/api/status", "/api/files", "/api/files?sort=name", "/api/files?sort=size", "/api/files?sort=modified",
    "/api/files?state=skipped", "/history", "/costs", "/settings", "/health",
)  # fmt: skip


def measure(arguments: Sequence[str]) -> dict[str, Any]:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench page", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=11)
    asked = parser.parse_args(arguments)
    with dashboard_alone() as world:
        person = _filled(world, asked.files)
        times = {path: _times(world, person, path, asked.repetitions) for path in ADDRESSES}
        deep = _last_page(world, person)
        painted, weight = _seen(world, person)
    print(f"{'address':28} {'50 %':>8} {'slowest':>8}", file=sys.stderr)
    for path, took in times.items():
        print(f"{path:28} {statistics.median(took):7.3f}s {max(took):7.3f}s", file=sys.stderr)
    return {
        "files": asked.files,
        "median_seconds": {path: round(statistics.median(took), 4) for path, took in times.items()},
        "slowest_seconds": {path: round(max(took), 4) for path, took in times.items()},
        "seconds_of_page_1000": deep,
        "first_contentful_paint_ms": painted,
        "page_bytes": weight,
        "complete": painted is None or (painted < 1000 and weight < 150_000),
    }


BATCH = 10_000
FILES = """
INSERT INTO gdrive_files (user_id, file_id, name, mime_type, size, state, reason, modified_time, state_at, changed_at,
    indexed_at, parents)
SELECT %s, 'f' || n, 'Report ' || md5(n::text) || '.txt', 'text/plain', n * 37,
    (ARRAY['indexed', 'indexed', 'indexed', 'skipped', 'queued', 'failed'])[1 + n %% 6], 'It needs a password',
    app_now() - make_interval(mins => n), app_now() - make_interval(secs => n),
    app_now() - make_interval(secs => n + 5), app_now() - make_interval(secs => n), ARRAY['folder' || n %% 500]
FROM generate_series(CAST(%s AS integer), CAST(%s AS integer)) n
"""
FOLDERS = """
INSERT INTO gdrive_files (user_id, file_id, name, mime_type, state, parents)
SELECT %s, 'folder' || n, 'Folder ' || n, 'application/vnd.google-apps.folder', 'folder',
    CASE WHEN n < 20 THEN '{}'::text[] ELSE ARRAY['folder' || n %% 20] END
FROM generate_series(0, 499) n
"""
EVENTS = """
INSERT INTO file_events (user_id, file_id, event)
SELECT %s, 'f' || n, 'understood' FROM generate_series(CAST(%s AS integer), CAST(%s AS integer)) n
"""


def _filled(world: World, files: int) -> Person:
    person = world.person("collector")
    for first in range(1, files + 1, BATCH):
        last = min(files, first + BATCH - 1)
        world.sql(FILES, person.user_id, first, last)
        world.sql(EVENTS, person.user_id, first, last)
    world.sql(FOLDERS, person.user_id)
    for table in ("gdrive_files", "file_events"):
        world.sql(f"ANALYZE {table}")
    return person


def _times(world: World, person: Person, path: str, repetitions: int) -> list[float]:
    took = []
    for _ in range(repetitions):
        began = time.perf_counter()
        answer = world.get(path, person)
        took.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
    return took


def _last_page(world: World, person: Person) -> float:
    """The thousandth page of two hundred, or the last one: a cursor reads no more than its page."""
    path, cursor = "/api/files?limit=200", None
    took = 0.0
    for _ in range(1000):
        began = time.perf_counter()
        answer = world.get(path + (f"&cursor={cursor}" if cursor else ""), person).json()
        took, cursor = time.perf_counter() - began, answer["next_cursor"]
        if cursor is None:
            break
    return round(took, 4)


def _seen(world: World, person: Person) -> tuple[float | None, int]:
    """Milliseconds until a browser shows something, the median of five, and the bytes of all that it loads."""
    if not CHROMIUM.exists():
        return None, 0
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        paints, weight = [], 0
        for _ in range(5):
            context = browser.new_context(viewport={"width": 360, "height": 800}, base_url=world.url)
            context.add_cookies([{"name": "session", "value": person.session, "url": world.url}])
            page = context.new_page()
            sizes: list[int] = []
            page.on(
                "response", lambda got, to=sizes: to.append(len(got.body())) if "/api/events" not in got.url else None
            )
            page.goto("/", wait_until="load")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            weight = max(weight, sum(sizes))
            context.close()
        browser.close()
    return round(statistics.median(paints), 1), weight
