"""What a server that has gone left is settled, also where whoever began with it has failed."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bargein.protocol.ids import SessionId
from bargein.timeline.store import StoreUnavailable
from tests.cluster.town import House, Town, town


async def _left_unsettled(t: Town, a: House) -> SessionId:
    """Let a server die in the middle of a turn."""
    session_id = await a.open()
    caller = await a.attend(session_id)
    await caller.ask("say", text="tell me")
    (await a.model.line(0)).says("once")
    await caller.viewer.event("model.token")
    await a.kill()
    t.living.discard(a.me)
    return session_id


class Reads:
    """Stands in for a store's reads: they fail, after a while, until they are well."""

    def __init__(self, house: House) -> None:
        self._read = house.store.read
        self.well = False
        self.begun = trio.Event()

    async def read(self, *asked: Any, **within: Any) -> Any:
        self.begun.set()
        if not self.well:
            await trio.sleep(0.3)
            raise StoreUnavailable("it is away for a moment")
        return await self._read(*asked, **within)


async def test_who_began_to_revive_a_session_and_failed_is_not_relied_upon(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await _left_unsettled(t, a)
        reads = Reads(b)
        monkeypatch.setattr(type(b.store), "read", reads.read)
        refused = trio.Event()

        async def come() -> None:
            with pytest.raises(StoreUnavailable):
                await b.sessions.enter(session_id)
            reads.well = True
            refused.set()

        t.nursery.start_soon(come)
        await reads.begun.wait()
        assert await b.sessions.recover(insist=True) == 1
        assert refused.is_set()
        row = t.shelf.row(session_id)
        assert row is not None
        assert not row.unsettled


async def test_recovery_that_insists_says_that_the_one_it_waited_for_and_it_have_failed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await _left_unsettled(t, a)
        reads = Reads(b)
        monkeypatch.setattr(type(b.store), "read", reads.read)

        async def come() -> None:
            with pytest.raises(StoreUnavailable):
                await b.sessions.enter(session_id)

        t.nursery.start_soon(come)
        await reads.begun.wait()
        with pytest.raises(StoreUnavailable):
            await b.sessions.recover(insist=True)


async def test_a_session_that_could_not_be_revived_is_settled_though_nobody_comes_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await _left_unsettled(t, a)
        reads = Reads(b)
        monkeypatch.setattr(type(b.store), "read", reads.read)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await b.sessions.enter(session_id)
        await trio.sleep(100)
        row = t.shelf.row(session_id)
        assert row is not None
        assert row.unsettled
        reads.well = True
        await trio.sleep(60)
        row = t.shelf.row(session_id)
        assert row is not None
        assert not row.unsettled
        assert b.sessions.live == 0
