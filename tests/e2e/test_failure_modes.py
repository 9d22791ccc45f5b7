"""The five ways in which agents that talk fail, by name.

Each has a story and a rule that reads what came of it.  The product keeps the rule; with the bug
planted that is the usual cause, the same story breaks it: so the rule sees what it is there for.
"""

# A bug is planted where the product is soft: inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

import pytest
import trio
import trio.testing
from attrs import frozen
from trio.testing import MockClock

from bargein.actors.answers import Answer
from bargein.actors.floor import Floor
from bargein.actors.messages import Spoken
from bargein.actors.output import Output
from bargein.actors.speaking import Speaking
from bargein.actors.voicing import VoicedOutlet
from bargein.agents.app import Agent
from bargein.models.client import ToolUse
from bargein.protocol.events import (
    AsrFinal,
    CancelRequested,
    Event,
    ModelToken,
    Payload,
    ToolResult,
    TtsChunk,
    TurnStart,
)
from bargein.protocol.ids import CallId, TurnId
from bargein.protocol.state import fold
from bargein.speech.meaning import same_words
from bargein.tools.tool import tool
from tests.actors.calls import Call, on_the_line
from tests.simulation.acting_mutants import ACTING_MUTANTS
from tests.simulation.planted import Mutant, Patch

Story: TypeAlias = Callable[[], Awaitable[list[str]]]


# --- ghost speech: words of a turn that was interrupted ------------------------------------


async def ghost_speech() -> list[str]:
    """A vendor goes on sending after the user has cut in."""
    async with on_the_line(held_to_rules=False) as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "List my funds.", said="Let me look. ")
        await call.hear("u2", "No, the other ones")
        await call.viewer.event("cancel.requested", by="speech")
        call.stage.model.lines[0].says("This is a ghost. ")
        await call.viewer.event("cancel.ack")
        await call.ask("configure")  # behind whatever was still on its way
        return list(_spoken_after_cancel(call.events(), TurnId(turn_id)))


def _spoken_after_cancel(events: Sequence[Event], turn_id: TurnId) -> Iterator[str]:
    cancelled = False
    for event in events:
        if event.turn_id != turn_id:
            continue
        if cancelled and isinstance(event.payload, ModelToken | TtsChunk):
            yield f"{event.type} at {event.seq} comes after cancel.requested"
        cancelled = cancelled or isinstance(event.payload, CancelRequested)


def _gate_left_open() -> Sequence[Patch]:
    def speak(self: Output, spoken: Spoken, texts: list[str], deltas: int) -> None:
        if text := "".join(texts):
            self._scribe.write(spoken.turn.id, ModelToken(text, deltas))

    return [(Output, "_speak", speak)]


# --- transcript mismatch: an answer to what was never said ----------------------------------


async def transcript_mismatch() -> list[str]:
    """The recogniser thinks again when the answer has begun."""
    async with on_the_line(held_to_rules=False) as call:
        await call.converse("u1", "Fly to Austin.")
        await call.hear("u1", "Fly to Boston.", final=True)
        with suppress(trio.TooSlowError):
            await call.viewer.event("turn.start", input="Fly to Boston.")
        return list(_answers_to_other_words(call.events()))


def _answers_to_other_words(events: Sequence[Event]) -> Iterator[str]:
    said: dict[str, str] = {}
    answered: dict[str, str] = {}
    for event in events:
        match event.payload:
            case AsrFinal(utterance_id=who, text=text):
                said[who] = text
            case TurnStart(input=words, utterances=utterances) if utterances:
                answered.update((spoken.utterance_id, words) for spoken in utterances)
            case _:
                pass
    for who, words in said.items():
        if not same_words(answered.get(who, ""), words):
            yield f"{who} said {words!r}, and {answered.get(who)!r} is answered"


def _revisions_ignored() -> Sequence[Patch]:
    def nothing(self: Floor, known: Any, heard: Any, now_s: float) -> None:
        del self, known, heard, now_s

    return [(Floor, "correct", nothing)]


# --- state drift: what the server knows is not what it says ---------------------------------


async def state_drift() -> list[str]:
    """Two clients and the server fold the same events, one of them all from the beginning."""
    async with on_the_line(held_to_rules=False) as call:
        await call.converse("u1", "List my funds.")
        call.stage.model.lines[0].ends()
        await call.viewer.event("turn.trace")
        late = await call.stage.attend(call.session)
        await late.until(lambda frame: frame.get("seq") == call.session.state.seq)
        told = fold(call.events())
        view = await call.ask("projection", name="session")
        drifted = [
            f"`{name}` differs"
            for name in ("title", "config", "turns", "utterances", "queue", "actions")
            if getattr(told, name) != getattr(call.session.state, name)
        ]
        return drifted + [
            f"the view says {view['result']['title']!r}"
            for _ in range(view["result"]["title"] != told.title)
        ]


def _hidden_state() -> Sequence[Patch]:
    note = Speaking._note

    def keeps_to_itself(
        self: Speaking, payload: Payload, answer: Answer, then: Callable[[], None] | None = None
    ) -> bool:
        self._state.title = f"about {payload.type}"
        return note(self, payload, answer, then)

    return [(Speaking, "_note", keeps_to_itself)]


# --- double action: done twice, or done although the user cut in ------------------------------


