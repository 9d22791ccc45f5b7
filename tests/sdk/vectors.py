"""Vectors that hold the JavaScript fold to the server's: python -m tests.sdk.vectors writes them.

Each has the events of a timeline, and at some seqs every projection as the server computes it.
The timelines were recorded once, from the stories of the protocol's tests and from whole
simulated sessions; what a test computes again is what they come to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from bargein.protocol.codec import decode_event, encode_event, session_prefix
from bargein.protocol.commands import ProjectionName
from bargein.protocol.events import (
    AsrFinal,
    AsrPartial,
    AudioReceived,
    Event,
    InputDropped,
    InputText,
    Object,
    PlanReady,
    PlanStep,
    PlaybackPaused,
    PlaybackProgress,
    PlaybackResumed,
    PlaybackStart,
    SpeechStarted,
    SpeechStopped,
    SpokenInput,
    Step,
    TtsChunk,
    TurnStart,
)
from bargein.protocol.ids import NOTHING, ChunkId, CommandId, Seq, UtteranceId, turn_id
from bargein.protocol.projections import project
from bargein.protocol.state import SessionState
from tests.project.tree import ROOT
from tests.protocol.acts import STORIES, story
from tests.protocol.timelines import Pen, barge_in, long_session
from tests.simulation.history import play

VECTORS: Final = ROOT / "tests" / "sdk" / "vectors"

MOST_EVENTS: Final = 4000
_EVERY: Final = 16
_SHORT: Final = 40
"""A timeline up to this length is looked at behind every event."""

WANTED: Final = (
    "cancel.ack",
    "input.dropped",
    "replaces",
    "continues",
    '"queued":true',
    '"steered":true',
    "session.closed",
    "session.configured",
    "action.committed",
    "action.rejected",
    "action.expired",
    "action.failed",
    "action.in_doubt",
    "action.reverted",
    "action.revert_failed",
    '"failed"',
)
"""What the recorded sessions have to show between them."""


def frames_of(events: Iterable[Event]) -> list[bytes]:
    """Return events as the server sends them."""
    return [
        encode_event(
            session_prefix(event.session_id),
            event.seq,
            event.ts.encode(),
            event.turn_id,
            event.parent_event_id,
            event.payload,
        )
        for event in events
    ]


def planned() -> list[Event]:
    """Return a plan that an interrupt leaves half done, and queued words that begin later."""
    pen = Pen()
    pen.open_session()
    one, two, three = turn_id(1), turn_id(2), turn_id(3)
    pen.begin(one)
    steps = (Step("s1", "Look", "reader"), Step("s2", "Say", "writer"), Step("s3", "End", "writer"))
    pen.write(one, PlanReady(steps), PlanStep("s1", "done"), PlanStep("s2", "active"))
    pen.write(two, InputText("Later 😀.", CommandId("q1"), queued=True))
    pen.call_model(one)
    pen.say(one, "Naïve ", "😀 text ")
    pen.cancel(one, 7)
    # These words interrupted, so they go before those that wait: turn_2 reads last.
    pen.begin(three)
    pen.end(three)
    pen.begin(two)
    pen.call_model(two)
    pen.say(two, "At last.")
    pen.end_model(two)
    pen.end(two)
    return pen.events


def failed() -> list[Event]:
    """Return a plan that a failure leaves half done, and the turn that takes it up again."""
    pen = Pen()
    pen.open_session()
    one, two = turn_id(1), turn_id(2)
    pen.begin(one)
    steps = (Step("s1", "Look", "reader", group=1), Step("s2", "Ask", "reader", group=1))
    pen.write(one, PlanReady(steps), PlanStep("s1", "active"))
    pen.end(one, "failed")
    pen.begin(two, start=TurnStart("Hello?", continues=one))
    pen.end(two)
    return pen.events


def preempted() -> list[Event]:
    """Return a turn that is pre-empted, and goes on before the words that wait."""
    pen = Pen()
    pen.open_session()
    one, two, three = turn_id(1), turn_id(2), turn_id(3)
    pen.begin(one)
    pen.say(one, "Half ", "an answer")
    pen.write(two, InputText("And then?", CommandId("q1"), queued=True))
    pen.cancel(one, 5, by="preempted")
    pen.go_on(three, one)
    pen.end(three)
    pen.begin(two)
    pen.end(two)
    return pen.events


def given_up() -> list[Event]:
    """Return pre-empted turns that don't go on: given up while waiting, and before that."""
    pen = Pen()
    pen.open_session()
    one, two, three = turn_id(1), turn_id(2), turn_id(3)
    pen.begin(one)
    pen.cancel(one, 0, by="preempted")
    pen.write(None, InputDropped(CommandId("stop1"), "interrupted", one))
    pen.begin(two)
    pen.write(None, InputDropped(None, "interrupted", two))
    pen.cancel(two, 0, by="preempted")
    pen.begin(three)
    pen.cancel(three, 0, by="preempted")
    return pen.events


