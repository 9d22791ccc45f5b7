"""Timelines for tests: a hand that writes them, good ones, and a generator of more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define, evolve, field
from hypothesis import strategies as st

from bargein.protocol.causes import parent_of
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    AsrFinal,
    CancelAck,
    CancelledBy,
    CancelRequested,
    CancelStage,
    Event,
    Fault,
    GuardrailPassed,
    InFlight,
    InputDropped,
    InputText,
    ModelEnd,
    ModelStart,
    ModelToken,
    Payload,
    PlaybackProgress,
    PlaybackStart,
    PlaybackStop,
    Recover,
    ResponseEnd,
    ResponseStart,
    SessionAttached,
    SessionClosed,
    SessionConfigured,
    SessionDetached,
    SessionOpened,
    SessionTitled,
    Span,
    SpeechStarted,
    TokenCount,
    ToolCall,
    ToolProgress,
    ToolResult,
    TurnEnd,
    TurnStart,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import CallId, CommandId, Seq, SessionId, TurnId, UtteranceId, event_id
from bargein.protocol.ids import turn_id as id_of_turn
from bargein.protocol.ladder import MODEL, TRANSCRIPT, tool_target
from bargein.protocol.state import SessionState, fold

SESSION: Final = SessionId("sess_" + "0" * 32)
_BEGINNING: Final = datetime(2026, 11, 21, 10, 12, 33, tzinfo=UTC)


@define
class Pen:
    """Writes events as the server's own writer does: seq, time, cause, fold."""

    events: list[Event] = field(factory=list[Event])
    state: SessionState = field(factory=SessionState)

    @classmethod
    def after(cls, events: list[Event]) -> Pen:
        """Go on where *events* end."""
        return cls(list(events), fold(events))

    def write(self, turn: TurnId | None, *payloads: Payload) -> None:
        for payload in payloads:
            seq = Seq(self.state.seq + 1)
            moment = _BEGINNING + timedelta(milliseconds=7 * seq)
            ts = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            parent = parent_of(self.state, turn, payload)
            self.events.append(Event(SESSION, seq, event_id(seq), ts, turn, parent, payload))
            self.state.apply(seq, ts, turn, payload)

    # --- the parts of a turn ----------------------------------------------------

    def open_session(self) -> None:
        self.write(None, SessionOpened("assistant", {"agent": "assistant", "voice": False}))
        self.write(None, SessionAttached("drive", 1))

    def begin(self, turn: TurnId, text: str = "Hello?", *, start: TurnStart | None = None) -> None:
        """Words that get the response slot, in the same breath where they did not wait."""
        if turn not in self.state.turns:
            self.write(turn, InputText(text, CommandId(f"c_{turn}")))
        self.write(turn, start or TurnStart(text), TurnEnd("text"), ResponseStart())

    def begin_spoken(self, turn: TurnId, start: TurnStart) -> None:
        """Words that were said aloud, and are on the timeline as transcripts."""
        self.write(turn, start, TurnEnd("endpoint", 300.0), ResponseStart())

    def call_model(self, turn: TurnId) -> None:
        self.write(turn, GuardrailPassed("scope"), ModelStart("scripted", "assistant"))

    def say(self, turn: TurnId, *texts: str) -> None:
        self.write(turn, *(ModelToken(text, max(1, len(text.split()))) for text in texts))

    def end_model(self, turn: TurnId, stop_reason: str = "end_turn") -> None:
        self.write(turn, ModelEnd(stop_reason, Usage(12, self.state.turns[turn].deltas)))

    def end(self, turn: TurnId, status: str = "completed") -> None:
        """The last words of a turn that nobody interrupted."""
        if status == "failed":
            code = ErrorCode.MODEL_ERROR
            recover = Recover(resume_token=f"resume.{turn}")
            self.write(turn, Fault(code, code.sentence, code.retryable, "pipeline", recover))
        text = self.state.turns[turn].text
        spans = (Span("input", 0.0, 1.25), Span("model", 1.25, 8.0), Span("sql", 2.0, 1.0, "model"))
        self.write(turn, ResponseEnd(status, text))  # pyright: ignore[reportArgumentType]
        self.write(turn, TurnTrace(spans, 9.25))

    def go_on(self, turn: TurnId, before: TurnId) -> None:
        """The turn that goes on from one that was pre-empted: nobody has said words for it."""
        words = self.state.turns[before].words
        self.write(turn, TurnStart(words, continues=before), TurnEnd("text"), ResponseStart())

    def cancel(self, turn: TurnId, heard: int | None = None, *, by: CancelledBy = "user") -> None:
        """The whole ladder, from whatever runs."""
        state = self.state.turns[turn]
        calls = tuple(state.running_calls)
        ran = state.model_running
        text = state.text
        shown = text[: state.heard_chars(self.state.seq, heard)]
        self.write(turn, CancelRequested(by, "say", InFlight(ran, calls)))
        if shown or state.playing:
            self.write(turn, PlaybackStop("cancel", chars=len(shown)))
        self.write(turn, CancelStage(TRANSCRIPT, "frozen", text=text, heard=shown))
        while self.state.turns[turn].model_running:
            self.end_model(turn, "cancelled")
        self.write(turn, CancelStage(MODEL, "stopped" if ran else "already_done", ms=0.4))
        for call_id in calls:
            self.write(turn, ToolResult(call_id, "cancelled"))
            self.write(turn, CancelStage(tool_target(call_id), "stopped", ms=0.6))
        stopped = (*((MODEL,) if ran else ()), *map(tool_target, calls))
        self.write(turn, ResponseEnd("cancelled", text), TurnTrace((Span("all", 0.0, 5.0),), 5.0))
        tokens = TokenCount(state.deltas, min(state.deltas, 1))
        self.write(turn, CancelAck(turn, 1.9, stopped, (), tokens))


