"""A session is driven from a server that does not own it, as from the one that does."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from bargein.actors.limits import Limits
from bargein.agents.app import Agent, App
from bargein.cluster.following import Following
from bargein.cluster.followings import Followings
from bargein.cluster.letters import Advanced, GuestId, decode_letter
from bargein.gateway.auth.identity import Identity
from bargein.gateway.quotas import Accounts
from bargein.models.client import ToolUse
from bargein.protocol.codec import command_of
from bargein.protocol.commands import Interrupt
from bargein.protocol.ids import CallId, Seq
from bargein.tools.tool import tool
from tests.actors.hall import FREELY, SHARES
from tests.actors.stage import Frame, Viewer
from tests.cluster.town import Caller, House, events_of, town, until


async def _conversation(owner: House, caller: Caller) -> None:
    """Say, interrupt, say again, and ask for all that is answered."""
    first = len(owner.model.lines)
    await caller.ask("say", text="one")
    line = await owner.model.line(first)
    line.says("half an ")
    await caller.viewer.event("model.token", text="half an ")
    line.says("answer")
    await caller.viewer.event("model.token", text="answer")
    await caller.ask("interrupt")
    await caller.ask("say", text="two")
    line = await owner.model.line(first + 1)
    line.says("whole")
    line.ends()
    await caller.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
    await caller.ask("projection", name="transcript")
    await caller.ask("configure", on_disconnect="continue")
    await caller.send("ping", nonce=1)
    await caller.ask("ack", seq=1)
    await caller.ask("history", after=0, limit=3)
    await caller.ask("playback.stop", turn_id="turn_9")
    await caller.ask("auth", token="fresh")  # noqa: S106 - a word that this client takes


def _shape(caller: Caller) -> list[tuple[object, ...]]:
    """What a client saw, without what differs from one run to the next."""
    shape: list[tuple[object, ...]] = []
    for frame in caller.viewer.frames:
        payload = frame.get("payload", {})
        place = frame.get("seq"), frame.get("at_seq"), frame.get("first_seq")
        shape.append((frame["type"], *place, payload.get("text"), frame.get("turn_id")))
    return shape


@pytest.mark.parametrize("seed", range(5))
async def test_the_wrong_server_shows_the_same_frames_in_the_same_order(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with town(seed, delay_s=0.01) as t:
        a, b = await t.build("a"), await t.build("b")
        right, wrong = await a.open(), await a.open()
        at_home, abroad = await a.attend(right), await b.attend(wrong)
        await _conversation(a, at_home)
        await _conversation(a, abroad)
        home, away = _shape(at_home), _shape(abroad)
        assert away == home
        seqs = [frame["seq"] for frame in events_of(abroad.viewer)]
        assert seqs == list(range(2, len(t.frames(wrong)) + 1))
        assert isinstance(abroad.hosted, Following)


async def test_an_interrupt_crosses_servers_and_stops_everybody() -> None:
    async with town() as t:
        a, b, c = [await t.build(name) for name in "abc"]
        session_id = await a.open()
        first, second, third = [await house.attend(session_id) for house in (a, b, c)]
        await second.ask("say", text="tell me")
        line = await a.model.line(0)
        line.says("once upon")
        for caller in (first, second, third):
            await caller.viewer.event("model.token")
        reply = await third.ask("interrupt")
        assert reply["result"]["interrupted"]
        assert line.cancelled
        for caller in (first, second, third):
            await caller.viewer.event("cancel.ack")
            types = caller.viewer.types()
            assert types.index("flush") < types.index("cancel.requested")
        kept = [events_of(caller.viewer)[-5:] for caller in (first, second, third)]
        assert kept[0] == kept[1] == kept[2]


async def test_what_an_interrupt_counts_as_heard_is_what_sockets_elsewhere_took(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with town(delay_s=0.002) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        await caller.ask("say", text="tell me")
        line = await a.model.line(0)
        line.says("one ")
        token = await caller.viewer.event("model.token", text="one ")
        await caller.ask("ack", seq=token["seq"])
        line.says("two")
        await caller.viewer.event("model.token", text="two")
        await caller.ask("interrupt")
        ack = await caller.viewer.event("cancel.ack")
        assert ack["payload"]["tokens"] == {"generated": 2, "delivered": 1}


@pytest.mark.parametrize("where", ["home", "abroad"])
async def test_who_begins_to_ack_has_heard_no_more_than_it_says(
    where: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await (a if where == "home" else b).attend(session_id)
        await caller.ask("say", text="tell me")
        line = await a.model.line(0)
        tokens = list[Frame]()
        for word in ("one ", "two ", "three "):
            line.says(word)
            tokens.append(await caller.viewer.event("model.token", text=word))
        await trio.sleep(0.5)  # by then the owner knows that all were taken
        await caller.ask("ack", seq=tokens[0]["seq"])
        await trio.sleep(0.5)
        (await a.sessions.enter(session_id)).interrupt("operator", "a test")
        ack = await caller.viewer.event("cancel.ack")
        assert ack["payload"]["tokens"] == {"generated": 3, "delivered": 1}


@pytest.mark.parametrize("where", ["home", "abroad"])
async def test_what_is_taken_while_one_is_being_attached_counts(
    where: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        watcher = await a.attend(session_id, role="watch")
        first = await (a if where == "home" else b).attend(session_id)
        await first.ask("configure", on_disconnect="continue")
        await first.ask("say", text="tell me")
        line = await a.model.line(0)
        await first.leave()
        line.says("seen by the second alone")
        await watcher.viewer.event("model.token")
        await trio.sleep(0.5)
        viewer = Viewer(first.hosted.timeline, seq=first.viewer.seq)
        first.hosted.attach(viewer)
        viewer.advance()
        await first.hosted.announce(viewer)
        await first.hosted.detach(viewer)
        await trio.sleep(0.5)
        (await a.sessions.enter(session_id)).interrupt("operator", "a test")
        ack = await watcher.viewer.event("cancel.ack")
        assert ack["payload"]["tokens"] == {"generated": 1, "delivered": 1}


async def test_who_acks_less_than_it_takes_costs_no_letters_and_no_waking_up(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = 0
    positions = Followings._positions  # pyright: ignore[reportPrivateUsage]

    def counted(self: Followings, following: Following, taken: dict[GuestId, Seq]) -> bool:
        nonlocal reports
        reports += 1
        return positions(self, following, taken)

    monkeypatch.setattr(Followings, "_positions", counted)
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here, there = await a.attend(session_id), await b.attend(session_id)
        await there.ask("ack", seq=1)
        await here.ask("configure", on_disconnect="cancel")
        await there.viewer.event("session.configured")
        await trio.sleep(1)
        before = reports
        await trio.sleep(60)
        assert reports == before > 0


async def test_taken_positions_are_told_without_any_command(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here, there = await a.attend(session_id, role="watch"), await b.attend(session_id)
        await there.ask("say", text="tell me")
        line = await a.model.line(0)
        line.says("one")
        await there.viewer.event("model.token")
        await trio.sleep(0.3)
        owned = await a.sessions.enter(session_id)
        owned.interrupt("operator", "a test")
        ack = await here.viewer.event("cancel.ack")
        assert ack["payload"]["tokens"] == {"generated": 1, "delivered": 1}


async def test_who_leaves_elsewhere_is_gone_for_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        stays, goes = await a.attend(session_id), await b.attend(session_id)
        await goes.leave()
        left = await stays.viewer.event("session.detached")
        assert left["payload"]["connections"] == 1
        await trio.sleep(10)
        later = await b.attend(session_id)
        assert later.hosted is not goes.hosted  # it was let go meanwhile


async def test_who_comes_back_soon_finds_the_session_still_followed() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        goes = await b.attend(session_id)
        await goes.leave()
        back = await b.attend(session_id)
        assert back.hosted is goes.hosted
        assert (await back.ask("configure", on_disconnect="cancel"))["type"] == "reply"


async def test_a_watcher_elsewhere_sees_all_and_may_look_things_up() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        drives, watches = await a.attend(session_id), await b.attend(session_id, role="watch")
        await drives.ask("say", text="tell me")
        (await a.model.line(0)).ends()
        await watches.viewer.event("turn.trace")
        page = await watches.ask("history", after=0, limit=2)
        assert [event["seq"] for event in page["result"]["events"]] == [1, 2]
        view = await watches.ask("projection", name="transcript")
        assert view["type"] == "reply"


async def test_the_first_interrupt_of_a_turn_is_told_from_the_next() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        stop = command_of({"type": "interrupt"})
        assert isinstance(stop, Interrupt)
        assert not caller.hosted.would_stop(stop)
        await caller.ask("say", text="tell me")
        await caller.viewer.event("turn.start")
        assert caller.hosted.would_stop(stop)
        assert not caller.hosted.would_stop(evolve(stop, turn_id="turn_7"))
        await caller.send("interrupt")
        assert not caller.hosted.would_stop(stop)


async def test_a_session_that_closes_ends_its_guests_with_4102() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here, there = await a.attend(session_id), await b.attend(session_id)
        assert (await there.ask("close"))["type"] == "reply"
        assert await there.viewer.until_closed() == await here.viewer.until_closed()
        assert (await there.viewer.until_closed())[0] == 4102
        await there.viewer.event("session.closed")


async def test_a_server_that_drains_sends_its_guests_away() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        there = await b.attend(session_id)
        a.member.wind_down()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.member.drain, 1.0, "bye")
            away = await there.viewer.until(lambda f: f["type"] == "go_away")
            assert away["reason"] == "bye"
            assert await there.viewer.until_closed() == (4000, "bye")
            await there.leave()
        back = await b.attend(session_id)
        assert t.owners[session_id] == "b"
        assert not isinstance(back.hosted, Following)


async def test_a_command_sent_again_from_another_server_is_answered_and_not_done_twice() -> None:
    async with town() as t:
        a, b, c = [await t.build(name) for name in "abc"]
        session_id = await a.open()
        first, second = await b.attend(session_id), await c.attend(session_id)
        once = await first.ask("say", text="tell me", id="mine")
        again = await second.ask("say", text="tell me", id="mine")
        assert again["result"] == once["result"]
        await second.send("say", text="something else", id="mine")
        refused = await second.viewer.until(lambda f: f["type"] == "error")
        assert refused["error"]["code"] == "duplicate"
        assert len(a.model.lines) == 1


async def test_a_session_without_anybody_sleeps_and_wakes_where_it_is_wanted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with town(limits=Limits(idle_s=30)) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        await caller.leave()
        await until(lambda: a.sessions.live == 0, within_s=100)
        assert session_id not in t.owners
        back = await b.attend(session_id)
        assert not isinstance(back.hosted, Following)
        assert t.owners[session_id] == "b"


async def test_nothing_is_read_that_the_owner_has_not_said_to_be_stored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        owned = await a.sessions.enter(session_id)
        stored = owned.timeline.durable

        async def slow(_: object) -> None:
            await trio.sleep(1)

        a.store.before_commit = slow
        await caller.send("configure", on_disconnect="cancel")
        await trio.sleep(0.5)
        assert isinstance(caller.hosted, Following)
        assert owned.timeline.head > stored
        assert caller.hosted.known_seq == stored
        reply = await caller.viewer.until(lambda f: f["type"] == "reply")
        assert reply["at_seq"] == stored + 1
        assert caller.viewer.types()[-2:] == ["session.configured", "reply"]


async def test_a_page_of_history_holds_nothing_that_is_not_shown_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        here, there = await a.attend(session_id), await b.attend(session_id)
        known = there.hosted.timeline.durable
        t.loses = lambda _, __, message: isinstance(decode_letter(message), Advanced)
        await here.ask("configure", on_disconnect="cancel")
        page = await there.ask("history", after=0, limit=10)
        seqs = [event["seq"] for event in page["result"]["events"]]
        assert len(t.frames(session_id)) > known
        assert seqs == list(range(1, known + 1))
        assert page["at_seq"] == known
        assert page["result"]["next"] is None


async def test_a_decision_made_on_the_wrong_server_is_the_owners() -> None:
    booked: list[str] = []

    @tool
    async def book(what: str) -> str:
        """Book something."""
        booked.append(what)
        await trio.lowlevel.checkpoint()
        return "done"

    app = App("booking", (Agent("clerk", tools=(book,)),))
    async with town(app=app) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        caller = await b.attend(session_id)
        await caller.ask("say", text="book it")
        line = await a.model.line(0)
        line.listener.tool_called(ToolUse(CallId("c1"), "book", {"what": "a table"}))
        line.ends("tool_use")
        proposed = await caller.viewer.event("action.proposed")
        confirmation_id = proposed["payload"]["confirmation_id"]
        await until(lambda: caller.hosted.open_decisions)
        assert [each[0] for each in caller.hosted.open_decisions] == [confirmation_id]
        reply = await caller.ask("confirm", confirmation_id=confirmation_id)
        assert reply["type"] == "reply"
        await caller.viewer.event("action.committed")
        assert booked == ["a table"]
        await until(lambda: not caller.hosted.open_decisions)


async def test_a_session_has_the_rank_that_the_token_has_which_its_principal_shows_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    accounts = Accounts(lambda tier: SHARES.get(tier, FREELY), None)
    async with town(allowance=accounts.allowance) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open("midas")
        session = await a.sessions.enter(session_id)
        await b.attend(session_id, role="watch", principal="croesus", tier="gold")
        assert session.allowance.standing.tier == "standard"
        abroad = await b.attend(session_id, principal="midas", tier="gold")
        assert isinstance(abroad.hosted, Following)
        standing = session.allowance.standing
        assert (standing.principal, standing.tier, standing.rank) == ("midas", "gold", 1)


async def test_a_fresh_token_of_another_tier_counts_from_the_next_command_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    accounts = Accounts(lambda tier: SHARES.get(tier, FREELY), None)
    async with town(allowance=accounts.allowance) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open("midas")
        session = await a.sessions.enter(session_id)
        abroad = await b.attend(session_id, principal="midas")
        other = await b.attend(session_id, principal="croesus")
        abroad.viewer.tier = other.viewer.tier = "gold"
        await other.ask("configure", on_disconnect="continue")
        assert session.allowance.standing.tier == "standard"
        await abroad.ask("configure", on_disconnect="grace")
        assert session.allowance.standing.tier == "gold"


async def test_a_node_of_an_earlier_version_that_says_no_tier_changes_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    accounts = Accounts(lambda tier: SHARES.get(tier, FREELY), None)
    accounts.renewed(Identity("midas", None, "gold"))
    async with town(allowance=accounts.allowance) as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open("midas")
        session = await a.sessions.enter(session_id)
        await b.attend(session_id, principal="midas", tier="")
        assert session.allowance.standing.rank == 1
