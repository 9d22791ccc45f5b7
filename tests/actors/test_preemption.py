"""Turns that wait for a model slot, and turns that give theirs to a higher tier and go on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bargein.actors import composition
from bargein.actors.context import GO_ON, PUT_OFF
from bargein.actors.limits import Limits
from bargein.actors.resuming import FOUND
from bargein.actors.slot_queue import SlotTerms
from bargein.agents.app import Agent
from bargein.models.client import INTERRUPTED, ToolUse
from bargein.protocol.ids import CallId, TurnId
from bargein.timeline.memory import MemoryStore
from bargein.tools.tool import tool
from tests.actors.hall import Hall, Party, hall
from tests.actors.stage import Frame, Viewer

LADDER = ["cancel.requested", "cancel.stage", "model.end", "cancel.stage", "response.end"]


def words_of(content: Any) -> str:
    return content if isinstance(content, str) else repr(content)


async def put_off(here: Hall) -> tuple[Party, Party]:
    """Let a turn of ann's say half of its answer, and be pre-empted by one that runs."""
    ann, midas = await here.party("ann"), await here.party("midas")
    await ann.say("Tell me")
    line = await here.line(0)
    line.says("Once upon ")
    await ann.viewer.event("model.token")
    await midas.say("Quick")
    await ann.put_off("turn_1")
    await here.line(1)
    return ann, midas


def top(trace: Frame) -> list[str]:
    return [span["name"] for span in trace["payload"]["spans"] if "parent" not in span]


# --- waiting -------------------------------------------------------------------------------------


