"""An answer that is begun before the words are final: there at once, or never seen by anybody."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import trio.lowlevel
from attrs import define, field
from trio.testing import MockClock

from bargein.actors import early
from bargein.actors.allowance import Allowance, Unlimited
from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.actors.slots import FREE, Claim, LocalSlots, Slots, Wish
from bargein.agents.app import Agent
from bargein.agents.voice import Voice
from bargein.cluster.redis_slots import RedisSlots
from bargein.models.client import Completion, Listener, ModelError, ModelRequest, ToolUse
from bargein.protocol.events import ModelEnd
from bargein.protocol.frames import Problem
from bargein.protocol.ids import CallId, NodeId
from bargein.protocol.state import fold
from bargein.speech.foresight import Foresight
from bargein.speech.pacing import Pacing
from bargein.timeline.redis_address import Address
from bargein.tools.tool import tool
from tests.actors.calls import Call
from tests.actors.stage import Line, Puppet, on_stage
from tests.checker import broken_rules

EAGER: Final = Voice(foresight=Foresight(stable_s=0.1))
WORDS: Final = "Show me the funds"
STOP_S: Final = 0.65
"""Of silence after such words."""

ran: list[str] = []


@tool(effect="read")
async def look(what: str) -> str:
    """Look something up."""
    ran.append(what)
    return "Nothing."


@define(eq=False)
class Purse:
    """Counts what is spent."""

    slots: Slots = FREE
    takes_words: bool = True
    spent: list[int] = field(factory=list[int])
    standing: Any = field(factory=lambda: Unlimited().standing)

    def refusal(self, *, begins_turn: bool) -> Problem | None:
        return None

    def refusal_to_grow(self) -> Problem | None:
        return None

    def spend(self, tokens: int) -> None:
        self.spent.append(tokens)

    def begin_turn(self) -> None: ...

    def end_turn(self) -> None: ...

    def renewed(self, tier: str) -> None: ...

    def close(self) -> None: ...


@asynccontextmanager
async def talking(
    purse: Purse | None = None,
    *,
    voice: Voice = EAGER,
    agents: Sequence[Agent] = (Agent("first"),),
) -> AsyncGenerator[Call]:
    """Put somebody on the line, and hold the timeline against the rules at the end."""
    chosen = purse or Purse()

    def allowance(*_: object) -> Allowance:
        return chosen

    async with on_stage(voice=voice, agents=agents, allowance=allowance) as stage:
        session = stage.open()
        call = Call(stage, session, await stage.attend(session))
        yield call
        await session.until_stopped()
        events = call.events()
        assert broken_rules(events) == []
        assert fold(events) == session.state


async def begun(call: Call, text: str = WORDS) -> Line:
    """Say something, and wait until it is being answered in advance."""
    number = len(call.stage.model.lines)
    await call.send("speech.start", utterance_id="u1")
    await call.hear("u1", text)
    await call.send("speech.stop", utterance_id="u1")
    line = await call.stage.model.line(number)
    assert call.of("turn.start", "model.start") == []
    assert line.request.messages[-1].content == text
    return line


def answer(call: Call) -> str:
    return "".join(event["payload"]["text"] for event in call.of("model.token"))


async def test_what_was_said_in_advance_is_there_when_the_words_are_final(
    autojump_clock: MockClock,
):
    purse = Purse()
    async with talking(purse) as call:
        line = await begun(call)
        line.listener.started(7)
        line.says("Here ")
        line.says("they ")
        await trio.sleep(0.2)
        assert call.of("model.start", "model.token", "response.start", "turn.start") == []
        await call.hear("u1", "show me the funds.", final=True)
        start = await call.viewer.event("turn.start")
        assert start["payload"]["input"] == "show me the funds."
        began_s = trio.current_time()
        await call.viewer.event("model.token")
        assert trio.current_time() == began_s
        line.says("are.")
        line.ends()
        await call.viewer.event("turn.trace")
        assert answer(call) == "Here they are."
        assert len(call.stage.model.lines) == 1
        (end,) = call.of("model.end")
        assert end["payload"]["usage"]["output_tokens"] == 2
        assert purse.spent == [3 + 2]


async def test_an_answer_that_is_complete_before_the_turn_is_taken_whole(
    autojump_clock: MockClock,
):
    purse = Purse()
    async with talking(purse) as call:
        line = await begun(call)
        line.says("Here they are.")
        line.ends()
        await call.viewer.event("turn.trace")
        assert answer(call) == "Here they are."
        assert len(call.stage.model.lines) == 1
        assert purse.spent == [5]


async def test_other_words_throw_it_away_unseen_and_its_tokens_are_counted(
    autojump_clock: MockClock,
):
    purse = Purse()
    async with talking(purse) as call:
        first = await begun(call)
        first.listener.started(7)
        first.says("Never seen. ", 3)
        await call.hear("u1", "Show me the bonds", final=True)
        second = await call.stage.model.line(1)
        assert first.cancelled
        assert purse.spent == [7 + 3]
        second.says("Bonds.")
        second.ends()
        await call.viewer.event("turn.trace")
        assert answer(call) == "Bonds."
        stored = b"".join(call.session.timeline.visible_after(call.events()[0].seq, 1000) or ())
        assert b"Never seen" not in stored
        assert len(call.of("model.start")) == 1


async def test_who_speaks_on_throws_it_away_with_the_next_words(autojump_clock: MockClock):
    async with talking() as call:
        first = await begun(call)
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "in my portfolio")
        await call.send("speech.stop", utterance_id="u2")
        second = await call.stage.model.line(1)
        assert first.cancelled
        assert second.request.messages[-1].content == f"{WORDS} in my portfolio"


async def test_it_is_off_unless_an_app_asks_for_it(autojump_clock: MockClock):
    async with talking(voice=Voice()) as call:
        await call.speak("u1", WORDS)
        await trio.sleep(STOP_S - 0.1)
        assert call.stage.model.lines == []
        await call.viewer.event("turn.start")


async def test_tools_that_were_called_in_advance_run_when_the_turn_wants_them(
    autojump_clock: MockClock,
):
    ran.clear()
    async with talking(agents=(Agent("first", tools=(look,)),)) as call:
        line = await begun(call)
        line.listener.tool_called(ToolUse(CallId("c1"), "look", {"what": "funds"}))
        line.ends("tool_use")
        await trio.sleep(0.3)
        assert ran == []
        assert call.of("tool.call") == []
        await call.viewer.event("tool.result", call_id="c1", status="ok")
        assert ran == ["funds"]
        (await call.stage.model.line(1)).ends()
        await call.viewer.event("turn.trace")


async def test_a_tool_that_was_called_for_other_words_never_runs(autojump_clock: MockClock):
    ran.clear()
    async with talking(agents=(Agent("first", tools=(look,)),)) as call:
        line = await begun(call)
        line.listener.tool_called(ToolUse(CallId("c1"), "look", {"what": "funds"}))
        line.ends("tool_use")
        await trio.lowlevel.checkpoint()
        await call.hear("u1", "Show me the bonds", final=True)
        (await call.stage.model.line(1)).ends()
        await call.viewer.event("turn.trace")
        assert ran == []
        assert call.of("tool.call", "action.proposed") == []


async def test_a_failure_that_nobody_saw_is_no_failure_of_the_turn(autojump_clock: MockClock):
    async with talking() as call:
        line = await begun(call)
        line.says("Never seen.")
        line.fails(ModelError("it breaks", retryable=True, began=True))
        again = await call.stage.model.line(1)
        await call.viewer.event("turn.start")
        again.says("Here.")
        again.ends()
        await call.viewer.event("response.end", status="completed")
        assert answer(call) == "Here."
        assert call.of("error") == []


async def test_a_failure_after_the_turn_began_is_the_turn_s(autojump_clock: MockClock):
    async with talking() as call:
        line = await begun(call)
        line.says("Here they ")
        await call.viewer.event("model.token")
        line.fails(ModelError("it breaks", retryable=True, began=True))
        await call.viewer.event("response.end", status="failed")
        assert len(call.of("model.end")) == 1


async def test_an_interrupt_closes_the_stream_that_was_begun_in_advance(
    autojump_clock: MockClock,
):
    async with talking() as call:
        line = await begun(call)
        line.says("Here they ")
        await call.viewer.event("model.token")
        await call.ask("interrupt")
        assert line.cancelled
        (rung,) = [e for e in call.of("cancel.stage") if e["payload"]["target"] == "model"]
        assert rung["payload"]["outcome"] == "stopped"


async def test_what_the_user_types_meanwhile_is_answered_instead(autojump_clock: MockClock):
    async with talking() as call:
        first = await begun(call)
        await call.ask("say", text="Never mind. What time is it?")
        second = await call.stage.model.line(1)
        assert first.cancelled
        assert second.request.messages[-1].content == "Never mind. What time is it?"


async def test_while_the_agent_speaks_nothing_is_begun(autojump_clock: MockClock):
    async with talking() as call:
        line = await begun(call)
        line.says("Here they are. ")
        await call.viewer.event("model.token")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "mhm")
        await call.send("speech.stop", utterance_id="u2")
        await trio.sleep(0.5)
        assert len(call.stage.model.lines) == 1


async def test_words_in_the_middle_of_a_clause_are_not_answered(autojump_clock: MockClock):
    async with talking() as call:
        await call.speak("u1", "Show me the")
        await trio.sleep(0.8)
        assert call.stage.model.lines == []
        await call.viewer.event("turn.start")


async def test_so_many_are_begun_for_a_turn_and_no_more(autojump_clock: MockClock):
    async with talking() as call:
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "Show me")
        await call.send("speech.stop", utterance_id="u1")
        for number in range(8):
            await call.hear("u1", f"Show me fund {'x' * number} now")
            await trio.sleep(0.15)
        await trio.sleep(0.3)
        assert len(call.stage.model.lines) == EAGER.foresight.most if EAGER.foresight else 0
        assert call.of("turn.start") == []


async def test_it_does_not_begin_without_a_model_slot(autojump_clock: MockClock):
    slots = LocalSlots(SlotTerms(1))
    other = slots.ask(Unlimited().standing, Wish())
    async with talking(Purse(slots)) as call:
        await call.speak("u1", WORDS)
        await trio.sleep(STOP_S - 0.1)
        assert call.stage.model.lines == []
        other.release()
        await call.viewer.event("turn.start")
        await call.stage.model.line(0)


async def test_it_waits_for_no_slot(autojump_clock: MockClock):
    slots = LocalSlots(SlotTerms(1))
    other = slots.ask(Unlimited().standing, Wish())
    async with talking(Purse(slots)) as call:
        await call.speak("u1", WORDS)
        await trio.sleep(0.15)  # it would have been begun
        other.release()
        await trio.sleep(STOP_S - 0.15 - 0.1)
        assert call.stage.model.lines == []
        await call.viewer.event("turn.start")


async def test_it_takes_no_slot_from_a_turn_of_a_lower_tier(autojump_clock: MockClock):
    slots = LocalSlots(SlotTerms(1))
    stopped_s: list[float] = []
    low = slots.ask(Standing("low"), Wish(preempt=lambda: stopped_s.append(trio.current_time())))
    gold = Standing("midas", tier="gold", rank=1)
    async with talking(Purse(slots, standing=gold)) as call:
        await call.speak("u1", WORDS)
        await trio.sleep(STOP_S - 0.1)
        assert stopped_s == []
        assert call.stage.model.lines == []
        await call.viewer.event("turn.start")
        assert len(stopped_s) == 1  # a turn does
        low.release()
        await call.stage.model.line(0)


@pytest.mark.parametrize("preempted_most", [3, 0])
@pytest.mark.parametrize("rank", [0, 1])
async def test_whoever_waits_for_a_slot_has_it_at_once(
    rank: int, preempted_most: int, autojump_clock: MockClock
):
    slots = LocalSlots(SlotTerms(1, preempted_most=preempted_most))
    purse = Purse(slots, standing=Standing("midas", tier="gold", rank=1))
    async with talking(purse) as call:
        line = await begun(call)
        line.listener.started(9)
        turn = slots.ask(Standing("other", rank=rank), Wish())
        assert turn.is_granted
        await trio.sleep(early.YIELD_S + 0.01)
        assert line.cancelled
        assert purse.spent == [9]
        await trio.sleep(STOP_S)
        turn.release()
        again = await call.stage.model.line(1)
        again.says("Here.")
        again.ends()
        await call.viewer.event("turn.trace")
        assert answer(call) == "Here."


async def test_many_that_are_begun_early_all_give_way(autojump_clock: MockClock):
    slots = LocalSlots(SlotTerms(2))
    async with talking(Purse(slots)) as one, talking(Purse(slots)) as other:
        lines = [await begun(one), await begun(other)]
        turns = [slots.ask(Standing("some"), Wish()) for _ in range(3)]
        assert [turn.is_granted for turn in turns] == [True, True, False]
        await trio.sleep(early.YIELD_S + 0.01)
        assert [line.cancelled for line in lines] == [True, True]
        for turn in turns:
            turn.release()


async def test_where_a_slot_is_not_given_at_once_nothing_is_begun_early(
    autojump_clock: MockClock,
):
    slots = RedisSlots(Address("127.0.0.1"), NodeId("here"))  # it has not been heard of
    slots.hold_to(SlotTerms(1))
    async with talking(Purse(slots)) as call:
        await call.speak("u1", WORDS)
        await call.viewer.event("turn.start")
        assert call.stage.model.lines == []
        slots.hold_to(SlotTerms())
        line = await call.stage.model.line(0)
        line.ends()
        await call.viewer.event("turn.trace")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "And the bonds")
        await call.send("speech.stop", utterance_id="u2")
        await trio.sleep(STOP_S - 0.1)
        assert len(call.stage.model.lines) == 2
        assert len(call.of("turn.start")) == 1


@define(eq=False)
class Broken:
    """Slots that fail whom they don't expect."""

    def refusal(self, standing: Standing) -> Problem | None: ...

    def ask(self, standing: Standing, wish: Wish) -> Claim:
        if standing.rank < 0:
            raise RuntimeError("no such rank")
        return FREE.ask(standing, wish)


