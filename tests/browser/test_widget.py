"""The React widget of examples/widget: built as its readers build it, and used in Chromium."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import trio

from tests.browser.driver import ROOT, driven, why_not
from tests.e2e.process import ServerProcess, server_process
from tests.sdk.node import run

WIDGET = ROOT / "examples" / "widget"
APPS = ROOT / "tests" / "browser" / "apps"
MOST_LINES = 250
DEADLINE_S = 600.0

needs_widget = pytest.mark.skipif(why_not(WIDGET) is not None, reason=why_not(WIDGET) or "")


def bookings(book: Path) -> list[dict[str, object]]:
    """Read what stands in the restaurant's book, which is made with the first entry."""
    if not book.exists():
        return []
    with sqlite3.connect(f"file:{book}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT guests, time, cancelled_with FROM bookings").fetchall()
    return [dict(row) for row in rows]


@needs_widget
async def test_the_widget_fits_its_types():
    await run("node", WIDGET / "node_modules" / "typescript" / "bin" / "tsc", cwd=WIDGET)


@pytest.mark.slow
@needs_widget
async def test_the_widget_works_in_chromium(tmp_path: Path):
    built = tmp_path / "dist"
    vite = WIDGET / "node_modules" / "vite" / "bin" / "vite.js"
    book = tmp_path / "book.sqlite3"
    apps = {
        "booking": f"{ROOT}/examples/booking.py:app",
        "finserve": f"{ROOT}/examples/finserve.py:app",
        "quoting": f"{APPS}/quoting.py:app",
    }

    def settings(name: str) -> dict[str, str]:
        (tmp_path / name).mkdir()
        return {
            "BARGEIN_APP": apps[name],
            "BARGEIN_SCREENPLAY": "",
            "BOOKING_DATABASE": str(book),
        }

    async with trio.open_nursery() as nursery:
        running: dict[str, ServerProcess] = {}

        async def serve(name: str, task_status: trio.TaskStatus[None]) -> None:
            chosen = settings(name)
            async with server_process(tmp_path / name, deadline_s=DEADLINE_S, **chosen) as server:
                running[name] = server
                task_status.started()
                await trio.sleep_forever()

        async def port(app: str) -> int:
            if app not in running:
                await nursery.start(serve, app)
            return running[app].port

        async def booked() -> list[dict[str, object]]:
            return bookings(book)

        await run("node", vite, "build", "--logLevel=error", "--outDir", built, cwd=WIDGET)
        chosen = settings("quoting")
        async with server_process(tmp_path / "quoting", deadline_s=DEADLINE_S, **chosen) as server:
            await driven("widget.test.mjs", server, {"BUILT": str(built)}, port=port, booked=booked)
        nursery.cancel_scope.cancel()


def test_the_lock_of_the_widget_has_integrity_and_no_address_but_that_of_the_sdk():
    lock = json.loads((WIDGET / "package-lock.json").read_text(encoding="utf-8"))
    installed = {name: entry for name, entry in lock["packages"].items() if name}
    assert installed.pop("node_modules/bargein") == {
        "resolved": "../../sdk/javascript",
        "link": True,
    }
    assert installed.pop("../../sdk/javascript")["name"] == "bargein"
    assert "node_modules/vite" in installed
    assert [name for name, entry in installed.items() if "resolved" in entry] == []
    assert all(entry["integrity"].startswith("sha512-") for entry in installed.values())


def test_the_parts_of_the_widget_are_short():
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (WIDGET / "src").iterdir()
    }
    assert len(lengths) > 10
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
