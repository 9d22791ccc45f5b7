"""What becomes of words while a turn runs: the table of `when_busy`."""

from __future__ import annotations

import pytest
import trio.testing

from bargein.actors.limits import Limits
from bargein.models.client import INTERRUPTED, Message
from tests.actors.stage import on_stage


@pytest.mark.parametrize("when_busy", ["interrupt", "queue", "steer", "reject", "rollback"])
async def test_words_start_a_turn_at_once_where_nothing_runs(when_busy: str) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        reply = await stage.ask(session, viewer, "say", text="hi", when_busy=when_busy)
        assert reply["result"] == {"turn_id": "turn_1", "outcome": "started", "interrupted": None}
        (await stage.model.line(0)).ends()
        await viewer.event("turn.trace")


@pytest.mark.parametrize(
    ("when_busy", "outcome"), [("interrupt", "started"), ("rollback", "rolled_back")]
)
async def test_words_that_interrupt_end_the_running_turn(when_busy: str, outcome: str) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        first = await stage.model.line(0)
        first.says("All of ")
        await viewer.event("model.token")
        reply = await stage.ask(session, viewer, "say", text="two", when_busy=when_busy)
        assert reply["result"] == {
            "turn_id": "turn_2",
            "outcome": outcome,
            "interrupted": "turn_1",
        }
        assert first.cancelled
        second = await stage.model.line(1)
        told = second.request.messages
        if when_busy == "rollback":
            assert told == (Message("user", "two"),)
        else:
            assert told == (
                Message("user", "one"),
                Message("assistant", f"All of {INTERRUPTED}"),
                Message("user", "two"),
            )
        second.ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        order = [frame["type"] for frame in viewer.frames if frame.get("turn_id") == "turn_1"]
        assert order[order.index("cancel.requested") :] == [
            "cancel.requested",
            "playback.stop",
            "cancel.stage",
            "model.end",
            "cancel.stage",
            "response.end",
            "turn.trace",
            "cancel.ack",
        ]


async def test_queued_words_wait_and_are_answered_in_their_order() -> None:
    async with on_stage(limits=Limits(queue_most=2)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        for number in (2, 3):
            reply = await stage.ask(session, viewer, "say", text=f"{number}", when_busy="queue")
            assert reply["result"]["outcome"] == "queued"
        full = await stage.ask(session, viewer, "say", text="4", when_busy="queue")
        assert full["error"]["code"] == "busy"
        for number in range(3):
            (await stage.model.line(number)).ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_3")
        starts = [f["payload"]["input"] for f in viewer.frames if f["type"] == "turn.start"]
        assert starts == ["one", "2", "3"]


async def test_words_that_are_rejected_leave_no_event_and_may_be_sent_again() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        refused = await stage.ask(session, viewer, "say", text="two", when_busy="reject", id="x")
        assert refused["error"]["code"] == "busy"
        assert refused["error"]["retryable"] is True
        line.ends()
        await viewer.event("turn.trace")
        again = await stage.ask(session, viewer, "say", text="two", when_busy="reject", id="x")
        assert again["result"]["outcome"] == "started"
        assert viewer.types().count("input.text") == 2


async def test_words_that_interrupt_go_before_words_that_wait() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.ask(session, viewer, "say", text="later", when_busy="queue")
        await stage.ask(session, viewer, "say", text="now")
        starts = [f["payload"]["input"] for f in viewer.frames if f["type"] == "turn.start"]
        assert starts == ["one", "now"]
        (await stage.model.line(1)).ends()
        (await stage.model.line(2)).ends()
        await viewer.event("turn.start", input="later")


async def test_the_model_is_told_the_conversation_in_the_order_of_its_turns() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.ask(session, viewer, "say", text="later", when_busy="queue")
        await stage.ask(session, viewer, "say", text="now")
        for number in (1, 2):
            line = await stage.model.line(number)
            line.says(f"answer {number}")
            line.ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        await stage.ask(session, viewer, "say", text="last")
        told = (await stage.model.line(3)).request.messages
        assert [message.content for message in told] == [
            "one",
            INTERRUPTED,
            "now",
            "answer 1",
            "later",
            "answer 2",
            "last",
        ]


async def test_an_interrupt_may_drop_what_waits() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.ask(session, viewer, "say", text="two", when_busy="queue")
        reply = await stage.ask(session, viewer, "interrupt", queue="drop")
        assert reply["result"]["interrupted"] is True
        dropped = await viewer.event("input.dropped")
        assert dropped["turn_id"] == "turn_2"
        assert viewer.types().count("turn.start") == 1


@pytest.mark.parametrize("blind", [True, False])
async def test_an_interrupt_that_hits_nothing_says_so_and_leaves_no_event(blind: bool) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        if not blind:
            await stage.ask(session, viewer, "say", text="one")
            await stage.model.line(0)
        fields = {} if blind else {"turn_id": "turn_9"}
        reply = await stage.ask(session, viewer, "interrupt", **fields)
        assert reply["result"] == {"interrupted": False}
        assert "cancel.requested" not in viewer.types()


async def test_a_failed_turn_is_taken_up_again_once() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        line.says("half ")
        line.fails(RuntimeError("a bug"))
        token = (await viewer.event("error"))["payload"]["recover"]["resume_token"]
        await viewer.event("turn.trace")
        again = await stage.ask(session, viewer, "say", text="", resume=token)
        assert again["result"]["turn_id"] == "turn_2"
        start = await viewer.until(lambda f: f.get("payload", {}).get("continues"))
        assert start["payload"]["continues"] == "turn_1"
        (await stage.model.line(1)).ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        late = await stage.ask(session, viewer, "say", text="", resume=token)
        assert late["error"]["code"] == "stale"
        unknown = await stage.ask(session, viewer, "say", text="", resume="resume.turn_8")
        assert unknown["error"]["code"] == "not_found"


async def test_a_closed_session_answers_closes_and_takes_no_more() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        waiting = await stage.send(session, viewer, "say", text="two")
        reply = await stage.ask(session, viewer, "close")
        assert reply["result"] == {}
        assert await viewer.until_closed() == (4102, "session closed")
        answer = await viewer.until(lambda f: f.get("command_id") == waiting)
        assert answer["type"] in ("reply", "error")
        await session.until_ended()
        place = await stage.sessions.find(session.id)
        assert place is not None
        assert place.closed
        assert stage.sessions.read_only(place).durable == place.last_seq


async def test_a_second_close_and_words_after_it_are_stale(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(limits=Limits(abandon_s=0.25)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        for kind, fields in (("close", {}), ("close", {}), ("say", {"text": "two"})):
            await stage.send(session, viewer, kind, id=f"{kind}{len(fields)}", **fields)
        await viewer.until_closed()
        answered = {f["command_id"] for f in viewer.frames if f["type"] in ("reply", "error")}
        assert {"close0", "say1"} <= answered