def spoken() -> list[Event]:
    """Return a conversation by voice: revisions, an aside, an interruption, a correction."""
    pen = Pen()
    pen.open_session()
    one, two, three = turn_id(1), turn_id(2), turn_id(3)
    ask, aside, cut = UtteranceId("u1"), UtteranceId("u2"), UtteranceId("u3")
    pen.write(None, SpeechStarted(ask), AsrPartial(ask, 0, "Fly to"), AsrPartial(ask, 1, "  "))
    pen.write(None, AsrFinal(ask, 2, "Fly to Austin."), SpeechStopped(ask))
    heard = (SpokenInput(ask, 2),)
    pen.begin_spoken(one, TurnStart("Fly to Austin.", utterances=heard))
    pen.call_model(one)
    pen.say(one, "Let me look. ", "It leaves at noon. ")
    pen.write(one, TtsChunk(ChunkId("c1"), "Let me look.", "preface", 0, 12))
    pen.write(one, TtsChunk(ChunkId("c2"), "It leaves at noon.", "claim", 13, 31))
    pen.write(one, PlaybackStart(ChunkId("c2"), (100.0, 200.0, 300.0, 400.0)))
    pen.write(one, PlaybackProgress(chunk_id=ChunkId("c2"), offset_ms=250.0))
    pen.write(None, SpeechStarted(aside), AsrFinal(aside, 0, "mhm"), SpeechStopped(aside))
    pen.write(one, PlaybackPaused("speech"), PlaybackResumed("backchannel", (aside,), 400.0))
    pen.write(None, AsrFinal(ask, 3, "Fly to Boston."))
    pen.cancel(one)
    corrected = TurnStart(
        "Fly to Boston.", replaces=one, utterances=(SpokenInput(ask, 3),), corrects=one
    )
    pen.begin_spoken(two, corrected)
    pen.end(two)
    pen.write(None, SpeechStarted(cut), AsrFinal(cut, 0, "And back"), AsrPartial(cut, 1, "And a"))
    pen.begin_spoken(three, TurnStart("And a", utterances=(SpokenInput(cut, 1),)))
    pen.end(three)
    return pen.events


def spoken_over() -> list[Event]:
    """Return a cough that becomes an aside, one in sound alone, and words that wait their turn."""
    pen = Pen()
    pen.open_session()
    one, two = turn_id(1), turn_id(2)
    pen.begin(one)
    cough, hum, wait = UtteranceId("u4"), UtteranceId("u5"), UtteranceId("u6")
    pen.write(None, SpeechStarted(cough))
    pen.write(None, AudioReceived(hum, 0, 3, "0" * 64, "pcm16"))
    pen.write(one, PlaybackPaused("speech"), PlaybackResumed("noise", (cough, hum), 1000.0))
    pen.write(None, AsrFinal(cough, 1, "mhm"), AsrFinal(hum, 0, "hm"))
    pen.write(None, AsrPartial(wait, 0, "Sell fifty"))
    said = (SpokenInput(wait, 0),)
    pen.write(two, InputText("Sell fifty", queued=True, utterances=said))
    pen.write(None, AsrFinal(wait, 1, "Sell fifteen."))
    pen.end(one)
    pen.begin_spoken(two, TurnStart("Sell fifteen.", utterances=(SpokenInput(wait, 1),)))
    pen.end(two)
    return pen.events


