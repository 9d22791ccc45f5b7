"""The web console: its types, and what it does in Chromium against a real server."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
import trio

from tests.browser import long_session
from tests.browser.driver import driven, needs_browser
from tests.e2e.process import ServerProcess, server_process
from tests.fakes.tokens import SECRET, SHARED
from tests.project.tree import ROOT
from tests.sdk.node import SDK, run
from tests.sdk.node import why_not as why_no_sdk

CONSOLE = ROOT / "gateway" / "console"
MOST_LINES = 350
DEADLINE_S = 360.0
LONG_EVENTS = 10_000

SCREENPLAY = """\
model = "scripted"
pace_ms = 5
first_token_ms = 5

[[scenes]]
name = "proposed"
after_tool = true
history = 'NOT done'
when = '(?i)book'
steps = [{ say = "It is a proposal." }]

[[scenes]]
name = "looked up"
after_tool = true
steps = [{ say = "Free at eight: {outcome}." }]

[[scenes]]
name = "book"
when = '(?i)book.* for (?P<guests>\\w+) (?P<day>tonight|tomorrow)'

[[scenes.steps]]
call = "book_table"
args = { guests = "{guests:number}", day = "{day}", time = "20:00" }

[[scenes]]
name = "free"
when = '(?i)free'
steps = [{ call = "free_tables", args = { day = "tonight", time = "20:00" } }]

[[scenes]]
name = "thanks"
when = '(?i)thanks'
steps = [{ say = "You are welcome." }]

[[scenes]]
name = "long"
steps = [{ per_second = 10, say = "Good evening! %s" }]
""" % " ".join(f"w{number}" for number in range(2000))  # noqa: UP031 - braces are TOML's here
"""The host's part: short where something is to be seen at its end, and else without an end."""

STORY = """\
model = "scripted"
pace_ms = 5
first_token_ms = 5

[[scenes]]
name = "brief"
when = '^Brief'
steps = [{ say = "Very well." }]

[[scenes]]
name = "long"
steps = [{ per_second = 10, say = "%s" }]
""" % " ".join(f"w{number}" for number in range(2000))  # noqa: UP031 - braces are TOML's here
"""So long that it is never over before somebody gets round to killing the server."""


def bookings(book: Path) -> list[dict[str, object]]:
    """Read what stands in the restaurant's book, which is made with the first entry."""
    if not book.exists():
        return []
    with sqlite3.connect(f"file:{book}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT guests, time, cancelled_with FROM bookings").fetchall()
    return [{"guests": g, "time": t, "cancelled": c is not None} for g, t, c in rows]


@pytest.mark.skipif(why_no_sdk() is not None, reason=why_no_sdk() or "")
async def test_the_console_fits_its_types_and_those_of_the_sdk():
    await run("node", SDK / "node_modules" / "typescript" / "bin" / "tsc", "-p", CONSOLE)


@pytest.mark.parametrize("path", sorted(CONSOLE.iterdir()), ids=lambda path: path.name)
def test_a_file_of_the_console_is_small_and_lets_no_text_become_markup(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in text
    addresses = {"http://www.w3.org/2000/svg"}
    assert {word.strip("\"'`;>") for word in text.split('"') if "://" in word} <= addresses


@pytest.mark.slow
@needs_browser
async def test_the_console_talks_shows_and_replays(tmp_path: Path):
    book, play = tmp_path / "book.sqlite3", tmp_path / "host.toml"
    play.write_text(SCREENPLAY, encoding="utf-8")
    settings = {
        "BARGEIN_APP": f"{ROOT}/examples/booking.py:app",
        "BARGEIN_SCREENPLAY": str(play),
        "BOOKING_DATABASE": str(book),
    }

    async def booked() -> list[dict[str, object]]:
        return bookings(book)

    async with server_process(tmp_path, deadline_s=DEADLINE_S, **settings) as server:
        await driven("console.test.mjs", server, booked=booked)


@pytest.mark.slow
@needs_browser
async def test_the_console_lives_through_crashes_lengths_and_malice(tmp_path: Path):
    apps = {
        "finserve": f"{ROOT}/examples/finserve.py:app",
        "quoting": f"{ROOT}/tests/browser/apps/quoting.py:app",
    }
    play = tmp_path / "story.toml"
    play.write_text(STORY, encoding="utf-8")
    story = {"BARGEIN_SCREENPLAY": str(play)}
    async with trio.open_nursery() as nursery:

        async def serve(
            name: str,
            settings: dict[str, str],
            *,
            task_status: trio.TaskStatus[ServerProcess],
        ) -> None:
            directory = tmp_path / name
            directory.mkdir()
            async with server_process(directory, deadline_s=DEADLINE_S, **settings) as server:
                task_status.started(server)
                await trio.sleep_forever()

        async def port(app: str) -> int:
            settings = {"BARGEIN_APP": apps[app], "BARGEIN_SCREENPLAY": ""}
            return (await nursery.start(serve, app, settings)).port

        async def guarded(name: str = "guarded") -> dict[str, object]:
            server = await nursery.start(serve, name, {**story, "BARGEIN_AUTH_SECRET": SECRET})
            end = int(time.time()) + 600
            ann, bob = (SHARED.sign(who, exp=end) for who in ("ann", "bob"))
            return {"port": server.port, "token": ann, "another": bob}

        async def many() -> dict[str, object]:
            client = await server.attach()
            await client.send("say", text="A long story")
            await client.until("model.token")
            await client.send("say", text="Brief, please")
            await client.until("turn.trace", turn_id="turn_2")
            await client.leave()
            count = await long_session.write(server, client.session_id, LONG_EVENTS)
            return {"sessionId": long_session.LONG, "events": count}

        server: ServerProcess = await nursery.start(serve, "main", story)
        await driven("console_faults.test.mjs", server, port=port, guarded=guarded, many=many)
        nursery.cancel_scope.cancel()
