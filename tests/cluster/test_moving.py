"""Servers die, are away for a while, and lose what they write to each other."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from bargein.actors.clock import SystemClock
from bargein.actors.mailbox import ActorGone
from bargein.actors.retention import Retention
from bargein.cluster.following import Following
from bargein.cluster.letters import Advanced, Show, decode_letter
from bargein.protocol.codec import decode_event
from bargein.protocol.ids import NodeId, SessionId
from bargein.testing.checker import broken_rules
from bargein.timeline.archive import Erasure
from bargein.timeline.store import StoreUnavailable
from tests.actors.stage import Frame
from tests.cluster.town import Caller, House, Town, events_of, never, town, until


def never_arrives(_: NodeId, __: NodeId, ___: bytes) -> bool:
    return True


async def _talking(owner: House, caller: Caller) -> None:
    """Let a turn be open, with some words."""
    before = len(owner.model.lines)
    await caller.ask("say", text="tell me")
    line = await owner.model.line(before)
    line.says("once upon a time")
    await caller.viewer.event("model.token")


def _stored(t: Town, session_id: SessionId) -> list[Frame]:
    return [msgspec.json.decode(frame) for frame in t.frames(session_id)]


def _is_sound(t: Town, session_id: SessionId, *, finished: bool = True) -> bool:
    return broken_rules([*map(decode_event, t.frames(session_id))], finished=finished) == []


# --- a server dies ------------------------------------------------------------------


async def test_an_owner_that_dies_in_mid_turn_is_followed_and_its_guests_come_back() -> None:
    async with town() as t:
        a, b, c = [await t.build(name) for name in "abc"]
        session_id = await a.open()
        abroad, further = await b.attend(session_id), await c.attend(session_id)
        await _talking(a, abroad)
        await a.kill()
        t.announce_gone(a.me)
        for caller in (abroad, further):
            assert (await caller.viewer.until_closed())[0] == 4003
            await caller.leave()
        back = await b.attend(session_id)
        kinds = [frame["type"] for frame in _stored(t, session_id)]
        assert kinds.count("turn.trace") == 1  # the turn was closed, and that once
        await back.ask("say", text="again")
        owner = t.houses[t.owners[session_id]]
        (await owner.model.line(0)).ends()
        await back.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        assert _is_sound(t, session_id)


async def test_what_a_dead_owner_left_is_settled_though_nobody_comes_back() -> None:
    async with town() as t:
        a, b, c = [await t.build(name) for name in "abc"]
        left: list[Caller] = []
        for number in range(5):
            session_id = await a.open()
            caller = await a.attend(session_id)
            await caller.ask("say", text="tell me")
            (await a.model.line(number)).says("once")
            await caller.viewer.event("model.token")
            left.append(caller)
        await a.kill()
        t.announce_gone(a.me)
        await until(lambda: not any(row.unsettled for row in t.shelf.rows()))
        await until(lambda: b.sessions.live + c.sessions.live == 0)
        for caller in left:
            session_id = caller.hosted.timeline.session_id
            assert _is_sound(t, session_id)
            kinds = [frame["type"] for frame in _stored(t, session_id)]
            assert kinds.count("turn.trace") == 1


async def test_a_takeover_that_fails_is_told_again(autojump_clock: MockClock) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await a.attend(session_id)
        await _talking(a, caller)
        await a.kill()
        b.claims.fails = True
        t.announce_gone(a.me)
        await trio.sleep(3)
        assert t.shelf.rows()[0].unsettled
        b.claims.fails = False
        await until(lambda: not t.shelf.rows()[0].unsettled)
        assert session_id not in b.town.owners or t.owners[session_id] == "b"


async def test_the_guests_of_a_server_that_dies_are_gone() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        stays, dies = await a.attend(session_id), await b.attend(session_id)
        await b.kill()
        t.announce_gone(b.me)
        left = await stays.viewer.event("session.detached")
        assert left["payload"]["connections"] == 1
        assert dies.viewer.closed is None


async def test_an_owner_that_answers_nobody_is_not_waited_for_for_ever(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        t.loses = lambda sender, _, __: sender == a.me
        started_s = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await b.find(session_id)
        assert trio.current_time() - started_s <= 2.1


async def test_an_owner_that_falls_silent_is_given_up(autojump_clock: MockClock) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        t.loses = never_arrives
        await trio.sleep(20)
        assert await caller.viewer.until_closed() == (4003, "moved to another node")


# --- a session is taken -----------------------------------------------------------------


async def _taken(t: Town, a: House, b: House, caller: Caller) -> Caller:
    """Let *b* take a session of *a*, which was away and does not know yet."""
    t.living.discard(a.me)
    session_id = caller.hosted.timeline.session_id
    taker = await b.attend(session_id)
    t.living.add(a.me)
    return taker


async def test_an_owner_that_comes_back_appends_nothing_and_sends_its_clients_on() -> None:
    async with town() as t:
        a, b, c = [await t.build(name) for name in "abc"]
        session_id = await a.open()
        at_home, abroad = await a.attend(session_id), await c.attend(session_id)
        await _talking(a, at_home)
        taker = await _taken(t, a, b, at_home)
        stored = len(t.frames(session_id))
        (await a.model.line(0)).says("and nobody hears it")
        for caller in (at_home, abroad):
            assert (await caller.viewer.until_closed()) == (4003, "moved to another node")
            assert "nobody" not in str(caller.viewer.frames)
        assert len(t.frames(session_id)) == stored
        await taker.ask("say", text="hello")
        (await b.model.line(0)).ends()
        await taker.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        assert _is_sound(t, session_id)


async def test_an_owner_that_was_away_looks_what_was_taken_before_it_is_asked() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        quiet, kept = await a.open(), await a.open()
        at_home, stays = await a.attend(quiet), await a.attend(kept)
        await _taken(t, a, b, at_home)
        a.nodes.tell(a.me)
        assert (await at_home.viewer.until_closed())[0] == 4003
        await at_home.leave()
        back = await a.attend(quiet)
        assert isinstance(back.hosted, Following)
        assert (await stays.ask("configure", on_disconnect="cancel"))["type"] == "reply"
        assert stays.viewer.closed is None


async def test_a_moved_session_is_no_crash(logs: list[dict[str, Any]]) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        at_home = await a.attend(session_id)
        await _taken(t, a, b, at_home)
        await at_home.send("say", text="hello")
        await at_home.viewer.until_closed()
        await until(lambda: a.sessions.live == 0)
        assert "go_away" not in at_home.viewer.types()
        assert "error" not in at_home.viewer.types()
        assert not [line for line in logs if line["log_level"] in ("error", "critical")]
        assert t.owners[session_id] == "b"


# --- letters are lost ----------------------------------------------------------------------


def _holds(message: bytes, kind: type) -> bool:
    return isinstance(decode_letter(message), kind)


async def test_hints_that_are_lost_are_made_up_for(autojump_clock: MockClock) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here, there = await a.attend(session_id), await b.attend(session_id)
        t.loses = lambda sender, _, message: sender == a.me and _holds(message, Advanced)
        await here.ask("configure", on_disconnect="cancel")
        await trio.sleep(0.5)
        assert "session.configured" not in there.viewer.types()
        t.loses = never
        await there.viewer.event("session.configured")
        assert there.viewer.closed is None


async def test_a_lost_answer_is_noticed_and_the_client_asks_again(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        t.loses = lambda sender, _, message: sender == a.me and _holds(message, Show)
        await caller.send("say", text="tell me", id="mine")
        assert (await caller.viewer.until_closed())[0] == 4003
        t.loses = never
        await caller.leave()
        back = await b.attend(session_id)
        reply = await back.ask("say", text="tell me", id="mine")
        assert reply["result"]["outcome"] == "started"
        assert len(a.model.lines) == 1


async def test_a_lost_command_is_noticed_and_its_client_comes_back(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        t.loses = lambda sender, _, __: sender == b.me
        await caller.send("say", text="tell me", id="mine")
        await trio.sleep(0.1)
        t.loses = never
        assert (await caller.viewer.until_closed())[0] == 4003
        assert a.model.lines == []


@pytest.mark.parametrize("seed", range(10))
async def test_over_a_bad_line_every_word_is_said_once(
    seed: int, autojump_clock: MockClock
) -> None:
    async with town(seed, delay_s=0.05) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here = await a.attend(session_id)
        t.loses = lambda _, __, ___: t.random.random() < 0.1
        for number in range(10):
            await _said(b, session_id, f"word {number}", f"w{number}")
        t.loses = never
        await trio.sleep(5)
        words = [f["payload"]["text"] for f in _stored(t, session_id) if f["type"] == "input.text"]
        assert words == [f"word {number}" for number in range(10)]
        seqs = [frame["seq"] for frame in events_of(here.viewer)]
        assert seqs == list(range(seqs[0], len(t.frames(session_id)) + 1))
        assert _is_sound(t, session_id, finished=False)
        assert t.carried > 50


async def _said(house: House, session_id: SessionId, text: str, name: str) -> None:
    """Do what a client does: come back after every close, and send again what has no answer."""
    while True:
        with trio.move_on_after(8), suppress(StoreUnavailable, ActorGone):
            caller = await house.attend(session_id)
            try:
                await caller.ask("say", text=text, id=name)
            finally:
                await caller.leave()
            return


async def test_a_store_that_fails_an_owner_that_was_away_sends_its_clients_on(
    logs: list[dict[str, Any]],
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        at_home = await a.attend(session_id)
        await _taken(t, a, b, at_home)

        async def fail(_: object) -> None:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("it was away for too long")

        a.store.before_commit = fail
        await at_home.send("say", text="hello")
        assert await at_home.viewer.until_closed() == (4003, "moved to another node")
        assert "session.crashed" not in [line["event"] for line in logs]


# --- what is erased ------------------------------------------------------------------------


async def test_a_session_is_erased_by_whose_it_is_and_its_guests_are_told() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        asked = Erasure(session_id, "2026-11-21T00:00:00.000000Z", "an operator")
        await b.store.ask_erasure((asked,))
        retentions = [Retention(h.store, SystemClock(), h.sessions, None) for h in (b, a)]
        assert await retentions[0].fulfil() == 0
        assert caller.viewer.closed is None
        assert await retentions[1].fulfil() == 1
        assert (await caller.viewer.until_closed())[0] == 4104
        assert t.shelf.row(session_id) is None