def spoken_aside() -> list[Event]:
    """Return asides that say so, words that were refused, and a claim that was left unsaid."""
    pen = Pen()
    pen.open_session()
    one, two = turn_id(1), turn_id(2)
    pen.begin(one)
    pen.call_model(one)
    pen.say(one, "Sure \U0001f642. ", "You have 700 euros. ", "And 5. ", "Anything else?")
    left = {"text": "You have 700 euros. And 5.", "places": [[8, 27], [28, 34]]}
    pen.write(one, TtsChunk(ChunkId("c1"), "Sure \U0001f642.", "preface", 0, 7))
    pen.write(one, Object("speech.withheld", left))
    nod, no = UtteranceId("u1"), UtteranceId("u2")
    pen.write(None, AsrPartial(nod, 0, "right", aside=True), AsrPartial(no, 0, "No, the"))
    pen.write(None, AsrPartial(nod, 1, "right but", aside=False))
    pen.write(None, AsrFinal(nod, 2, "Right.", aside=True), AsrFinal(no, 1, "No, the other."))
    pen.write(None, InputDropped(None, "quota_exceeded", utterances=(no,)))
    pen.write(None, AsrFinal(no, 2, "No, the others."))
    pen.end(one)
    pen.begin(two)
    pen.call_model(two)
    pen.say(two, "It is open. ", "It costs 9. ")
    pen.write(two, Object("speech.withheld", {"places": [[12, 23]]}))
    pen.cancel(two)
    return pen.events


def written() -> Iterator[tuple[str, list[bytes]]]:
    """Return the timelines that a hand wrote."""
    yield "barge_in", frames_of(barge_in())
    yield "long_session", frames_of(long_session())
    yield "planned", frames_of(planned())
    yield "failed", frames_of(failed())
    yield "spoken", frames_of(spoken())
    yield "spoken_over", frames_of(spoken_over())
    yield "spoken_aside", frames_of(spoken_aside())
    yield "preempted", frames_of(preempted())
    yield "given_up", frames_of(given_up())
    for name, steps in STORIES.items():
        yield f"action_{name.replace(',', '').replace(' ', '_')}", frames_of(story(*steps))


def simulated(seed: int) -> Iterator[list[bytes]]:
    """Return the timelines of a simulated history, as the store has them."""
    shelf = play(seed).shelf
    for row in shelf.rows():
        stored = shelf.events(row.session_id, NOTHING, MOST_EVENTS)
        if stored:
            yield [event.frame for event in stored]


def telling() -> Iterator[tuple[str, list[bytes]]]:
    """Return simulated timelines until they have shown all that is wanted."""
    missing = set(WANTED)
    for seed in range(2000):
        for number, frames in enumerate(simulated(seed)):
            shown = {wanted for wanted in missing if any(wanted.encode() in f for f in frames)}
            if len(shown) >= min(3, len(missing)) and len(frames) < 200:
                missing -= shown
                yield f"simulated_{seed}_{number}", frames
        if not missing:
            return
    raise AssertionError(f"never seen: {missing}")


def vector(frames: list[bytes]) -> dict[str, Any]:
    """Return the events, and what the server makes of them."""
    state = SessionState()
    views: list[dict[str, Any]] = []
    every = 1 if len(frames) <= _SHORT else _EVERY
    for frame in frames:
        event = decode_event(frame)
        state.apply(Seq(event.seq), event.ts, event.turn_id, event.payload)
        if event.seq % every == 0 or event.seq == len(frames):
            views.append(
                {
                    name: json.loads(msgspec.json.encode(project(state, name)))
                    for name in get_args(ProjectionName)
                }
            )
    return {"events": [json.loads(frame) for frame in frames], "views": views}


def text_of(whole: dict[str, Any]) -> str:
    """Return a vector as it stands in its file: a line for each event and each moment."""
    parts: list[str] = []
    for key, items in whole.items():
        lines = ",\n  ".join(_json(item) for item in items)
        parts.append(f' "{key}": [\n  {lines}\n ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def recorded() -> list[Path]:
    """Return the files, in order."""
    return sorted(VECTORS.glob("*.json"))


def computed_again(path: Path) -> str:
    """Return what the file has to hold, by the server's fold of today."""
    events = json.loads(path.read_text(encoding="utf-8"))["events"]
    return text_of(vector([_json(event).encode() for event in events]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    for old in recorded():
        old.unlink()
    for name, frames in (*written(), *telling()):
        (VECTORS / f"{name}.json").write_text(text_of(vector(frames)), encoding="utf-8")
