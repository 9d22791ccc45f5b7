"""The restaurant's book, asked twice: what has a key is written once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bargein.agents.loading import load_app
from bargein.protocol.ids import CallId, SessionId, TurnId
from bargein.tools.commitment import Commitment, Happened, NeverHappened
from bargein.tools.running import Workbench
from bargein.tools.tool import ToolContext
from tests.examples.restaurant import APP
from tests.tools.notes import KeptNotes


def of_key(key: str) -> ToolContext:
    return ToolContext(
        SessionId("sess_1"), TurnId("turn_1"), CallId("call_1"), "ann", KeptNotes(), key
    )


async def test_a_key_that_is_repeated_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKING_DATABASE", str(tmp_path / "book.sqlite3"))
    (host,) = load_app(f"{APP}:app").agents
    tools = {tool.name: tool for tool in host.tools}
    bench, args = Workbench(), {"guests": 2, "day": "tonight", "time": "20:00"}
    booked = await bench.run(tools["book_table"], args, of_key("first"))
    assert await bench.run(tools["book_table"], args, of_key("first")) == booked
    for _ in range(2):
        await bench.run(tools["note_wish"], {"wish": "quiet"}, of_key("wish"))
    other = await bench.run(tools["book_table"], args, of_key("second"))
    assert [str(told.result)[:8] for told in (booked, other)] == ["table 1 ", "table 2 "]
    done = Commitment("first", "first:revert", args, booked.result)
    for _ in range(2):
        undone = await bench.revert(tools["book_table"], done, of_key("first:revert"))
        assert undone.happened is True
    for key, known in (("first", Happened), ("first:revert", Happened), ("third", NeverHappened)):
        told = await bench.settlement(tools["book_table"], key, of_key(key))
        assert isinstance(told, known)
    with closing(sqlite3.connect(tmp_path / "book.sqlite3")) as book:
        rows = book.execute("SELECT key, cancelled_with FROM bookings").fetchall()
        assert rows == [("first", "first:revert"), ("second", None)]
        assert book.execute("SELECT count(*) FROM wishes").fetchone() == (1,)