def barge_in() -> list[Event]:
    """Close to the conversation in the protocol's section 4: a tool, a cancel, the next turn."""
    pen = Pen()
    pen.open_session()
    pen.write(None, SpeechStarted(UtteranceId("u1")), AsrFinal(UtteranceId("u1"), 1, "List them."))
    one, two = id_of_turn(1), id_of_turn(2)
    pen.begin(one, "List the top-performing ETFs in my portfolio.")
    pen.call_model(one)
    pen.write(one, ToolCall(CallId("call_1"), "holdings", {}, "read"))
    pen.write(one, ToolProgress(CallId("call_1"), "halfway", 0.5))
    pen.say(one, "Sure, let me ", "fetch ")
    pen.write(one, PlaybackStart(), PlaybackProgress(chars=13))
    pen.cancel(one)
    pen.begin(two, "Only those below 0.2%.", start=TurnStart("Only those below 0.2%."))
    pen.call_model(two)
    pen.say(two, "Here they are.")
    pen.end_model(two)
    pen.end(two)
    pen.write(None, SessionTitled("ETFs"), SessionDetached("drive", 0))
    return pen.events


def long_session() -> list[Event]:
    """Every way in which a turn begins and ends, then the end of the session."""
    pen = Pen()
    pen.open_session()
    turns = [id_of_turn(number) for number in range(1, 9)]
    completed, failed, again, rolled, instead, queued, dropped, silent = turns
    pen.begin(completed)
    pen.write(queued, InputText("And then?", CommandId("q1"), queued=True))
    pen.write(dropped, InputText("Never mind.", None, queued=True))
    pen.call_model(completed)
    pen.say(completed, "Hello ", "there.")
    pen.end_model(completed)
    pen.write(dropped, InputDropped(None, "interrupted"))
    pen.end(completed)
    pen.begin(queued)
    pen.call_model(queued)
    pen.write(queued, ToolCall(CallId("call_1"), "clock", {"zone": "UTC"}, "read"))
    pen.write(queued, ToolResult(CallId("call_1"), "ok", "noon"))
    pen.end_model(queued, "refusal")
    pen.end(queued, "refused")
    pen.begin(failed)
    pen.call_model(failed)
    pen.say(failed, "It ")
    pen.end_model(failed, "error")
    pen.end(failed, "failed")
    pen.begin(again, start=TurnStart("Hello?", continues=failed))
    pen.end(again)
    pen.begin(rolled)
    pen.cancel(rolled)
    pen.begin(instead, start=TurnStart("Hello?", replaces=rolled))
    pen.call_model(instead)
    pen.say(instead, "x")
    pen.write(instead, PlaybackStart(), PlaybackStop("client", chars=1))
    pen.end_model(instead)
    pen.end(instead)
    pen.write(instead, PlaybackProgress(chars=1))
    pen.begin(silent)
    pen.cancel(silent)
    pen.write(None, SessionConfigured({"agent": "other"}), SessionClosed("closed by the user"))
    return pen.events


@st.composite
def sessions(draw: st.DrawFn) -> list[Event]:
    """A session of a few turns, each of another shape."""
    pen = Pen()
    pen.open_session()
    names = [id_of_turn(number) for number in range(1, 1 + draw(st.integers(1, 3)))]
    waiting: list[TurnId] = []
    for index, turn in enumerate(names):
        pen.begin(turn)
        if turn in waiting:
            waiting.remove(turn)
        elif not waiting and names[index + 1 :] and draw(st.booleans()):
            waiting.append(names[index + 1])
            pen.write(waiting[0], InputText("Next.", CommandId(f"q{index}"), queued=True))
        _answer(draw, pen, turn)
    return pen.events


def _answer(draw: st.DrawFn, pen: Pen, turn: TurnId) -> None:
    running: list[CallId] = []
    for number in range(draw(st.integers(0, 6))):
        match draw(st.sampled_from(["model", "token", "call", "result", "playback", "report"])):
            case "model":
                pen.call_model(turn)
            case "token" if pen.state.turns[turn].model_running:
                pen.say(turn, draw(st.text(min_size=1, max_size=8)))
            case "call":
                running.append(CallId(f"call_{number}"))
                pen.write(turn, ToolCall(running[-1], "clock", {}, "read"))
            case "result" if running:
                pen.write(turn, ToolResult(running.pop(), "ok", "noon"))
            case "playback":
                pen.write(turn, PlaybackStart())
            case "report":
                chars = draw(st.integers(0, pen.state.turns[turn].chars))
                pen.write(turn, PlaybackProgress(chars=chars))
            case _:
                pass
    if draw(st.booleans()):
        pen.cancel(turn)
        return
    pen.write(turn, *(ToolResult(call_id, "timeout") for call_id in running))
    while pen.state.turns[turn].model_running:
        pen.end_model(turn)
    pen.end(turn, draw(st.sampled_from(["completed", "failed", "refused"])))


def altered(events: list[Event], index: int, payload: Payload) -> list[Event]:
    """The same timeline with another payload in one place."""
    return [*events[:index], evolve(events[index], payload=payload), *events[index + 1 :]]


def renumbered(events: list[Event]) -> list[Event]:
    """Events without gaps again, their causes dropped, so that one rule is broken at a time."""
    return [
        evolve(
            event, seq=Seq(seq), event_id=event_id(Seq(seq)), ts=events[0].ts, parent_event_id=None
        )
        for seq, event in enumerate(events, 1)
    ]