async def double_action() -> list[str]:
    """Two devices confirm the same payment, and one that was interrupted is confirmed late."""
    done: list[int] = []
    release = trio.Event()

    @tool(name="pay", summary="Pay {amount}")
    async def pay(amount: int) -> str:
        """Pay."""
        done.append(amount)
        await release.wait()
        return "paid"

    async with on_the_line(agents=(Agent("teller", tools=(pay,)),), held_to_rules=False) as call:
        first = await _proposed(call, "u1", "Pay three.", 3)
        call.stage.model.lines[-1].ends()
        await call.viewer.event("turn.trace")
        await call.stage.send(call.session, call.viewer, "confirm", confirmation_id=first)
        await call.viewer.event("action.committing")
        await call.stage.send(call.session, call.viewer, "confirm", confirmation_id=first)
        await trio.testing.wait_all_tasks_blocked(0.05)
        release.set()
        await call.viewer.event("action.committed")
        late = await _proposed(call, "u2", "Pay four.", 4)
        await call.hear("u3", "No, stop")
        await call.viewer.event("cancel.ack")
        refused = await call.ask("confirm", confirmation_id=late)
        assert refused["type"] == "error"
        return [f"{amount} was paid {done.count(amount)} times" for amount in (3, 4)
                if done.count(amount) != (amount == 3)]  # fmt: skip


async def _proposed(call: Call, who: str, words: str, amount: int) -> str:
    number = len(call.stage.model.lines)
    await call.speak(who, words)
    line = await call.stage.model.line(number)
    line.listener.tool_called(ToolUse(CallId(f"call_{who}"), "pay", {"amount": amount}))
    line.ends("tool_use")
    proposed = await call.viewer.event("action.proposed", args={"amount": amount})
    (await call.stage.model.line(number + 1)).says("Shall I?")
    return proposed["payload"]["confirmation_id"]


# --- early claims: said before anything supports it ------------------------------------------


async def early_claims() -> list[str]:
    """A model that knows the answer before it has looked."""
    looked = trio.Event()

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        await looked.wait()
        return "500"

    async with on_the_line(agents=(Agent("teller", tools=(look,)),), held_to_rules=False) as call:
        await call.ask("configure", voice=True)
        await call.speak("u1", "What is my balance?")
        line = await call.stage.model.line(0)
        line.says("Sure, let me look. Your balance is 700 euros. ")
        await call.viewer.event("tts.chunk", commitment="preface", text="Sure, let me look.")
        line.listener.tool_called(ToolUse(CallId("call_1"), "look", {}))
        line.ends("tool_use")
        await call.viewer.event("tool.call")
        looked.set()
        line = await call.stage.model.line(1)
        line.says("It is 500 euros. ")
        line.ends()
        await call.viewer.event("turn.trace")
        return list(_claims_before_support(call.events()))


def _claims_before_support(events: Sequence[Event]) -> Iterator[str]:
    supported: set[TurnId | None] = set()
    claims = 0
    for event in events:
        match event.payload:
            case ToolResult(status="ok"):
                supported.add(event.turn_id)
            case TtsChunk(commitment="claim", text=text):
                claims += 1
                if event.turn_id not in supported:
                    yield f"{text!r} is said before anything supports it"
            case TtsChunk(text=text) if "euros" in text:
                yield f"{text!r} is called a preface"
            case _:
                pass
    if not claims:
        yield "nothing was claimed at all"


def _takes_it_for_granted() -> Sequence[Patch]:
    hear = VoicedOutlet._hear

    def trusting(self: VoicedOutlet, message: Any) -> None:
        self._supported = True
        hear(self, message)

    return [(VoicedOutlet, "_hear", trusting)]


# ------------------------------------------------------------------------------------------------


@frozen
class Mode:
    """A way to fail, and the bug that leads there."""

    name: str
    story: Story
    bug: Mutant


_SECOND_YES: Final = next(bug for bug in ACTING_MUTANTS if bug.name == "second_yes")

MODES: Final = (
    Mode("ghost speech", ghost_speech, Mutant("gate_left_open", "I13", _gate_left_open)),
    Mode("transcript mismatch", transcript_mismatch, Mutant("deaf", "C5", _revisions_ignored)),
    Mode("state drift", state_drift, Mutant("hidden_state", "C2", _hidden_state)),
    Mode("double action", double_action, _SECOND_YES),
    Mode("early claims", early_claims, Mutant("trusting", "C6", _takes_it_for_granted)),
)

by_name = pytest.mark.parametrize("mode", MODES, ids=[mode.name for mode in MODES])


@by_name
async def test_it_cannot_happen(autojump_clock: MockClock, mode: Mode):
    assert await mode.story() == []


@by_name
async def test_it_is_seen_where_its_bug_is_planted(autojump_clock: MockClock, mode: Mode):
    with mode.bug.planted():
        assert await mode.story() != []


async def test_a_claim_that_nothing_supports_is_left_unsaid_and_noted(autojump_clock: MockClock):
    @tool(effect="read")
    async def look() -> str:
        """Look."""
        return "500"

    async with on_the_line(agents=(Agent("teller", tools=(look,)),)) as call:
        await call.ask("configure", voice=True)
        await call.speak("u1", "What is my balance?")
        line = await call.stage.model.line(0)
        line.says("Sure. Your balance is 700 euros. Anything else?")
        line.ends()
        await call.viewer.event("turn.trace")
        spoken = [chunk["payload"]["text"] for chunk in call.of("tts.chunk")]
        assert spoken == ["Sure.", "Anything else?"]
        withheld = await call.viewer.event("object", kind="speech.withheld")
        assert withheld["payload"]["data"]["text"] == "Your balance is 700 euros."
