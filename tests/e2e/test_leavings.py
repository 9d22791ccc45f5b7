"""What a session and its connections leave in memory: nothing that waits for the collector.

Garbage in cycles would stay until the collector looks at the oldest objects, which it does rarely
because that takes long; until then it costs memory, and when it comes, it holds everybody up.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import define

from bargein.actors.ledger import Ledger
from bargein.actors.output import Output
from bargein.actors.planner import Planner
from bargein.actors.session import Session
from bargein.actors.tally import Tally
from bargein.gateway.connection import WireConnection
from bargein.gateway.cursor import Cursor
from bargein.gateway.egress import Egress
from bargein.gateway.visit import Visit
from bargein.timeline.log import Timeline
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words

KINDS: Final = (
    Cursor,
    Egress,
    Ledger,
    Output,
    Planner,
    Session,
    Tally,
    Timeline,
    Visit,
    WireConnection,
)


@define(eq=False)
class Room:
    """What is in memory since a test began, and was not there before."""

    _earlier: weakref.WeakSet[Any]

    def alive(self) -> list[weakref.ref[Any]]:
        """Return all parts of sessions and connections, garbage too."""
        return [weakref.ref(one) for one in parts() if one not in self._earlier]


def parts() -> list[Any]:
    return [one for one in gc.get_objects() if type(one) in KINDS]


@pytest.fixture
def room() -> Generator[Room]:
    """Let the collector do nothing: what goes, goes by itself."""
    gc.disable()
    try:
        yield Room(weakref.WeakSet(parts()))
    finally:
        gc.enable()


def left(refs: list[weakref.ref[Any]]) -> list[str]:
    return sorted(type(one).__name__ for ref in refs if (one := ref()) is not None)


async def see_them_gone(w: World, refs: list[weakref.ref[Any]]) -> None:
    """Wait until nothing is left of what *refs* were to."""
    found = {type(ref()).__name__ for ref in refs}
    assert {"Session", "Timeline", "WireConnection", "Cursor"} <= found
    await eventually(lambda: w.edge.count == 0)
    await eventually(lambda: "Session" not in left(refs))
    # The store keeps the last that it wrote until it writes again.
    other = await w.attach()
    await eventually(lambda: left(refs) == [])
    await other.leave()


@pytest.mark.parametrize("stored", ["memory", "sqlite"])
async def test_a_session_that_leaves_memory_leaves_no_cycles(
    room: Room, stored: str, tmp_path: Path
):
    store = tmp_path / "a.sqlite3" if stored == "sqlite" else None
    async with world([BRIEF], store=store, idle_s=0.05, grace_s=0.01) as w:
        alice = await w.attach()
        watcher = await w.attach(alice.session_id, role="watch")
        await alice.converse("Hi")
        here = room.alive()
        await watcher.leave()
        await alice.leave()
        await see_them_gone(w, here)


async def test_a_session_that_came_back_leaves_no_cycles_either(room: Room):
    async with world([BRIEF], idle_s=0.05, grace_s=0.01) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        here = room.alive()
        await alice.leave()
        await see_them_gone(w, here)
        back = await w.back(alice)
        await back.converse("And again")
        again = room.alive()
        await back.ask("close")
        await see_them_gone(w, again)


async def test_an_interrupted_turn_and_a_cut_connection_leave_no_cycles(room: Room):
    async with world(by_words({"Long": FOR_EVER}), idle_s=0.05, grace_s=0) as w:
        alice = await w.attach()
        await alice.say("Long story")
        await alice.until("model.token")
        await alice.ask("interrupt")
        await alice.until("turn.trace")
        await alice.say("Long story, again")
        await alice.until("model.token")
        here = room.alive()
        await alice.cut()
        await see_them_gone(w, here)
