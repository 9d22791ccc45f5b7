"""Drawn histories: appends, moves, erasures, and a Redis that comes back with less than it had."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.redis.keys import row_key
from bargein.timeline.redis.store import RedisStore
from tests.scale import scaled
from tests.timeline.appends import Notes, new_session, running
from tests.timeline.cold_room import ColdRoom, moved
from tests.timeline.redis_server import IN_MEMORY, redis_server

HISTORIES = scaled(60)
STEPS = 40
NAMES = tuple(SessionId(f"sess_{letter}") for letter in "abcd")


@pytest.fixture
def room(tmp_path: Path) -> Generator[ColdRoom]:
    """Return a Redis of the test's own, which comes back with what it had saved last."""
    root = tmp_path / "cold"
    root.mkdir()
    with redis_server(tmp_path / "redis", *IN_MEMORY) as server:
        yield ColdRoom(server, root)


@define(eq=False)
class History:
    """What has to be there, beside what is.

    Attributes:
        frames: Of each session that is there, what was acknowledged and not lost.
        saved: The same when Redis saved it last.
        seen: The epoch under which the events of a session were shown, and how many.
    """

    room: ColdRoom
    chance: Random
    frames: dict[SessionId, list[bytes]] = field(factory=dict[SessionId, list[bytes]])
    saved: dict[SessionId, list[bytes]] = field(factory=dict[SessionId, list[bytes]])
    seen: dict[SessionId, tuple[str, list[bytes]]] = field(
        factory=dict[SessionId, tuple[str, list[bytes]]]
    )
    moves: int = 0
    written: int = 0

    async def run(self) -> None:
        async with running(self.room.store()):  # else another folder would be drawn, and begun
            self.room.redis.say("SAVE")
        while self.written < STEPS:
            async with running(store := self.room.store()):
                for _ in range(self.chance.randrange(3, 12)):
                    await self._step(store)
                    await self._check(store)
            if self.chance.random() < 0.5:
                await self._lose()

    async def _step(self, store: RedisStore) -> None:
        self.written += 1
        name, kind = self.chance.choice(NAMES), self.chance.random()
        if kind < 0.5:
            await self._append(store, name)
        elif kind < 0.8:
            self.moves += await moved(store)
        elif kind < 0.87:
            was_there = await store.erase(name)
            assert was_there == (name in self.frames)
            assert self.room.files(name) == []
            self.frames.pop(name, None)
            self.saved.pop(name, None)  # it must not come back, and is asked for again if it does
            self.seen.pop(name, None)
        else:
            self.room.redis.say("SAVE")
            self.saved = {name: list(frames) for name, frames in self.frames.items()}

    async def _append(self, store: RedisStore, name: SessionId) -> None:
        frames = self.frames.setdefault(name, [])
        some = tuple(
            b'{"drawn":%d}' % self.chance.getrandbits(64)
            for _ in range(self.chance.randrange(1, 30))
        )
        notes, first = Notes(), len(frames) + 1
        assert await store.owners.claim(name) is None
        await store.row(name)
        opened = new_session(name) if first == 1 else None
        last = first + len(some) - 1
        notes.submit(store, name, first, last, frames=some, opened=opened)
        await notes.all_answered()
        assert notes.failed == []
        frames += some

    async def _check(self, store: RedisStore) -> None:
        for name in NAMES:
            frames = self.frames.get(name, [])
            row = await store.row(name)
            after = self.chance.randrange(len(frames) + 1)
            found = await store.read(name, Seq(after), limit=10_000, most_bytes=2**30)
            assert [event.frame for event in found] == frames[after:]
            assert [event.seq for event in found] == list(range(after + 1, len(frames) + 1))
            assert (row is None) == (name not in self.frames)
            if row is None:
                continue
            assert row.last_seq == len(frames)
            epoch, shown = self.seen.get(name, (row.epoch, []))
            if row.epoch == epoch:
                assert frames[: len(shown)] == shown  # else a loss was not declared
            self.seen[name] = (row.epoch, list(frames))

    async def _lose(self) -> None:
        """Kill Redis; it comes back with what it had when it was saved."""
        self.room.redis.kill()
        await trio.to_thread.run_sync(self.room.redis.start)
        self.frames = {name: list(frames) for name, frames in self.saved.items()}
        for name in self.saved:  # as who owned it would have done again when it ended
            self.room.redis.say("HDEL", row_key(name), "owner")
        gone = [name for name in NAMES if name not in self.saved]
        async with running(store := self.room.store()):
            for name in gone:  # erased behind what was saved: who asked for it asks again
                await store.erase(name)
                self.seen.pop(name, None)


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_whatever_is_moved_lost_and_erased_what_is_there_is_what_was_acknowledged(
    room: ColdRoom, seed: int
) -> None:
    history = History(room, Random(seed))  # noqa: S311 - a seed for each
    with trio.fail_after(60):
        await history.run()
    assert history.moves > 0