async def test_of_a_failure_that_nobody_can_see_nobody_s_session_ends(autojump_clock: MockClock):
    async with talking(Purse(Broken())) as call:
        await call.speak("u1", WORDS)
        line = await call.stage.model.line(0)
        line.says("Here.")
        line.ends()
        await call.viewer.event("response.end", status="completed")
        assert call.of("error") == []


async def test_the_turn_takes_over_the_only_slot(autojump_clock: MockClock):
    slots = LocalSlots(SlotTerms(1))
    async with talking(Purse(slots)) as call:
        line = await begun(call)
        line.says("Here.")
        await call.viewer.event("model.token")
        assert len(call.stage.model.lines) == 1
        waits = slots.ask(Unlimited().standing, Wish())
        assert not waits.is_granted
        line.ends()
        await call.viewer.event("turn.trace")
        assert waits.is_granted
        waits.release()


async def test_nothing_is_begun_for_who_has_nothing_left_to_spend(autojump_clock: MockClock):
    async with talking(Purse(takes_words=False)) as call:
        await call.speak("u1", WORDS)
        await trio.sleep(STOP_S - 0.1)
        assert call.stage.model.lines == []


async def test_only_so_much_is_said_unseen(autojump_clock: MockClock):
    async with talking() as call:
        line = await begun(call)
        piece = "word " * 100
        while line.listener.heard(piece, 100):
            pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.listener.room)
            await trio.sleep(0.1)
            assert len(nursery.child_tasks) == 1
            await call.viewer.event("model.token")  # the turn has begun, and there is room
        line.ends()
        await call.viewer.event("turn.trace")
        assert len(answer(call)) >= early.MOST_UNSEEN_CHARS