async def test_a_turn_waits_for_a_slot_in_its_own_scope_and_its_trace_says_so(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, bob = await here.party("ann"), await here.party("bob")
        await ann.say("First")
        first = await here.line(0)
        await bob.say("Second")
        await bob.begun("turn_1")
        await trio.sleep(0.9)
        assert "status" not in bob.viewer.types()
        await bob.viewer.event("status")
        assert len(here.stage.model.lines) == 1
        await trio.sleep(2.0)
        first.ends()
        (await here.line(1)).ends()
        trace = await bob.viewer.event("turn.trace")
        slot = next(span for span in trace["payload"]["spans"] if span["name"] == "slot")
        assert slot["ms"] == pytest.approx(3000.0, abs=1.0)
        assert top(trace) == ["input", "slot", "model.first_token", "close"]


async def test_a_turn_that_finds_a_slot_free_says_nothing_of_it(autojump_clock: MockClock):
    async with hall() as here:
        ann = await here.party("ann")
        await ann.say("First")
        (await here.line(0)).ends()
        trace = await ann.viewer.event("turn.trace")
        assert "slot" not in top(trace)
        assert "status" not in ann.viewer.types()


async def test_who_waits_for_a_slot_is_interrupted_at_once_and_asks_no_model(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, bob = await here.party("ann"), await here.party("bob")
        await ann.say("First")
        first = await here.line(0)
        await bob.say("Second")
        stopped = await bob.ask("interrupt")
        assert stopped["result"]["interrupted"] is True
        ack = await bob.viewer.event("cancel.ack")
        assert ack["payload"]["took_ms"] == 0.0
        # It has left no trace in the queue: the slot goes to who comes next.
        await bob.say("Third")
        first.ends()
        line = await here.line(1)
        assert words_of(line.request.messages[-1].content) == "Third"
        assert "model.start" not in bob.of("turn_1")


async def test_a_turn_keeps_its_slot_over_all_its_calls_and_not_while_it_is_played(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, bob = await here.party("ann"), await here.party("bob")
        await ann.say("First")
        line = await here.line(0)
        line.says("Said.")
        await ann.viewer.event("model.token")
        await ann.ask("playback.start", turn_id="turn_1")
        await bob.say("Second")
        line.ends()
        await here.line(1)
        assert "turn.trace" not in ann.of("turn_1")


async def test_more_slots_at_a_renewal_let_who_waits_begin(autojump_clock: MockClock):
    async with hall() as here:
        ann, bob = await here.party("ann"), await here.party("bob")
        await ann.say("First")
        await here.line(0)
        await bob.say("Second")
        await wait_all_tasks_blocked()
        assert len(here.stage.model.lines) == 1
        here.slots.hold_to(SlotTerms(2))
        await here.line(1)


class Bug(Exception):
    """What a mistake of ours raises."""


class Trap(Viewer):
    """A client with a mistake in it: it raises where it must not."""

    def show(self, frame: bytes) -> None:
        if b"pong" in frame:
            raise Bug
        super().show(frame)


@pytest.mark.parametrize("who", ["who has a slot", "who waits"])
async def test_a_session_that_crashes_leaves_no_slot_taken_and_nobody_waiting(
    who: str, autojump_clock: MockClock
):
    async with hall() as here:
        ann, bob = await here.party("ann"), await here.party("bob")
        await ann.say("First")
        first = await here.line(0)
        await bob.say("Second")
        crashes = ann if who == "who has a slot" else bob
        trap = Trap(crashes.session.timeline)
        crashes.session.attach(trap)
        await here.stage.send(crashes.session, trap, "ping")
        await crashes.viewer.until_closed()
        if crashes is bob:
            cid = await here.party("cid")
            await cid.say("Third")
            first.ends()
        line = await here.line(1)
        assert words_of(line.request.messages[-1].content) in ("Second", "Third")
        here.parties.remove(crashes)  # its last turn is open until it is revived


# --- pre-emption ---------------------------------------------------------------------------------


async def test_a_turn_of_a_higher_tier_stops_a_lower_one_down_its_whole_ladder(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, midas = await put_off(here)
        requested = await ann.viewer.event("cancel.requested")
        assert requested["payload"]["by"] == "preempted"
        flush = next(f for f in ann.viewer.frames if f["type"] == "flush")
        assert flush["turn_id"] == "turn_1"
        ladder = ann.of("turn_1")[ann.of("turn_1").index("cancel.requested") :]
        assert [kind for kind in ladder if kind != "playback.stop"] == [
            *LADDER,
            "turn.trace",
            "cancel.ack",
        ]
        assert "cancel.requested" not in midas.of("turn_1")


async def test_a_pre_empted_turn_goes_on_with_what_it_had_said_when_a_slot_is_free(
    autojump_clock: MockClock,
):
    async with hall(finished=True) as here:
        ann, midas = await put_off(here)
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 1
        view = await ann.ask("projection", name="session")
        assert view["result"]["suspended"] == "turn_1"
        assert view["result"]["state"] == "idle"
        (await here.line(1)).ends()
        again = await ann.begun("turn_2")
        assert again["payload"] == {"input": "Tell me", "continues": "turn_1"}
        assert again["parent_event_id"] == (await ann.viewer.event("cancel.ack"))["event_id"]
        line = await here.line(2)
        told = [words_of(message.content) for message in line.request.messages]
        assert told == ["Tell me", f"Once upon {PUT_OFF}", GO_ON]
        line.says("a time.")
        line.ends()
        end = await ann.viewer.until(
            lambda f: f["type"] == "response.end" and f["turn_id"] == "turn_2"
        )
        assert end["payload"] == {"status": "completed", "text": "a time."}
        assert "input.text" not in ann.of("turn_2")
        view = await ann.ask("projection", name="session")
        assert "suspended" not in view["result"]
        await midas.over("turn_1")


async def test_what_tools_have_read_is_told_to_the_turn_that_goes_on(autojump_clock: MockClock):
    calls = 0

    @tool(effect="read")
    async def look(what: str) -> str:
        """Look."""
        nonlocal calls
        calls += 1
        return f"seen {what}"

    async with hall(agents=(Agent("first", tools=(look,)),)) as here:
        ann, midas = await here.party("ann"), await here.party("midas")
        await ann.say("Tell me")
        line = await here.line(0)
        line.listener.tool_called(ToolUse(CallId("c1"), "look", {"what": "it"}))
        line.ends("tool_use")
        await here.line(1)
        await midas.say("Quick")
        await ann.put_off("turn_1")
        (await here.line(2)).ends()
        again = await here.line(3)
        assert again.request.messages[-1].content == (
            f'{GO_ON}\n\n{FOUND}\n- look({{"what":"it"}}) returned "seen it"'
        )
        again.ends()
        await ann.over("turn_2")
        assert calls == 1
        turns = ann.session.state.turns.values()
        assert [turn.found for turn in turns] == [[], []]


async def test_words_that_wait_stay_behind_the_turn_that_goes_on(autojump_clock: MockClock):
    async with hall() as here:
        ann, midas = await here.party("ann"), await here.party("midas")
        await ann.say("Tell me")
        await here.line(0)
        await ann.say("And then", when_busy="queue")
        await midas.say("Quick")
        await ann.put_off("turn_1")
        queued = await ann.say("And later", when_busy="queue")
        assert queued["result"]["outcome"] == "queued"
        for number in range(1, 5):
            (await here.line(number)).ends()
        await ann.over("turn_3")
        starts = [(f["turn_id"], f["payload"]["input"]) for f in ann.starts()]
        assert starts == [
            ("turn_1", "Tell me"),
            ("turn_4", "Tell me"),
            ("turn_2", "And then"),
            ("turn_3", "And later"),
        ]
        assert midas.starts()


async def test_a_turn_is_pre_empted_so_often_and_then_stays(autojump_clock: MockClock):
    async with hall(preempted_most=2) as here:
        ann = await here.party("ann")
        golds = [await here.party(name) for name in ("midas", "croesus", "midas")]
        await ann.say("Tell me")
        number = 0
        for times, gold in enumerate(golds[:2], 1):
            await here.line(number)
            await gold.say("Quick")
            await ann.put_off(f"turn_{times}")
            (await here.line(number + 1)).ends()
            number += 2
        await here.line(number)
        await golds[2].say("Quick")
        await wait_all_tasks_blocked()
        assert "cancel.requested" not in ann.of("turn_3")
        (await here.line(number)).ends()
        await ann.over("turn_3")
        await here.line(number + 1)


async def test_the_time_that_a_turn_ran_does_not_make_it_older_and_the_time_that_it_waited_does(
    autojump_clock: MockClock,
):
    async with hall(aging_s=10.0) as here:
        ann, midas, croesus = [await here.party(name) for name in ("ann", "midas", "croesus")]
        await ann.say("Tell me")
        await here.line(0)
        await trio.sleep(40.0)
        await midas.say("Gold 1")
        await ann.put_off("turn_1")
        line = await here.line(1)
        await croesus.say("Gold 2")
        await trio.sleep(5.0)
        line.ends()
        line = await here.line(2)
        assert line.request.messages[-1].content == "Gold 2"
        await trio.sleep(6.0)  # it has waited for longer than the one that comes now
        third = await here.party("midas")
        await third.say("Gold 3")
        line.ends()
        line = await here.line(3)
        assert line.request.messages[-1].content == GO_ON


async def test_a_turn_whose_thinking_is_over_is_not_pre_empted(autojump_clock: MockClock):
    async with hall() as here:
        ann, midas = await here.party("ann"), await here.party("midas")
        await ann.say("First")
        line = await here.line(0)
        line.says("Said.")
        await ann.viewer.event("model.token")
        await ann.ask("playback.start", turn_id="turn_1")
        line.ends()
        await wait_all_tasks_blocked()
        await midas.say("Quick")
        await here.line(1)
        await ann.ask("playback.stop", turn_id="turn_1")
        await ann.over("turn_1")
        assert "cancel.requested" not in ann.of("turn_1")


# --- what the user may do meanwhile --------------------------------------------------------------


async def test_an_interrupt_gives_up_the_turn_that_waits_to_go_on(autojump_clock: MockClock):
    async with hall() as here:
        ann, midas = await put_off(here)
        other = await ann.ask("interrupt", turn_id="turn_9")
        assert other["result"] == {"interrupted": False}
        stopped = await ann.ask("interrupt", turn_id="turn_1")
        ack = await ann.viewer.event("cancel.ack")
        assert stopped["result"] == {
            "interrupted": True,
            "turn_id": "turn_1",
            "ack_seq": ack["seq"],
            "still_committing": [],
        }
        again = await ann.ask("interrupt")
        assert again["result"] == {"interrupted": False}
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 1
        (dropped,) = ann.dropped()
        assert dropped["turn_id"] is None
        assert dropped["payload"]["continues"] == "turn_1"
        assert not ann.session.state.unsettled


@pytest.mark.parametrize("during", ["the ladder", "the wait"])
async def test_an_interrupt_that_gave_up_a_turn_is_done_once_though_the_server_died_meanwhile(
    during: str, autojump_clock: MockClock
):
    store = MemoryStore()
    async with hall(store=store) as here:
        if during == "the wait":
            ann, _ = await put_off(here)
        else:
            ann, midas = await here.party("ann"), await here.party("midas")
            await ann.say("Tell me")
            await here.line(0)
            await midas.say("Quick")
        reply = await ann.ask("interrupt", id="stop1")
        ack = await ann.viewer.event("cancel.ack")
        assert reply["result"]["ack_seq"] == ack["seq"]
        dropped = await ann.viewer.event("input.dropped", continues="turn_1")
        assert dropped["payload"]["command_id"] == "stop1"
        await wait_all_tasks_blocked()
        store.crash()
    async with hall(store=MemoryStore(store.shelf)) as here:
        session = await here.stage.sessions.enter(ann.session.id)
        back = await here.join(session)
        await back.say("Next", id="next")
        line = await here.line(0)
        again = await back.ask("interrupt", id="stop1")
        assert again["result"] == reply["result"]
        line.ends()
        await back.over("turn_2")
        assert session.state.turns[TurnId("turn_2")].status == "completed"


@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
async def test_other_words_take_the_place_of_the_turn_that_waits_to_go_on(
    mode: str, autojump_clock: MockClock
):
    async with hall() as here:
        ann, _ = await put_off(here)
        reply = await ann.say("Something else", when_busy=mode)
        outcome = "rolled_back" if mode == "rollback" else "started"
        assert reply["result"] == {
            "turn_id": "turn_2",
            "outcome": outcome,
            "interrupted": "turn_1",
        }
        assert [f["payload"]["continues"] for f in ann.dropped()] == ["turn_1"]
        (await here.line(1)).ends()
        line = await here.line(2)
        told = [words_of(message.content) for message in line.request.messages]
        before = [] if mode == "rollback" else ["Tell me", f"Once upon {INTERRUPTED}"]
        assert told == [*before, "Something else"]
        line.ends()
        await ann.over("turn_2")
        assert len(ann.starts()) == 2


async def test_other_words_are_refused_or_wait_where_they_ask_for_that(autojump_clock: MockClock):
    async with hall() as here:
        ann, _ = await put_off(here)
        refused = await ann.say("No", when_busy="reject")
        assert refused["error"]["code"] == "busy"
        for mode in ("queue", "steer"):
            assert (await ann.say("Later", when_busy=mode))["result"]["outcome"] == "queued"
        assert ann.dropped() == []


@pytest.mark.parametrize("queue", ["keep", "drop"])
async def test_words_that_wait_are_answered_when_the_turn_before_them_is_given_up(
    queue: str, autojump_clock: MockClock
):
    async with hall() as here:
        ann, _ = await put_off(here)
        await ann.say("Later", when_busy="queue")
        await ann.ask("interrupt", queue=queue)
        (await here.line(1)).ends()
        await wait_all_tasks_blocked()
        inputs = [start["payload"]["input"] for start in ann.starts()]
        assert inputs == (["Tell me", "Later"] if queue == "keep" else ["Tell me"])
        assert len(ann.dropped()) == (1 if queue == "keep" else 2)


async def test_an_interrupt_while_the_ladder_runs_gives_up_the_turn_once(
    autojump_clock: MockClock,
):
    started = trio.Event()

    @tool(effect="read")
    async def dawdle() -> str:
        """Take a while to stop."""
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(0.1, shield=True):
                await trio.sleep(0.1)
        return ""

    async with hall(agents=(Agent("first", tools=(dawdle,)),)) as here:
        ann, midas = await here.party("ann"), await here.party("midas")
        await ann.say("Tell me")
        line = await here.line(0)
        line.listener.tool_called(ToolUse(CallId("c1"), "dawdle", {}))
        line.ends("tool_use")
        await started.wait()
        await midas.say("Quick")
        await ann.viewer.event("cancel.requested")
        async with trio.open_nursery() as both:
            replies: list[Frame] = []

            async def stop() -> None:
                replies.append(await ann.ask("interrupt"))

            both.start_soon(stop)
            both.start_soon(stop)
        ack = await ann.viewer.event("cancel.ack")
        assert [reply["result"]["ack_seq"] for reply in replies] == [ack["seq"]] * 2
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == len(ann.dropped()) == 1
        assert not ann.session.state.unsettled


async def test_an_interrupt_that_finds_no_room_while_the_ladder_runs_may_be_sent_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
):
    """Or the turn would go on, though the user was told that it is over."""
    monkeypatch.setattr(composition, "PLANNER_MAILBOX", 1)
    async with hall() as here:
        ann, midas = await here.party("ann"), await here.party("midas")
        await ann.say("Tell me")
        await here.line(0)
        await midas.say("Quick")
        # The ladder runs already: what is asked for now comes in one batch.
        answers: list[Frame] = []

        async def stop(number: int) -> None:
            answers.append(await ann.ask("interrupt", id=f"i{number}"))

        async with trio.open_nursery() as asking:
            for number in range(4):
                asking.start_soon(stop, number)
        results = [answer["result"] for answer in answers if answer["type"] == "reply"]
        assert {r["turn_id"] for r in results if r["interrupted"]} == {"turn_1"}
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == len(ann.dropped()) == 1


async def test_a_session_is_closed_though_a_turn_waits_to_go_on(autojump_clock: MockClock):
    async with hall(finished=True) as here:
        ann, midas = await put_off(here)
        await ann.ask("close")
        await ann.viewer.until_closed()
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 1
        assert len(here.stage.model.lines) == 2


# --- who is there, and restarts ------------------------------------------------------------------


async def test_a_turn_goes_on_without_any_client_for_as_long_as_it_would_have(
    autojump_clock: MockClock,
):
    async with hall(limits=Limits(grace_s=15.0, idle_s=60.0)) as here:
        ann, midas = await put_off(here)
        await ann.leaves()
        await trio.sleep(5.0)
        (await here.line(1)).ends()
        line = await here.line(2)
        line.ends()
        await midas.over("turn_1")
        ann = await here.join(ann.session, ann.viewer.seq)
        await ann.viewer.event("turn.trace")


async def test_when_the_grace_is_over_a_turn_goes_on_when_somebody_comes_back(
    autojump_clock: MockClock,
):
    async with hall(limits=Limits(grace_s=15.0, idle_s=1000.0)) as here:
        ann, midas = await put_off(here)
        await ann.leaves()
        await trio.sleep(20.0)
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await trio.sleep(20.0)
        assert len(here.stage.model.lines) == 2
        ann = await here.join(ann.session, ann.viewer.seq)
        await ann.begun("turn_2")
        await here.line(2)


async def test_a_session_stays_in_memory_while_its_turn_waits_to_go_on(
    autojump_clock: MockClock,
):
    async with hall(limits=Limits(grace_s=1000.0, idle_s=1.0)) as here:
        ann, midas = await put_off(here)
        await ann.ask("configure", on_disconnect="continue")
        await ann.leaves()
        await trio.sleep(100.0)
        assert here.stage.sessions.holds(ann.session.id)
        (await here.line(1)).ends()
        (await here.line(2)).ends()
        await trio.sleep(100.0)
        assert not here.stage.sessions.holds(ann.session.id)
        assert midas.starts()


async def test_a_turn_that_left_memory_goes_on_when_its_session_is_back(
    autojump_clock: MockClock,
):
    async with hall(limits=Limits(grace_s=1.0, idle_s=2.0)) as here:
        ann, midas = await put_off(here)
        await ann.leaves()
        await trio.sleep(100.0)
        assert not here.stage.sessions.holds(ann.session.id)
        (await here.line(1)).ends()
        await midas.over("turn_1")
        session = await here.stage.sessions.enter(ann.session.id)
        ann = await here.join(session, ann.viewer.seq)
        await ann.begun("turn_2")


async def test_a_turn_that_waits_to_go_on_does_so_after_a_restart_without_any_client(
    autojump_clock: MockClock,
):
    store = MemoryStore()
    async with hall(store=store) as here:
        ann, midas = await put_off(here)
        await midas.viewer.event("model.start")
        assert ann.session.state.unsettled
        store.crash()
    async with hall(store=MemoryStore(store.shelf)) as here:
        assert await here.stage.sessions.recover() == 2
        line = await here.line(0)
        assert line.request.messages[-1].content == GO_ON
        session = await here.stage.sessions.enter(ann.session.id)
        back = await here.join(session, ann.viewer.seq)
        line.ends()
        await back.over("turn_2")
        assert session.state.turns[TurnId("turn_2")].continues == "turn_1"


async def test_where_a_session_is_back_for_a_watcher_its_turn_goes_on_when_a_driver_comes(
    autojump_clock: MockClock,
):
    """Begun before, it would be stopped for want of a driver, for good."""
    async with hall(limits=Limits(grace_s=15.0, idle_s=20.0)) as here:
        ann, midas = await put_off(here)
        await ann.leaves()
        await trio.sleep(100.0)
        assert not here.stage.sessions.holds(ann.session.id)
        (await here.line(1)).ends()
        await midas.over("turn_1")
        session = await here.stage.sessions.enter(ann.session.id)
        await here.stage.attend(session, after=ann.viewer.seq, role="watch")
        await trio.sleep(100.0)
        assert len(here.stage.model.lines) == 2
        back = await here.join(session, ann.viewer.seq)
        (await here.line(2)).ends()
        await back.over("turn_2")
        assert session.state.turns[TurnId("turn_2")].continues == "turn_1"
        assert "cancel.requested" not in back.of("turn_2")


@pytest.mark.parametrize("policy", ["cancel", "continue"])
async def test_after_a_restart_a_turn_goes_on_without_a_client_only_where_it_may(
    policy: str, autojump_clock: MockClock
):
    store = MemoryStore()
    async with hall(store=store) as here:
        ann, _ = await put_off(here)
        await ann.ask("configure", on_disconnect=policy)
        await wait_all_tasks_blocked()
        store.crash()
    async with hall(store=MemoryStore(store.shelf)) as here:
        await here.stage.sessions.recover()
        await trio.sleep(5.0)
        assert len(here.stage.model.lines) == (1 if policy == "continue" else 0)
        session = await here.stage.sessions.enter(ann.session.id)
        back = await here.join(session)
        (await here.line(0)).ends()
        await back.over("turn_2")
        assert session.state.turns[TurnId("turn_2")].continues == "turn_1"
        assert "cancel.requested" not in back.of("turn_2")


async def test_after_a_restart_where_only_watchers_were_a_turn_goes_on_when_a_driver_comes(
    autojump_clock: MockClock,
):
    """Begun before, it would be stopped for want of a driver, for good."""
    store = MemoryStore()
    async with hall(store=store, limits=Limits(grace_s=15.0)) as here:
        ann, _ = await put_off(here)
        await here.stage.attend(ann.session, after=ann.viewer.seq, role="watch")
        await ann.leaves()
        await wait_all_tasks_blocked()
        assert (ann.session.state.connections, ann.session.state.drivers) == (1, 0)
        store.crash()
    async with hall(store=MemoryStore(store.shelf), limits=Limits(grace_s=15.0)) as here:
        await here.stage.sessions.recover()
        await trio.sleep(30.0)
        assert here.stage.model.lines == []
        session = await here.stage.sessions.enter(ann.session.id)
        await here.stage.attend(session, after=ann.viewer.seq, role="watch")
        await trio.sleep(5.0)
        assert here.stage.model.lines == []
        back = await here.join(session, ann.viewer.seq)
        assert (session.state.connections, session.state.drivers) == (2, 1)
        (await here.line(0)).ends()
        await back.over("turn_2")
        assert "cancel.requested" not in back.of("turn_2")


async def test_a_drain_leaves_what_waits_to_go_on_to_the_next_process(autojump_clock: MockClock):
    async with hall() as here:
        ann, _ = await put_off(here)
        await here.stage.sessions.drain(1.0, "the server stops")
        assert ann.session.state.suspended == "turn_1"
        assert ann.session.state.unsettled
        assert len(ann.starts()) == 1


# --- too many -------------------------------------------------------------------------------------


async def test_words_are_refused_where_too_many_wait_and_taken_when_it_was_said(
    autojump_clock: MockClock,
):
    async with hall(waiting_most=1) as here:
        ann, bob, cid = [await here.party(name) for name in ("ann", "bob", "cid")]
        await ann.say("First")
        first = await here.line(0)
        await trio.sleep(3.0)
        first.ends()
        await ann.over("turn_1")
        await ann.say("Second")
        second = await here.line(1)
        assert (await bob.say("Third"))["type"] == "reply"
        refused = (await cid.say("Fourth", id="again"))["error"]
        assert refused["code"] == "overloaded"
        assert refused["retryable"] is True
        assert refused["retry_after_ms"] == 3000
        await trio.sleep(2.0)
        assert (await cid.say("Fourth", id="again"))["type"] == "error"
        await trio.sleep(1.0)
        second.ends()
        await here.line(2)
        assert (await cid.say("Fourth", id="again"))["type"] == "reply"
        # Who has a place in the queue may say something else.
        assert (await cid.say("Fifth"))["result"]["interrupted"] == "turn_1"
