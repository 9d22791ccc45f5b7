"""A server that drains keeps nothing in the end, and takes over only what nobody else would."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bargein.protocol.codes import CloseCode
from bargein.protocol.ids import SessionId
from tests.cluster.town import Caller, House, Town, town, until


async def with_words_that_wait(house: House) -> tuple[SessionId, Caller]:
    """Let a server be in the middle of a turn, with another one to come."""
    session_id = await house.open()
    caller = await house.attend(session_id)
    await caller.ask("say", text="tell me")
    (await house.model.line(0)).says("once")
    await caller.viewer.event("model.token")
    await caller.ask("say", text="and then?", when_busy="queue")
    return session_id, caller


async def killed(t: Town, a: House, session_id: SessionId) -> None:
    await a.kill()
    t.owners[session_id] = a.me


async def test_a_server_that_drains_leaves_what_the_dead_had_to_one_that_stays(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b, c = await t.build("a"), await t.build("b"), await t.build("c")
        lost, _ = await with_words_that_wait(a)
        busy, _ = await with_words_that_wait(b)
        t.nursery.start_soon(b.member.drain, 30.0, "update")
        await trio.sleep(0.1)
        await killed(t, a, lost)
        t.announce_gone(a.me)
        await trio.sleep(1)
        assert b.nodes.left == [a.me]
        assert not b.sessions.holds(lost)
        assert b.sessions.holds(busy)
        assert t.owners[lost] == c.me
        assert c.nodes.left == []


async def test_where_all_others_drain_too_what_is_taken_over_in_a_drain_leaves_memory_with_the_rest(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b, c = await t.build("a"), await t.build("b"), await t.build("c")
        lost, _ = await with_words_that_wait(a)
        busy, _ = await with_words_that_wait(b)
        c.member.wind_down("update")
        drained = trio.Event()

        async def drain() -> None:
            await b.member.drain(30.0, "update")
            drained.set()

        t.nursery.start_soon(drain)
        await trio.sleep(0.1)
        await killed(t, a, lost)
        b.nodes.tell(a.me)
        await until(lambda: t.owners[lost] == b.me)
        await until(lambda: b.sessions.holds(lost))
        assert b.nodes.left == []
        (await b.model.line(0)).ends()
        await drained.wait()
        assert b.sessions.live == 0
        assert len(b.model.lines) == 1  # words that wait are left for the next process
        assert not {lost, busy} & t.owners.keys()


async def test_what_comes_into_memory_at_any_moment_of_a_drain_has_left_it_at_the_end(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        busy, caller = await with_words_that_wait(b)
        late = [await a.open() for _ in range(5)]
        await a.kill()
        t.owners.clear()
        t.owners[busy] = b.me

        async def come() -> None:
            for session_id in late:
                await b.sessions.enter(session_id)
                await trio.sleep(1)

        began_s = trio.current_time()
        t.nursery.start_soon(come)
        await b.member.drain(3.5, "update")
        assert trio.current_time() - began_s < 3.5 + 5
        assert b.sessions.live <= 1  # what came in after the end
        assert caller.viewer.closed == (CloseCode.DRAIN, "update")


@pytest.mark.parametrize(
    ("others", "is_known", "stays_s"),
    [("stay", True, 0.0), ("drain", True, 5.0), ("stay", False, 5.0)],
)
async def test_whoever_has_nothing_to_wait_for_goes_at_once_only_where_one_that_stays_is_there(
    others: str, is_known: bool, stays_s: float, autojump_clock: MockClock
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        await with_words_that_wait(a)
        idle = await a.attend(await a.open())
        if others == "drain":
            b.member.wind_down("update")
        a.nodes.fails = not is_known
        gone_s: list[float] = []
        began_s = trio.current_time()

        async def note() -> None:
            await until(lambda: idle.viewer.closed is not None, within_s=60)
            gone_s.append(trio.current_time() - began_s)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(note)
            await a.member.drain(5.0, "update")
        assert stays_s <= gone_s[0] <= stays_s + 1.0