async def test_an_answer_that_a_turn_has_goes_on_for_as_long_as_it_takes(
    autojump_clock: MockClock,
):
    async with talking() as call:
        line = await begun(call)
        line.says("Here ")
        await call.viewer.event("model.token")
        await trio.sleep(2 * early.KEPT_S)
        line.says("they are.")
        line.ends()
        await call.viewer.event("response.end", status="completed")
        assert answer(call) == "Here they are."


async def test_an_answer_that_no_turn_asks_for_is_given_up(autojump_clock: MockClock):
    purse = Purse()
    patient = Voice(pacing=Pacing(timeout_s=60.0), foresight=Foresight(stable_s=0.1))
    async with talking(purse, voice=patient) as call:
        line = await begun(call)
        line.listener.started(9)
        await call.send("speech.start", utterance_id="u2")  # and never becomes words
        await trio.sleep(early.KEPT_S + 0.1)
        assert line.cancelled
        assert purse.spent == [9]
        assert call.of("turn.start") == []


async def test_a_complete_answer_that_no_turn_asks_for_is_given_up(autojump_clock: MockClock):
    purse = Purse()
    patient = Voice(pacing=Pacing(timeout_s=60.0), foresight=Foresight(stable_s=0.1))
    async with talking(purse, voice=patient) as call:
        line = await begun(call)
        line.says("Too old.")
        line.ends()
        await call.send("speech.start", utterance_id="u2")  # and never becomes words
        await trio.sleep(early.KEPT_S - 0.2)
        assert purse.spent == []
        await trio.sleep(0.3)
        assert purse.spent == [5]
        await call.send("speech.stop", utterance_id="u2")
        again = await call.stage.model.line(1)
        again.says("Here.")
        again.ends()
        await call.viewer.event("turn.trace")
        assert answer(call) == "Here."


