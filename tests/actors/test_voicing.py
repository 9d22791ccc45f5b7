"""What may be said aloud: claims wait for support, and what is left unsaid was not said."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import pytest
from trio.testing import MockClock

from bargein.agents.app import Agent
from bargein.models.client import INTERRUPTED, ToolUse
from bargein.protocol.events import Object, RetrieveResult, SessionConfigured, TtsChunk
from bargein.protocol.heard import without
from bargein.protocol.ids import CallId, ChunkId, turn_id
from bargein.protocol.projections import transcript
from bargein.protocol.recovery import closing_events
from bargein.tools.errors import ToolFailed
from bargein.tools.tool import ToolContext, tool
from tests.actors.calls import Call, on_the_line
from tests.protocol.timelines import Pen

Look: TypeAlias = Callable[[ToolContext], Any]

CLAIM = "Your balance is 700 euros."
CHUNK = ChunkId("c1")


def returning(value: Any) -> Look:
    return lambda _: value


SEES: Final = returning("500")


@asynccontextmanager
async def teller(look: Look = SEES, *, asks: bool = True) -> AsyncGenerator[Call]:
    """Have somebody on the line whose agent claims something, and then looks."""

    @tool(effect="read", name="look")
    async def looking(context: ToolContext) -> Any:
        """Look."""
        return look(context)

    async with on_the_line(agents=(Agent("teller", tools=(looking,)),)) as call:
        await call.ask("configure", voice=True)
        await call.speak("u1", "What is my balance?")
        line = await call.stage.model.line(0)
        line.says(f"Sure. {CLAIM} ")
        if asks:
            line.listener.tool_called(ToolUse(CallId("call_1"), "look", {}))
            line.ends("tool_use")
            await call.viewer.event("tool.result")
            await call.stage.model.line(1)
        yield call


def spoken(call: Call) -> list[str]:
    return [chunk["payload"]["text"] for chunk in call.of("tts.chunk")]


def refuse(_: ToolContext) -> Any:
    raise ToolFailed("The bank is closed.")


def find_nothing(context: ToolContext) -> Any:
    context.notes.note(RetrieveResult(()))
    return "No passage has any of these words."


def find(context: ToolContext) -> Any:
    context.notes.note(RetrieveResult(({"title": "Statement"},)))
    return ""


@pytest.mark.parametrize(
    "look",
    [
        refuse,
        find_nothing,
        returning(None),
        returning(" "),
        returning([]),
        returning({"rows": [], "note": ""}),
    ],
    ids=["failed", "found nothing", "none", "blank", "no rows", "no rows in it"],
)
async def test_what_finds_nothing_supports_no_claim(autojump_clock: MockClock, look: Look):
    async with teller(look) as call:
        call.stage.model.lines[1].ends()
        await call.viewer.event("turn.trace")
        assert spoken(call) == ["Sure."]
        withheld = await call.viewer.event("object", kind="speech.withheld")
        assert withheld["payload"]["data"]["text"] == CLAIM


@pytest.mark.parametrize("look", [find, returning(0), returning(False), returning({"rows": [1]})])
async def test_what_finds_something_supports_what_waited(autojump_clock: MockClock, look: Look):
    async with teller(look) as call:
        call.stage.model.lines[1].ends()
        await call.viewer.event("turn.trace")
        assert spoken(call) == ["Sure.", CLAIM]
        (claim,) = [c for c in call.of("tts.chunk") if c["payload"]["commitment"] == "claim"]
        assert claim["seq"] > call.of("tool.call")[0]["seq"]
        assert call.of("object") == []


async def test_a_search_that_found_nothing_takes_no_support_from_the_next_tool(
    autojump_clock: MockClock,
):
    async with teller(find_nothing) as call:
        line = call.stage.model.lines[1]
        line.listener.tool_called(ToolUse(CallId("call_2"), "missing", {}))
        line.ends("tool_use")
        line = await call.stage.model.line(2)
        assert spoken(call) == ["Sure."]
        line.ends()
        await call.viewer.event("turn.trace")
        assert len(call.of("object")) == 1


async def test_what_was_found_for_one_turn_supports_nothing_in_the_next(autojump_clock: MockClock):
    async with teller() as call:
        call.stage.model.lines[1].ends()
        await call.viewer.event("turn.trace")
        await call.speak("u2", "And my savings?")
        line = await call.stage.model.line(2)
        line.says("You have 900 euros. ")
        line.ends()
        await call.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        assert spoken(call) == ["Sure.", CLAIM]


async def test_what_was_left_unsaid_is_not_in_the_conversation(autojump_clock: MockClock):
    async with teller(asks=False) as call:
        line = call.stage.model.lines[0]
        line.says("Anything else?")
        line.ends()
        await call.viewer.event("turn.trace")
        assert spoken(call) == ["Sure.", "Anything else?"]
        (turn,) = transcript(call.session.state).turns
        assert (turn.assistant, turn.generated) == (
            "Sure. Anything else?",
            f"Sure. {CLAIM} Anything else?",
        )
        await call.speak("u2", "No, thanks.")
        line = await call.stage.model.line(1)
        told = [message.content for message in line.request.messages]
        assert told == ["What is my balance?", "Sure. Anything else?", "No, thanks."]
        end = await call.viewer.event("response.end")
        assert CLAIM in end["payload"]["text"]  # all that was generated


async def test_a_claim_that_waits_when_the_user_cuts_in_was_not_heard(autojump_clock: MockClock):
    async with teller(asks=False) as call:
        await call.viewer.event("tts.chunk", text="Sure.")
        await call.hear("u2", "No, my savings.", final=True)
        frozen = await call.viewer.event("cancel.stage", target="transcript")
        assert frozen["payload"]["heard"].strip() == "Sure."
        assert CLAIM in frozen["payload"]["text"]
        line = await call.stage.model.line(1)
        told = [message.content for message in line.request.messages]
        assert told[1] == f"Sure. {INTERRUPTED}"


async def test_a_claim_that_was_left_unsaid_is_not_heard_though_what_follows_it_is(
    autojump_clock: MockClock,
):
    async with teller(asks=False) as call:
        line = call.stage.model.lines[0]
        line.says("Anything else? Or not?")
        await call.viewer.event("tts.chunk", text="Sure.")
        chunk = call.of("tts.chunk")[0]["payload"]["chunk_id"]
        turn = call.of("tts.chunk")[0]["turn_id"]
        await call.ask("playback.start", turn_id=turn, chunk_id=chunk)
        line.ends()
        last = await call.viewer.event("tts.chunk", text="Or not?")
        await call.ask("playback.start", turn_id=turn, chunk_id=last["payload"]["chunk_id"])
        await call.ask("interrupt")
        frozen = await call.viewer.event("cancel.stage", target="transcript")
        heard, text = frozen["payload"]["heard"], frozen["payload"]["text"]
        assert text.startswith(heard)
        (shown,) = transcript(call.session.state).turns
        assert shown.assistant.strip() == "Sure. Anything else?"


def test_what_had_not_become_speech_when_the_server_died_was_not_said():
    pen, one = Pen(), turn_id(1)
    pen.open_session()
    pen.begin(one)
    pen.call_model(one)
    pen.say(one, "Sure. ", f"{CLAIM} ")
    pen.write(one, TtsChunk(CHUNK, "Sure.", "preface", 0, 5))
    after = Pen.after(pen.events)
    for turn, payload in closing_events(pen.state):
        after.write(turn, payload)
    assert after.state.turns[one].said == "Sure."
    assert [e.type for e in after.events].count("object") == 1


def test_a_typed_answer_that_breaks_off_is_kept_as_it_was_shown():
    pen, one = Pen(), turn_id(1)
    pen.open_session()
    pen.begin(one)
    pen.call_model(one)
    pen.say(one, f"Sure. {CLAIM} ")
    assert not [p for _, p in closing_events(pen.state) if isinstance(p, Object)]


@pytest.mark.parametrize(("voice", "said"), [(True, f"Sure. {CLAIM} "), (False, "")])
def test_how_an_answer_is_told_is_settled_when_its_turn_begins(voice: bool, said: str):
    pen, one = Pen(), turn_id(1)
    pen.open_session()
    pen.write(None, SessionConfigured({"voice": not voice}))
    pen.begin(one)
    pen.write(None, SessionConfigured({"voice": voice}))
    pen.call_model(one)
    pen.say(one, f"Sure. {CLAIM} ")
    after = Pen.after(pen.events)
    for turn, payload in closing_events(pen.state):
        after.write(turn, payload)
    assert after.state.turns[one].said == said


@pytest.mark.parametrize(
    ("places", "left"),
    [
        ((), "One. Two. Three."),
        (((0, 4),), "Two. Three."),
        (((5, 9), (10, 16)), "One."),
        (((10, 16),), "One. Two."),
        (((5, 400),), "One."),
    ],
)
def test_what_is_left_when_parts_are_taken_out(places: Any, left: str):
    assert without("One. Two. Three.", places) == left
