"""What becomes of guests when their session ends, while they come, and when something breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bargein.actors.draining import Draining
from bargein.actors.session import Session
from bargein.agents.app import Agent, App
from bargein.cluster import guests
from bargein.cluster.following import Following
from bargein.cluster.letters import Gone, Letter, Welcome, decode_letter
from bargein.models.client import ToolUse
from bargein.protocol.commands import Command
from bargein.protocol.ids import CallId, Epoch, NodeId, Seq, SessionId
from bargein.timeline.store import Append, NewSession, StoreUnavailable
from bargein.tools.tool import tool
from tests.actors.stage import Viewer
from tests.cluster.town import House, Town, never, town, until


async def _fail(house: House, session_id: SessionId) -> None:
    """Let the store fail a session; it leaves memory."""
    session = await house.sessions.enter(session_id)
    session.timeline.give_up(StoreUnavailable("a test"))
    await session.until_ended()


def _lose_all_but(t: Town, session_id: SessionId, kept: int) -> Epoch:
    """Let the store lose what came last, and declare it, as Redis does after a failover."""
    row, frames = t.shelf.row(session_id), t.frames(session_id)[:kept]
    assert row is not None
    epoch = Epoch(f"{row.epoch} of another")
    t.shelf.erase(session_id)
    opened = NewSession(session_id, row.principal, row.tenant, epoch, row.opened_at)
    append = Append(
        session_id=session_id,
        first_seq=Seq(1),
        frames=tuple(frames),
        urgent=False,
        unsettled=False,
        closed=False,
        opened=opened,
        audit=(),
        on_durable=print,
        on_failed=print,
    )
    t.shelf.keep(append)
    return epoch


def _loses(kind: type[Letter]) -> Callable[[NodeId, NodeId, bytes], bool]:
    return lambda _, __, message: isinstance(decode_letter(message), kind)


# --- the session ends -----------------------------------------------------------------


async def test_a_session_that_ends_on_its_owner_is_followed_no_more(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        guest = await b.attend(session_id)
        await _fail(a, session_id)
        assert (await guest.viewer.until_closed())[0] == 4000
        await guest.leave()
        await a.attend(session_id)  # a client of its own is back first
        started_s = trio.current_time()
        back = await b.attend(session_id)
        assert back.hosted is not guest.hosted
        assert trio.current_time() - started_s < 0.1


async def test_a_lost_history_is_not_shown_under_the_epoch_that_followed(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        guest = await b.attend(session_id)
        await guest.ask("say", text="words that are lost")
        (await a.model.line(0)).ends()
        await guest.viewer.event("turn.trace")
        t.loses = _loses(Gone)
        await _fail(a, session_id)
        await guest.leave()
        epoch = _lose_all_but(t, session_id, kept=1)
        home = await a.attend(session_id)
        await home.ask("say", text="other words")
        (await a.model.line(1)).ends()
        await home.viewer.event("turn.trace")
        t.loses = never
        hosted = await b.find(session_id)
        assert hosted.timeline.epoch == epoch
        shown = hosted.timeline.visible_after(Seq(1), 1000) or []
        assert not [frame for frame in shown if b"words that are lost" in frame]
        back = await b.attend(session_id)
        await back.ask("say", text="more words")
        words = await back.viewer.event("input.text")
        assert words["payload"]["text"] == "more words"


async def test_a_guest_is_told_that_a_session_closed_though_its_last_events_have_to_be_read(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        guest = await b.attend(session_id)
        monkeypatch.setattr("bargein.cluster.guest.MOST_BYTES", 0)  # nothing comes with the hint
        read = type(b.store).read

        async def slow(*asked: Any, **within: Any) -> Any:
            await trio.sleep(0.5)
            return await read(*asked, **within)

        monkeypatch.setattr(type(b.store), "read", slow)
        await guest.send("close")
        assert (await guest.viewer.until_closed())[0] == 4102
        assert guest.viewer.types()[-2:] == ["session.closed", "reply"]


# --- a guest comes --------------------------------------------------------------------


async def test_a_guest_that_is_just_being_attached_is_not_let_go(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        first = await b.attend(session_id)
        assert isinstance(first.hosted, Following)
        t.loses = _loses(Welcome)  # as one that is late
        viewer = Viewer(first.hosted.timeline, seq=first.hosted.timeline.durable)
        first.hosted.attach(viewer)
        viewer.advance()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(first.hosted.announce, viewer)
            await viewer.event("session.attached", connections=2)
            first.hosted.looked_s = -10
            await trio.sleep(1.5)  # by then the owner was asked what was missed
            assert "session.detached" not in viewer.types()
            (seat,) = [s for s in first.hosted.seats.values() if s.client is viewer]
            seat.welcomed.set()
        await trio.sleep(3)
        assert viewer.closed is None
        assert "session.detached" not in viewer.types()


async def test_a_turn_of_a_server_that_drains_is_reached_from_others(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id, quiet_id = await a.open(), await a.open()
        home = await a.attend(session_id)
        await home.ask("say", text="tell me")
        line = await a.model.line(0)
        line.says("once")
        await home.viewer.event("model.token")
        t.nursery.start_soon(a.member.drain, 30.0, "an update")
        await home.viewer.until(lambda frame: frame["type"] == "go_away")
        await home.leave()
        back = await b.attend(session_id)
        again = await b.attend(session_id)
        for caller in (back, again):
            away = await caller.viewer.until(lambda frame: frame["type"] == "go_away")
            assert away["reason"] == "an update"
        line.says(" upon a time")
        await back.viewer.event("model.token", text=" upon a time")
        await b.attend(quiet_id)  # it has waited for nothing, and lives elsewhere already
        assert t.owners == {session_id: "a", quiet_id: "b"}
        await again.ask("interrupt")
        await back.viewer.event("cancel.ack")
        assert line.cancelled
        for caller in (back, again):
            assert await caller.viewer.until_closed() == (4000, "an update")
            await caller.leave()
        await until(lambda: a.sessions.live == 0)
        assert not isinstance(await b.find(session_id), Following)


async def test_an_action_of_a_server_that_drains_is_seen_to_its_end_from_others(
    autojump_clock: MockClock,
) -> None:
    begun, may_end = trio.Event(), trio.Event()

    @tool
    async def book(what: str) -> str:
        """Book something."""
        begun.set()
        await may_end.wait()
        return f"{what} is booked"

    async with town(app=App("booking", (Agent("clerk", tools=(book,)),))) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id, quiet_id = await a.open(), await a.open()
        home = await a.attend(session_id)
        await home.ask("say", text="book it")
        asking = await a.model.line(0)
        asking.listener.tool_called(ToolUse(CallId("c1"), "book", {"what": "a table"}))
        asking.ends("tool_use")
        (await a.model.line(1)).ends()
        proposed = await home.viewer.event("action.proposed")
        await home.viewer.event("turn.trace")
        await home.ask("confirm", confirmation_id=proposed["payload"]["confirmation_id"])
        await begun.wait()
        t.nursery.start_soon(a.member.drain, 30.0, "an update")
        await home.viewer.until(lambda frame: frame["type"] == "go_away")
        await home.leave()
        back = await b.attend(session_id)
        await b.attend(quiet_id)
        assert t.owners == {session_id: "a", quiet_id: "b"}
        may_end.set()
        await back.viewer.event("action.committed")
        assert await back.viewer.until_closed() == (4000, "an update")
        with pytest.raises(Draining):
            await a.member.follow(a.sessions.new_place("anonymous", None), b.me)


async def test_more_sessions_are_not_looked_up_at_once_than_can_be(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "MOST_OPENINGS", 0)
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        with pytest.raises(StoreUnavailable):
            await b.attend(session_id)
        monkeypatch.setattr(guests, "MOST_OPENINGS", 1)
        await b.attend(session_id)


# --- something breaks -----------------------------------------------------------------


async def test_what_one_guest_breaks_ends_nobody_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, logs: list[dict[str, Any]]
) -> None:
    def broken(_: Session, __: Command) -> None:
        raise KeyError("a bug that one command meets")

    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        guest, stays = await b.attend(session_id), await a.attend(session_id)
        with monkeypatch.context() as patch:
            patch.setattr(Session, "_cut_in", broken)
            await guest.send("interrupt")
            assert (await guest.viewer.until_closed())[0] == 4003
        await stays.viewer.event("session.detached")
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["guest.failed"]
        await guest.leave()
        back = await b.attend(session_id)
        assert (await back.ask("configure", on_disconnect="cancel"))["type"] == "reply"


async def test_a_session_that_cannot_be_looked_up_for_a_bug_is_refused(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object, session_id: SessionId) -> Session:
        await trio.lowlevel.checkpoint()
        raise KeyError(session_id)

    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        with monkeypatch.context() as patch:
            find = b.sessions.find
            patch.setattr(type(a.sessions), "enter", broken)
            place = await find(session_id)
            assert place is not None
            with pytest.raises(StoreUnavailable):
                await b.member.follow(place, a.me)
        assert await b.attend(session_id)


@pytest.mark.parametrize("asked", ["page", "events"])
async def test_what_a_follower_breaks_over_a_read_ends_that_session_alone(
    asked: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("a bug")

    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id, other_id = await a.open(), await a.open()
        guest, other = await b.attend(session_id), await b.attend(other_id)
        with monkeypatch.context() as patch:
            patch.setattr("bargein.cluster.guest.MOST_BYTES", 0)
            patch.setattr(type(b.store), "read", broken)
            if asked == "page":
                answer = await guest.ask("history", after=0, limit=3)
                assert answer["error"]["code"] == "internal"
            else:
                await guest.send("configure", on_disconnect="cancel")
                assert (await guest.viewer.until_closed())[0] == 4000
        assert (await other.ask("configure", on_disconnect="cancel"))["type"] == "reply"
        assert other.viewer.closed is None