async def test_a_session_that_ends_throws_it_away(autojump_clock: MockClock):
    purse = Purse()
    async with talking(purse) as call:
        line = await begun(call)
        line.listener.started(4)
        call.session.end()
        await call.session.until_ended()
        assert line.cancelled
        assert purse.spent == [4]


@pytest.mark.parametrize("words", ["Show me the bonds", None])
async def test_a_model_whose_socket_breaks_when_it_is_thrown_away_breaks_nothing_else(
    words: str | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
):
    plain = Puppet.stream

    async def stream(model: Puppet, request: ModelRequest, listener: Listener) -> Completion:
        async def socket() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("the connection was closed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket)
            await plain(model, request, listener)
        raise AssertionError

    async with talking() as call:
        with monkeypatch.context() as patch:
            patch.setattr(Puppet, "stream", stream)
            first = await begun(call)
        if words is None:
            call.session.end()
            await call.session.until_ended()
        else:
            await call.hear("u1", words, final=True)
            second = await call.stage.model.line(1)
            second.says("Bonds.")
            second.ends()
            await call.viewer.event("response.end", status="completed")
        assert first.cancelled
        assert call.of("error") == []


# --- at every point ---------------------------------------------------------------------------


@define(eq=False)
class Vendor:
    """Answers each call with words that nobody else says, piece by piece."""

    call: Call
    step_s: float = 0.05

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            answered = 0
            while True:
                for number in range(answered, len(self.call.stage.model.lines)):
                    nursery.start_soon(self._answer, number)
                answered = len(self.call.stage.model.lines)
                await trio.sleep(0.02)  # of the virtual clock

    async def _answer(self, number: int) -> None:
        line = self.call.stage.model.lines[number]
        line.listener.started(100)
        for piece in range(8):
            await trio.sleep(self.step_s)
            if line.cancelled:
                return
            line.says(f"<{number}.{piece}>")
        line.ends()


async def _disturb(call: Call, how: str) -> None:
    match how:
        case "interrupt":
            await call.ask("interrupt")
        case "revise":
            await call.hear("u1", "Show me the bonds", final=True)
        case "agree":
            await call.hear("u1", "Show me the funds.", final=True)
        case "speak on":
            await call.send("speech.start", utterance_id="u2")
            await call.hear("u2", "and the bonds")
            await call.send("speech.stop", utterance_id="u2")
        case "type":
            await call.ask("say", text="What time is it?")
        case _:
            await call.ask("turn.end")


@pytest.mark.parametrize(
    "how", ["interrupt", "revise", "agree", "speak on", "type", "end the turn"]
)
async def test_whenever_something_happens_only_answers_to_the_turn_s_words_are_seen(
    how: str, autojump_clock: MockClock
):
    for at_ms in range(0, 1300, 50):
        purse = Purse()
        async with talking(purse) as call, trio.open_nursery() as nursery:
            vendor = Vendor(call)
            nursery.start_soon(vendor.run)
            await call.send("speech.start", utterance_id="u1")
            await call.hear("u1", WORDS)
            await call.send("speech.stop", utterance_id="u1")
            await trio.sleep(at_ms / 1000)
            await _disturb(call, how)
            await trio.sleep(5)
            _check_answers(call)
            await call.session.until_stopped()
            _check_accounts(call, purse)
            nursery.cancel_scope.cancel()


def _check_answers(call: Call) -> None:
    """Each piece of an answer is of a call that asked what its turn answers, whole and in order."""
    inputs = {e["turn_id"]: e["payload"]["input"] for e in call.of("turn.start")}
    assert inputs
    said: dict[str, str] = {}
    for token in call.of("model.token"):
        said[token["turn_id"]] = said.get(token["turn_id"], "") + token["payload"]["text"]
    for turn_id, text in said.items():
        number = int(text[1 : text.index(".")])
        whole = "".join(f"<{number}.{piece}>" for piece in range(8))
        assert whole.startswith(text)
        asked = call.stage.model.lines[number].request.messages[-1].content
        assert str(asked).rstrip(".").lower() == inputs[turn_id].rstrip(".").lower()
    ends = [e for e in call.of("turn.trace") if e["turn_id"] in inputs]
    assert len(ends) == len(inputs)


def _check_accounts(call: Call, purse: Purse) -> None:
    """Each call was counted once, on the timeline or as thrown away."""
    told = [e.payload for e in call.events() if isinstance(e.payload, ModelEnd)]
    assert len(purse.spent) == len(call.stage.model.lines)
    for end in told:
        assert end.usage.input_tokens + end.usage.output_tokens in purse.spent
