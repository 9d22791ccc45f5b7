"""An evening in examples/booking.py: a server with its book, and what a guest does there.

At the end of an evening the book has to hold exactly what the timelines say was committed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.e2e.client import Client, Frame
from tests.e2e.evidence import check_timeline
from tests.e2e.process import ServerProcess, server_process
from tests.project.tree import ROOT

APP = ROOT / "examples" / "booking.py"

FOR_TWO = "Book a table for two tonight at eight"
FOR_FOUR = "Book a table for four tomorrow at seven"
FOR_TEN = "Book a table for ten tonight at eight"
AT_NINE = "Book a table for two tonight at nine"
WHAT = "What did you book?"


@define(eq=False)
class Evening:
    """A server with the app, its book, and the sessions that were held with it."""

    server: ServerProcess
    path: Path
    sessions: set[str] = field(factory=set[str], init=False)

    async def guest(self, **query: Any) -> Client:
        client = await self.server.attach(**query)
        self.sessions.add(client.session_id)
        return client

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as book:
            return book.execute(query).fetchall()

    @property
    def booked(self) -> list[tuple[int, str]]:
        """Guests and time of all bookings that stand; of a book that nobody has opened, none."""
        if not self.path.exists():
            return []
        return self.rows("SELECT guests, time FROM bookings WHERE cancelled_with IS NULL")

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None]:
        """Hold the book as somebody else's program would."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    async def check(self) -> None:
        """Hold the book against the timelines."""
        written: dict[str, str | None] = {}
        for session_id in self.sessions:
            whole = await self.server.whole(session_id)
            check_timeline(whole)
            events = [json.loads(frame) for frame in whole]
            written |= keys_in(events)
        if self.path.exists():
            assert dict(self.rows("SELECT key, cancelled_with FROM bookings")) == written
        else:
            assert not written


def keys_in(events: Iterable[dict[str, Any]]) -> dict[str, str | None]:
    """Return the keys of the bookings that were made, and of each the key of its cancellation."""
    bookings: dict[str, str] = {}
    keys: dict[str, str | None] = {}
    for event in events:
        payload = event["payload"]
        match event["type"]:
            case "action.committed" if payload["idempotency_key"].startswith("book_table:"):
                bookings[payload["action_id"]] = payload["idempotency_key"]
                keys[payload["idempotency_key"]] = None
            case "action.reverted":
                key = bookings[payload["action_id"]]
                keys[key] = f"{key}:revert"
            case _:
                pass
    return keys


@asynccontextmanager
async def evening(
    directory: Path, *, brisk: bool = True, **settings: str
) -> AsyncGenerator[tuple[Evening, Client]]:
    """Serve the example as its first lines say, and attach a guest.

    Where it is *brisk*, the host says the same, but nobody has the time to cut in.
    """
    book = directory / "book.sqlite3"
    chosen: dict[str, Any] = {
        "BARGEIN_APP": f"{APP}:app",
        "BARGEIN_SCREENPLAY": _brisk(directory) if brisk else "",
        "BOOKING_DATABASE": str(book),
        **settings,
    }
    async with server_process(directory, **chosen) as server:
        there = Evening(server, book)
        yield there, await there.guest()
        await there.check()


def _brisk(directory: Path) -> str:
    text = (APP.parent / "booking" / "screenplay.toml").read_text(encoding="utf-8")
    for slow, fast in (("pace_ms = 40", "pace_ms = 2"), ("per_second = 16", "per_second = 500")):
        assert slow in text
        text = text.replace(slow, fast)
    play = directory / "brisk.toml"
    play.write_text(text, encoding="utf-8")
    return str(play)


async def proposed(client: Client, words: str) -> Frame:
    """Say *words*; return what is proposed, while the answer still speaks."""
    turn_id = (await client.say(words))["result"]["turn_id"]
    return await client.until("action.proposed", turn_id=turn_id)


async def proposed_in_full(client: Client, words: str) -> Frame:
    """Say *words* and let the turn end; return what was proposed."""
    proposal = await proposed(client, words)
    await client.until("turn.trace", turn_id=proposal.turn_id)
    return proposal


async def speaking(client: Client, proposal: Frame) -> Frame:
    """Wait until the host has begun to speak about its proposal."""
    return await client.until("model.token", since=proposal.place, turn_id=proposal.turn_id)


async def yes(client: Client, proposal: Frame, **fields: Any) -> Frame:
    return await client.ask(
        "confirm", confirmation_id=proposal.payload["confirmation_id"], **fields
    )


async def no(client: Client, proposal: Frame) -> Frame:
    return await client.ask("reject", confirmation_id=proposal.payload["confirmation_id"])


async def outcome(client: Client, proposal: Frame, type_: str) -> Frame:
    return await client.until(type_, action_id=proposal.payload["action_id"])


def is_end(frame: Frame) -> bool:
    return frame.type in ("action.committed", "action.failed")


async def states(client: Client) -> list[str]:
    answer = await client.ask("projection", name="actions")
    return [action["state"] for action in answer["result"]["actions"]]


def of_action(client: Client, proposal: Frame) -> list[str]:
    """Return what happened to an action, in order."""
    action_id = proposal.payload["action_id"]
    return [
        event.type.removeprefix("action.")
        for event in client.events
        if event.type.startswith("action.") and event.has(action_id=action_id)
    ]


def refusal(answer: Frame) -> tuple[str, str | None]:
    assert answer.type == "error", answer.text
    return answer["error"]["code"], answer["error"].get("param")
