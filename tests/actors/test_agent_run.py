"""One agent: calls of its model, what is done about their failures, and what it hears."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bargein.actors.agent_run import GO_ON, MOST_PAUSES
from bargein.actors.cleaning import clean, cleaned, json_object
from bargein.actors.hearing import Hearing
from bargein.actors.messages import OutputMessage
from bargein.actors.phases import MOST_CHILDREN, Phases
from bargein.actors.turn import ModelCall, Turn
from bargein.agents.app import App
from bargein.agents.guardrail import Check, Verdict
from bargein.agents.planning import Titling
from bargein.models.client import (
    Completion,
    ContextOverflow,
    Message,
    ModelFailed,
    ModelRefused,
    ModelTimeout,
    Text,
    ToolUse,
    Usage,
)
from bargein.protocol.codec import encode_payload
from bargein.protocol.events import (
    Fault,
    GuardrailTripped,
    ModelEnd,
    ModelFallback,
    ModelRetry,
    ModelToken,
    Object,
    PlanReady,
    RecoveryEnd,
    SessionTitled,
    Status,
    Step,
    Unknown,
)
from bargein.protocol.ids import CallId, TurnId
from bargein.tools.tool import tool
from tests.actors.team import (
    PLANNER,
    TITLER,
    call,
    calls,
    fails,
    lone,
    plan,
    room,
    says,
    team,
    texts_in,
)
from tests.actors.test_turn import HandClock

SOLO = "I am solo"


@tool(effect="read")
async def look() -> str:
    """Look."""
    return "seen"


# --- from call to call ------------------------------------------------------------------------


async def test_what_is_said_around_a_tool_is_one_answer_in_paragraphs(
    autojump_clock: MockClock,
) -> None:
    playing = [calls(call("look"), text="Let me see."), says("It is ", "green.")]
    async with room(lone(look), {SOLO: playing}) as there:
        assert await there.converse() == "completed"
        assert there.text() == "Let me see.\n\nIt is green."
        second = there.model.asked(SOLO)[1].messages
        assert second[1] == Message("assistant", (Text("Let me see."), call("look")))


async def test_a_model_that_pauses_is_asked_to_go_on_but_not_for_ever(
    autojump_clock: MockClock,
) -> None:
    pausing = [says("One. ", stop="pause_turn"), says("", stop="pause_turn"), says("Two.")]
    async with room(lone(), {SOLO: pausing}) as there:
        assert await there.converse() == "completed"
        first, second, third = there.model.asked(SOLO)
        assert second.messages == (*first.messages, Message("assistant", (Text("One. "),)))
        assert third.messages == second.messages  # it had said nothing
    async with room(lone(), {SOLO: says("Hm.", stop="pause_turn")}) as there:
        assert await there.converse() == "completed"
        assert len(there.model.asked(SOLO)) == MOST_PAUSES + 1


async def test_calls_beyond_the_limit_are_not_run_and_the_model_is_told(
    autojump_clock: MockClock,
) -> None:
    uses = [call("look", number) for number in (1, 2, 3)]
    async with room(lone(look, tool_limit=2), {SOLO: [calls(*uses), says("So.")]}) as there:
        assert await there.converse() == "completed"
        last = there.model.asked(SOLO)[1].messages[-1]
        assert texts_in(last) == [GO_ON]
        assert len(cast("Any", last.content)) == 4
        assert len(there.types("turn_1", "tool.call")) == 2


# --- recovery --------------------------------------------------------------------------------


async def test_another_model_takes_over_where_one_fails(autojump_clock: MockClock) -> None:
    playing = [fails(ModelFailed(500)), fails(ModelFailed(500)), says("Fine.")]
    async with room(lone(fallbacks=("b", "c")), {SOLO: playing}) as there:
        assert await there.converse() == "completed"
        assert there.payloads(ModelFallback) == [
            ModelFallback("cast", "b"),
            ModelFallback("b", "c"),
        ]
        assert [request.model for request in there.model.asked(SOLO)] == [None, "b", "c"]
        assert [end.attempt for end in there.payloads(RecoveryEnd)] == [1, 2]


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        (fails(ModelFailed(500), text="Half "), "failed"),
        (fails(ModelFailed(500, began=True)), "failed"),
        (fails(ModelRefused()), "refused"),
    ],
    ids=["words were seen", "words were heard", "declined"],
)
async def test_nothing_is_tried_again_where_it_could_not_help(
    failing: Any, status: str, autojump_clock: MockClock
) -> None:
    async with room(lone(fallbacks=("b",)), {SOLO: [failing, says("Fine.")]}) as there:
        assert await there.converse() == status
        assert len(there.model.asked(SOLO)) == 1


async def test_words_that_nobody_saw_may_break_off_and_be_said_again(
    autojump_clock: MockClock,
) -> None:
    broken_off = fails(ModelFailed(500, began=True), text="fou")
    late = fails(ModelTimeout("gap", 1.0, began=True), text="f")
    playing = {
        PLANNER: plan("alf", "bea"),
        "I am alf": [broken_off, late, says("found")],
        "I am bea": says("So."),
    }
    async with room(team("alf", "bea"), playing) as there:
        assert await there.converse() == "completed"
        assert there.payloads(Object)[0].data["text"] == "found"
        assert [retry.cause for retry in there.payloads(ModelRetry)] == [
            "model_error",
            "model_timeout",
        ]


async def talk(there: Any, turns: int) -> None:
    for number in range(turns):
        assert await there.converse(f"q{number}") == "completed"


async def test_a_conversation_that_is_too_long_loses_its_older_half(
    autojump_clock: MockClock,
) -> None:
    playing = [says("a0"), says("a1"), says("a2"), fails(ContextOverflow()), says("Fine.")]
    async with room(lone(), {SOLO: playing}) as there:
        await talk(there, 3)
        assert await there.converse("q3") == "completed"
        told = [message.content for message in there.model.asked(SOLO)[-1].messages]
        assert told == ["q2", "a2", "q3"]
        assert there.payloads(Status) == [
            Status("The conversation is long: its 4 oldest messages are left out.")
        ]


async def test_the_outcome_of_a_tool_is_never_left_without_its_call(
    autojump_clock: MockClock,
) -> None:
    playing = [
        says("a0"),
        calls(call("look")),
        calls(call("look", 2)),
        fails(ContextOverflow()),
        fails(ContextOverflow()),
        says("unreached"),
    ]
    async with room(lone(look), {SOLO: playing}) as there:
        assert await there.converse("q0") == "completed"
        assert await there.converse("q1") == "failed"
        # The turn's own words are the last place where it can begin; then nothing is left to cut.
        shortened = there.model.asked(SOLO)[-1].messages
        assert shortened[0].content == "q1"
        assert len(shortened) == 5
        assert [fault.code for fault in there.payloads(Fault)] == ["context_overflow"]


async def test_a_conversation_of_one_message_cannot_be_shortened(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(), {SOLO: fails(ContextOverflow())}) as there:
        assert await there.converse() == "failed"
        assert len(there.model.asked(SOLO)) == 1


async def test_what_is_left_out_may_be_summarised_once(autojump_clock: MockClock) -> None:
    overflow = fails(ContextOverflow())
    playing = [says("a0"), overflow, says("We said a0."), overflow, says("Fine.")]
    async with room(lone(overflow="summarise"), {SOLO: playing}) as there:
        assert await there.converse("q0") == "completed"
        assert await there.converse("q1") == "completed"
        requests = there.model.asked(SOLO)
        third = [message.content for message in requests[3].messages]
        assert third == ["Summarise what we have said so far.", "We said a0.", "q1"]
        # Still too long: a summary of the summary would go on for ever.
        assert [message.content for message in requests[4].messages] == ["q1"]
        told = [status.text.rpartition(" ")[2] for status in there.payloads(Status)]
        assert told == ["summarised.", "out."]


async def test_where_no_summary_can_be_had_the_older_half_is_left_out(
    autojump_clock: MockClock,
) -> None:
    playing = [says("a0"), fails(ContextOverflow()), fails(ModelRefused()), says("Fine.")]
    async with room(lone(overflow="summarise"), {SOLO: playing}) as there:
        assert await there.converse("q0") == "completed"
        assert await there.converse("q1") == "completed"
        assert [message.content for message in there.model.asked(SOLO)[-1].messages] == ["q1"]


# --- models are somebody else's code ----------------------------------------------------------


async def test_a_model_whose_numbers_are_none_fails_its_turn_and_not_the_session(
    autojump_clock: MockClock,
) -> None:
    completions: list[Any] = [
        None,
        Completion("end_turn", Usage(cast("Any", math.nan), 1, estimated=False)),
        Completion(cast("Any", None), Usage(1, 1, estimated=False)),
    ]
    for completion in completions:

        async def take(_: Any, listener: Any, completion: Any = completion) -> Any:
            return completion

        async with room(lone(), {SOLO: [take, says("Fine.")]}) as there:
            assert await there.converse() == "failed"
            assert await there.converse() == "completed"


async def test_lone_surrogates_of_models_become_replacement_characters_everywhere(
    autojump_clock: MockClock,
) -> None:
    async def check(_: str) -> Verdict:
        return Verdict(passed=True)

    async def retries(_: Any, listener: Any) -> Any:
        listener.retrying(2, math.nan, "\ud800")
        listener.heard("a \ud83d", 1)
        listener.heard("\ude00 ü \U0001f388", 1)
        return Completion("e\ud800", Usage(1, 1, estimated=False))

    planned = '{"steps": [{"title": "T\ud800", "agent": "alf"}, {"title": "U", "agent": "bea"}]}'
    app = team("alf", "bea", titling=Titling(), guardrails=(Check("c", check),))
    playing = {
        PLANNER: says(planned),
        TITLER: says("My \ud800 title"),
        "I am alf": says("f\ud800und"),
        "I am bea": retries,
    }
    async with room(app, playing) as there:
        assert await there.converse() == "completed"
        assert there.payloads(PlanReady)[0].steps[0] == Step("step_1", "T\ufffd", "alf")
        assert there.payloads(SessionTitled) == [SessionTitled("My \ufffd title")]
        assert there.payloads(Object)[0].data["text"] == "f\ufffdund"
        assert "f\ufffdund" in there.model.asked("I am bea")[0].system
        assert there.payloads(ModelRetry) == [ModelRetry(2, 0.0, "\ufffd")]
        assert there.text() == "a \ufffd\ufffd ü \U0001f388"
        assert "".join(token.text for token in there.payloads(ModelToken)) == there.text()
        assert there.payloads(ModelEnd)[-1].stop_reason == "e\ufffd"


async def test_an_apps_own_words_are_mended_before_they_are_written(
    autojump_clock: MockClock,
) -> None:
    async def check(_: str) -> Verdict:
        return Verdict(passed=False, reason="No \ud800.")

    app = App("a", lone().agents, guardrails=(Check("c\ud800", check),))
    async with room(app, {SOLO: says("Hi")}) as there:
        assert await there.converse() == "refused"
        assert there.payloads(GuardrailTripped) == [GuardrailTripped("c\ufffd", "No \ufffd.")]


# --- hearing by itself ------------------------------------------------------------------------


class Outlet:
    """Takes messages while there is room."""

    def __init__(self, rooms: int = 0) -> None:
        self.rooms = rooms
        self.taken: list[Any] = []

    def offer(self, message: OutputMessage) -> bool:
        self.rooms -= 1
        if self.rooms >= 0:
            self.taken.append(message)
        return self.rooms >= 0

    async def tell(self, message: OutputMessage) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.append(message)


def hearing(outlet: Any, *, speaks: bool = True, phases: Phases | None = None) -> Hearing:
    turn = Turn(TurnId("turn_1"), "Go", Phases(HandClock(), 0.0, "input"))
    return Hearing(turn, ModelCall("one"), outlet, speaks, phases)


async def test_what_has_no_room_is_joined_and_kept_in_order() -> None:
    outlet = Outlet(1)
    ear = hearing(outlet)
    ear.heard("a", 1)
    ear.heard("b", 1)
    outlet.rooms = 9
    ear.heard("c", 2)  # there is room again, but not before "b"
    await ear.room()
    assert [(spoken.text, spoken.deltas) for spoken in outlet.taken] == [("a", 1), ("bc", 3)]
    await ear.room()
    assert len(outlet.taken) == 2


async def test_retries_wait_for_room_too() -> None:
    outlet = Outlet(0)
    ear = hearing(outlet)
    ear.retrying(2, 0.5, "model_error")
    await ear.room()
    assert [noted.drafts for noted in outlet.taken] == [(ModelRetry(2, 500.0, "model_error"),)]


async def test_who_is_cancelled_while_there_is_no_room_keeps_all_for_the_next_time() -> None:
    outlet = Outlet(0)
    ear = hearing(outlet)
    ear.retrying(2, 0.5, "model_error")
    ear.heard("a", 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ear.room()  # in the retry
    assert outlet.taken == []
    await ear.room()
    assert [type(message).__name__ for message in outlet.taken] == ["Noted", "Spoken"]
    ear.heard("b", 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ear.room()  # in the text
    ear.heard("c", 2)
    await ear.room()
    assert [(spoken.text, spoken.deltas) for spoken in outlet.taken[1:]] == [("a", 1), ("bc", 3)]


def test_words_that_are_not_for_the_user_are_only_kept() -> None:
    outlet = Outlet(9)
    ear = hearing(outlet, speaks=False)
    ear.started(7)
    ear.heard("secret", 1)
    assert (ear.said, outlet.taken) == (["secret"], [])


def test_the_first_words_begin_the_phase_of_streaming() -> None:
    phases = Phases(HandClock(), 0.0, "input")
    ear = hearing(Outlet(9), speaks=False, phases=phases)
    ear.heard("a", 1)
    ear.heard("b", 1)
    assert [span.name for span in phases.end()[0]] == ["input", "model.stream"]


def test_calls_that_bear_one_name_get_one_each() -> None:
    ear = hearing(Outlet(9))
    for _ in range(3):
        ear.tool_called(call("look"))
    assert [use.call_id for use in ear.calls] == ["call_1", "call_1.2", "call_1.3"]
    assert ear.as_blocks() == tuple(ear.calls)


def test_a_text_of_blanks_is_not_repeated_to_the_model() -> None:
    ear = hearing(Outlet(9))
    ear.heard(" \n", 1)
    assert ear.as_blocks() == ()


@pytest.mark.parametrize(
    "args",
    [{"x": math.inf}, {"x": {1}}, {"x": 2**60}, {1: "a", "1": "b"}, {(1,): 2}],
    ids=["infinite", "a set", "too large", "twice", "no key"],
)
def test_arguments_that_are_no_json_are_malformed(args: Any) -> None:
    ear = hearing(Outlet(9))
    ear.tool_called(ToolUse(CallId("call_1"), "look", args))
    (use,) = ear.calls
    assert use.args == {}
    assert use.malformed


def test_arguments_without_an_end_are_malformed() -> None:
    endless: dict[str, Any] = {}
    endless["x"] = endless
    ear = hearing(Outlet(9))
    ear.tool_called(ToolUse(CallId("call_1"), "look", endless))
    assert ear.calls[0].malformed


# --- clean text -------------------------------------------------------------------------------

surrogates = st.characters(min_codepoint=0xD700, max_codepoint=0xE0FF, categories=("Cs", "L", "So"))
texts = st.text(st.characters() | surrogates)


@given(texts)
def test_clean_text_can_be_encoded_and_has_the_same_length(text: str) -> None:
    assert len(clean(text).encode("utf-16-le")) >= 2 * len(text)
    assert len(clean(text)) == len(text)
    assert clean(clean(text)) == clean(text)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_text_that_is_clean_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(
    st.recursive(
        texts | st.integers() | st.none(), lambda i: st.lists(i) | st.dictionaries(texts, i)
    )
)
def test_cleaned_payloads_can_be_encoded(value: Any) -> None:
    assert encode_payload(cleaned(Object("x", value)))
    assert encode_payload(cleaned(Unknown("later", {"x": (value,)})))


def test_steps_of_a_plan_are_cleaned_too() -> None:
    assert cleaned(PlanReady((Step("a", "\ud800", "b"),))) == PlanReady((Step("a", "\ufffd", "b"),))


def test_json_is_read_as_everybody_reads_it() -> None:
    assert json_object({"a": (1, 2.5), "b": {"c\ud800": None}}) == {
        "a": [1, 2.5],
        "b": {"c\ufffd": None},
    }


# --- phases within phases ---------------------------------------------------------------------


def test_children_lie_within_their_phase_and_behind_it_in_the_list() -> None:
    clock = HandClock()
    phases = Phases(clock, 0.0, "tools")
    with phases.child("tool:a"):
        clock.s = 1.0
        with phases.child("tool:b"):
            clock.s = 3.0
    phases.enter("model")
    clock.s = 4.0
    spans, total_ms = phases.end()
    assert [(s.name, s.start_ms, s.ms, s.parent or None) for s in spans] == [
        ("tools", 0.0, 3000.0, None),
        ("tool:b", 1000.0, 2000.0, "tools"),
        ("tool:a", 0.0, 3000.0, "tools"),
        ("model", 3000.0, 1000.0, None),
    ]
    assert total_ms == 4000.0


def test_a_child_has_phases_of_its_own() -> None:
    clock = HandClock()
    phases = Phases(clock, 0.0, "stages")
    with phases.child("stage:a") as inner:
        clock.s = 1.0
        inner.enter("model")
        with inner.child("tool:x"):
            clock.s = 2.0
        clock.s = 3.0
    spans, _ = phases.end()
    assert [(s.name, s.start_ms, s.ms, s.parent or None) for s in spans] == [
        ("stages", 0.0, 3000.0, None),
        ("stage:a", 0.0, 3000.0, "stages"),
        ("model", 1000.0, 2000.0, "stage:a"),
        ("tool:x", 1000.0, 1000.0, "stage:a"),
    ]


def test_a_child_ends_with_its_phase_also_where_its_block_goes_on() -> None:
    clock = HandClock()
    phases = Phases(clock, 0.0, "tools")
    with phases.child("tool:a") as inner:
        clock.s = 1.0
        phases.enter("cancel")
        clock.s = 5.0
        inner.enter("late")
    spans, _ = phases.end()
    assert [(s.name, s.ms) for s in spans] == [
        ("tools", 1000.0),
        ("tool:a", 1000.0),
        ("cancel", 4000.0),
    ]


def test_a_trace_has_a_limit_and_still_adds_up() -> None:
    clock = HandClock()
    phases = Phases(clock, 0.0, "tools")
    for number in range(MOST_CHILDREN + 5):
        with phases.child(f"tool:{number}"):
            clock.s += 1.0
    phases.enter("model")
    spans, total_ms = phases.end()
    assert len(spans) == MOST_CHILDREN + 2
    assert sum(span.ms for span in spans if not span.parent) == total_ms
