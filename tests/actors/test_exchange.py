"""One call of a model: one `model.start`, one `model.end`, and true books in between."""

from __future__ import annotations

import pytest
import trio
from attrs import define
from structlog.testing import capture_logs

from bargein.actors.exchange import FAILED, LEAVE_LIMIT_S, Exchange
from bargein.actors.messages import Noted
from bargein.models.client import Completion, Listener, Message, ModelError, ModelRequest
from bargein.models.client import Usage as Cost
from bargein.protocol.events import ModelEnd, ModelRetry, ModelStart, Status, Usage
from tests.actors.consultation import Answer, Stage, on_stage, retryable

REQUEST = ModelRequest(None, "Be brief.", (Message("user", "Hi"),))


def exchange(stage: Stage, *, speaks: bool = False) -> Exchange:
    return Exchange(stage.turn, stage.model, stage.output, "one", speaks=speaks)


async def test_a_call_is_listed_from_its_start_to_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("Hello")]}) as stage:
        asked = exchange(stage)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked.run, REQUEST)
            await trio.sleep(0.2)
            (call,) = stage.turn.model_calls
            assert (call.input_tokens, call.deltas, call.ended) == (10, 1, False)
        await trio.testing.wait_all_tasks_blocked()
        assert call.ended
    assert "".join(asked.hearing.said) == "Hello"
    assert stage.page.payloads == [
        ModelStart("fake", "one"),
        ModelEnd("end_turn", Usage(10, 2), "one"),
    ]


async def test_what_speaks_is_heard_by_the_user(autojump_clock: trio.testing.MockClock) -> None:
    async with on_stage({"": [Answer("Hello")]}) as stage:
        await exchange(stage, speaks=True).run(REQUEST)
    assert stage.page.spoken == 2
    assert stage.turn.deltas == 2


async def test_a_failed_call_ends_with_what_it_cost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    known = retryable()
    known.usage = Cost(12, 7, estimated=True)
    for error, usage in ((known, Usage(12, 7, True)), (retryable(), Usage(10, 1, True))):
        async with on_stage({"": [Answer("Hello", error=error)]}) as stage:
            with pytest.raises(ModelError) as raised:
                await exchange(stage).run(REQUEST)
        assert raised.value is error
        assert stage.page.told(ModelEnd) == [ModelEnd("error", usage, "one")]
        assert stage.turn.model_calls[0].ended


async def test_whatever_a_model_raises_is_a_model_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with capture_logs() as logs:
        async with on_stage({"": [Answer("Hello", error=KeyError("secret"))]}) as stage:
            with pytest.raises(ModelError) as raised:
                await exchange(stage).run(REQUEST)
    assert str(raised.value) == FAILED
    assert raised.value.began
    assert stage.page.told(ModelEnd) == [ModelEnd("error", Usage(10, 1, estimated=True), "one")]
    assert logs[0]["event"] == "model.raised"


async def test_a_call_whose_time_is_up_still_gets_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("Hello", 9.0, retries=1)]}, capacity=1) as stage:
        with trio.move_on_after(5.0):
            await exchange(stage).run(REQUEST)
        assert trio.current_time() == pytest.approx(5.0)
        await trio.testing.wait_all_tasks_blocked()
    assert stage.page.payloads == [
        ModelStart("fake", "one"),
        ModelRetry(2, 100.0, "model_overloaded"),
        ModelEnd("cancelled", Usage(10, 1, estimated=True), "one"),
    ]
    assert stage.models_are_accounted_for()


async def test_an_interrupted_call_is_left_to_the_ladder(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("Hello", 9.0)]}) as stage:
        async with trio.open_nursery() as nursery:

            async def turn() -> None:
                with stage.turn.scope:
                    await exchange(stage).run(REQUEST)

            nursery.start_soon(turn)
            await trio.sleep(5.0)
            stage.interrupt()
        assert trio.current_time() == pytest.approx(5.0)
    assert [call.ended for call in stage.turn.model_calls] == [False]
    assert stage.page.types == ["model.start"]


async def test_an_interrupted_call_does_not_wait_for_a_stuck_output_loop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stuck = trio.Event()
    async with on_stage({"": [Answer("Hello", 9.0)]}, capacity=1) as stage:
        async with trio.open_nursery() as nursery:

            async def turn() -> None:
                with stage.turn.scope:
                    await exchange(stage).run(REQUEST)

            nursery.start_soon(turn)
            await trio.sleep(1.0)
            stage.page.stuck = stuck
            for text in ("in the loop's hands", "in its mailbox"):
                await stage.output.tell(Noted(stage.turn, (Status(text),)))
                await trio.testing.wait_all_tasks_blocked()
            stage.interrupt()
        assert trio.current_time() == pytest.approx(1.0)
        stuck.set()


@define(eq=False)
class Impatient:
    """Announces retries, and fails without ever waiting for room."""

    name: str = "impatient"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        for attempt in range(2, 7):
            listener.retrying(attempt, 0.5, "model_error")
        raise retryable()


async def test_a_retry_that_found_no_room_is_told_before_the_end() -> None:
    async with on_stage({}, capacity=1) as stage:
        with pytest.raises(ModelError):
            await Exchange(stage.turn, Impatient(), stage.output, "one", speaks=False).run(REQUEST)
    assert stage.page.payloads == [
        ModelStart("impatient", "one"),
        *(ModelRetry(attempt, 500.0, "model_error") for attempt in range(2, 7)),
        ModelEnd("error", Usage(0, 0, estimated=True), "one"),
    ]


async def test_an_end_that_the_gate_drops_is_left_to_the_ladder(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("Hello")]}) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange(stage).run, REQUEST)
            await trio.sleep(0.2)
            stage.page.stuck = trio.Event()
        # The model has answered, and its end waits for an output loop that is late.
        stage.interrupt()
        stage.page.stuck.set()
        await trio.testing.wait_all_tasks_blocked()
    assert stage.page.types == ["model.start"]
    assert [call.ended for call in stage.turn.model_calls] == [False]


async def test_a_call_that_was_cancelled_before_its_start_never_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("Hello")]}) as stage:
        with trio.CancelScope() as scope:
            scope.cancel()
            await exchange(stage).run(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
    assert stage.page.lines == []
    assert stage.turn.model_calls == []
    assert stage.model.calls == []


async def test_a_stuck_output_loop_holds_an_abandoned_call_for_a_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stuck = trio.Event()
    async with on_stage({"": [Answer("Hello", 9.0)]}, capacity=1) as stage:
        with trio.move_on_after(5.0):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange(stage).run, REQUEST)
                nursery.start_soon(exchange(stage).run, REQUEST)
                await trio.sleep(1.0)
                stage.page.stuck = stuck
                await stage.output.tell(Noted(stage.turn, (Status("in the loop's hands"),)))
        assert trio.current_time() == pytest.approx(5.0 + LEAVE_LIMIT_S)
        stuck.set()
        await trio.testing.wait_all_tasks_blocked()
    # The end of one fitted into the mailbox, and the other was given up.
    assert sum(call.ended for call in stage.turn.model_calls) == 1
    assert len(stage.page.told(ModelEnd)) == 1


async def test_an_abandoned_call_of_a_session_that_ended_is_no_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("Hello", 9.0)]}) as stage:
        with trio.move_on_after(5.0) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange(stage).run, REQUEST)
                await trio.sleep(1.0)
                stage.page.scope.cancel()
        assert scope.cancelled_caught
    assert [call.ended for call in stage.turn.model_calls] == [False]
