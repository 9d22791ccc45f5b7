"""What a follower and an owner do when the store fails, a session is damaged, or one is full."""

from __future__ import annotations

import msgspec
import pytest
import trio
from trio.testing import MockClock

from bargein.actors.mailbox import ActorGone
from bargein.cluster import guests
from bargein.cluster.following import Following
from bargein.cluster.letters import (
    Advanced,
    Attach,
    GuestId,
    Leave,
    Sent,
    Watch,
    body_of,
    decode_letter,
    encode_letter,
)
from bargein.protocol.codec import command_of
from bargein.protocol.ids import Epoch, NodeId, Seq, SessionId
from bargein.timeline.store import Stored, StoreError, StoreUnavailable, TimelineCorrupt
from tests.cluster.town import Caller, Town, town, until


def _is_hint(_: NodeId, __: NodeId, message: bytes) -> bool:
    return isinstance(decode_letter(message), Advanced)


class FailingStore:
    """Stands in for a store's reads.

    Attributes:
        error: What every read comes to; None where it finds nothing.
    """

    def __init__(self, error: StoreError | None) -> None:
        self.error = error

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        del session_id, after, limit, most_bytes
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return []


@pytest.mark.parametrize(
    ("error", "code", "close"),
    [
        (StoreUnavailable("it is away"), "store_unavailable", 4000),
        (TimelineCorrupt(SessionId("sess_1"), Seq(3)), "timeline_corrupt", 4102),
    ],
)
async def test_what_cannot_be_read_here_sends_its_clients_away(
    error: StoreError,
    code: str,
    close: int,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        monkeypatch.setattr(type(b.store), "read", FailingStore(error).read)
        await _lose_the_events(t, caller)
        refused = await caller.viewer.until(lambda f: f["type"] == "error")
        assert refused["error"]["code"] == code
        assert await caller.viewer.until_closed() == (close, code)


async def _lose_the_events(t: Town, caller: Caller) -> None:
    """Tell a follower of events that it was not sent."""
    here = await t.houses[NodeId("a")].sessions.enter(caller.hosted.timeline.session_id)
    t.loses = _is_hint
    await caller.send("configure", on_disconnect="cancel")
    await until(lambda: here.timeline.durable == here.timeline.head > caller.viewer.seq)
    t.loses = lambda _, __, ___: False
    hint = Advanced(here.id, here.timeline.epoch, here.timeline.durable, (), None, ())
    assert isinstance(caller.hosted, Following)
    caller.hosted.hear(hint)


async def test_events_that_do_not_appear_in_the_store_are_not_waited_for_for_ever(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        monkeypatch.setattr(type(b.store), "read", FailingStore(None).read)
        await _lose_the_events(t, caller)
        assert await caller.viewer.until_closed() == (4000, "the session has another history")
        with pytest.raises(ActorGone):
            await caller.send("close")


async def test_another_epoch_sends_everybody_back_to_the_first_event() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        other = Advanced(session_id, Epoch("another"), Seq(9), (), None, ())
        assert isinstance(caller.hosted, Following)
        caller.hosted.hear(other)
        assert (await caller.viewer.until_closed())[0] == 4000
        back = await b.attend(session_id)
        assert back.hosted is not caller.hosted


async def test_a_session_that_its_owner_finds_damaged_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        session = await a.sessions.enter(session_id)
        session.end()
        await session.until_ended()
        t.owners[session_id] = a.me
        error = TimelineCorrupt(session_id, Seq(1))
        monkeypatch.setattr(type(a.store), "read", FailingStore(error).read)
        with pytest.raises(TimelineCorrupt):
            await b.find(session_id)


async def test_an_owner_that_cannot_read_says_so_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        session = await a.sessions.enter(session_id)
        session.end()
        await session.until_ended()
        t.owners[session_id] = a.me
        monkeypatch.setattr(type(a.store), "read", FailingStore(StoreUnavailable("away")).read)
        started_s = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await b.find(session_id)
        assert trio.current_time() - started_s < 1


async def test_a_draining_owner_takes_nobody_in() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        await b.attend(session_id)
        a.member.wind_down()
        with pytest.raises(ActorGone):
            await b.attend(session_id)  # the session is followed still, and takes nobody
        b.member.wind_down()
        with pytest.raises(StoreUnavailable):
            await b.find(session_id)


async def test_an_owner_that_is_full_takes_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "MOST_GUESTS", 1)
    monkeypatch.setattr(guests, "MOST_OPENINGS", 1)
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        first = await b.attend(session_id)
        with pytest.raises(ActorGone):
            await b.attend(session_id)
        assert first.viewer.closed is None


async def test_more_commands_than_a_session_takes_cost_the_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "MOST_WAITING", 1)
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        assert a.wires.receive is not None
        body = body_of(command_of({"type": "configure"}))
        for number in range(1, 4):
            a.wires.receive(b.me, encode_letter(Sent(GuestId("1"), number, body, b"", Seq(1))))
        with trio.fail_after(0.5):  # sooner than it would be found out otherwise
            assert (await caller.viewer.until_closed())[0] == 4003


async def test_what_a_node_no_longer_speaks_of_is_forgotten(autojump_clock: MockClock) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here, there = await a.attend(session_id), await b.attend(session_id)
        t.loses = lambda sender, _, __: sender == b.me
        await there.leave()
        await trio.sleep(30)
        await here.viewer.event("session.detached")
        assert there.viewer.closed is None


async def test_who_was_not_asked_to_watch_is_told_to_come_back() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        assert a.wires.receive is not None
        a.wires.receive(b.me, encode_letter(Leave(session_id)))
        a.wires.receive(
            b.me, encode_letter(Attach(session_id, GuestId("9"), "drive", "ann", Seq(0)))
        )
        a.wires.receive(b.me, encode_letter(Watch(session_id)))
        await until(lambda: t.carried > 0)
        await caller.send("configure", on_disconnect="cancel")
        assert (await caller.viewer.until_closed())[0] == 4003


async def test_who_only_watches_elsewhere_and_decides_is_on_the_audit() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id, role="watch")
        confirm = command_of({"type": "confirm", "confirmation_id": "conf_1"})
        caller.hosted.note_forbidden(confirm, "mallory")
        await until(lambda: t.shelf.audit)
        line = msgspec.json.decode(t.shelf.audit[0].text)
        assert line["act"] == "confirm.forbidden"
        assert line["by"] == "mallory"
