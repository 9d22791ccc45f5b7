"""The session as lines for a person with a terminal: `?view=text`; see `protocol.lines`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from attrs import define, field

from bargein.gateway.action_lines import listed
from bargein.gateway.event_lines import EventLines, step_line
from bargein.gateway.line_parts import uncut
from bargein.protocol import events, frames, projections
from bargein.protocol.codec import EventRefused, decode_event
from bargein.protocol.ids import TurnId
from bargein.protocol.ladder import TRANSCRIPT, may_follow_cancel
from bargein.protocol.lines import (
    answer_line,
    compact,
    prefixed,
    visible,
)
from bargein.protocol.sentences import Sentences

_MOST_STOPPED: Final = 16

_SHOWN_WHEN_STOPPED: Final = frozenset(
    ("cancel.requested", "input.text", "input.dropped", "asr.final", "turn.start", "error")
)
"""What is shown of a turn that was flushed, beside what may follow a cancel."""

_BREAKS_IN: Final = (events.ToolCall, events.ActionProposed, events.Fault)
"""What is shown in the middle of a sentence: what there is of it is shown before."""


@define(eq=False)
class _Answer:
    """The answer as this client sees it.

    Attributes:
        turn_id: None before the first turn.
        whole: Its beginning was seen, so that `fed_chars` counts from there.
        fed_chars: Code points that came and were not dropped.
        heard: What the user saw or heard of it, as the server counts after an interrupt.
        models: How many run for it; one of them speaks.
    """

    turn_id: TurnId | None = None
    whole: bool = False
    fed_chars: int = 0
    heard: str = ""
    models: int = 0
    stopped_by: events.CancelledBy = "user"
    sentences: Sentences = field(factory=Sentences)

    def feed(self, text: str) -> list[str]:
        self.fed_chars += len(text)
        return self.sentences.feed(text)

    def drop(self) -> None:
        self.fed_chars -= self.sentences.held_chars
        self.sentences.drop()


@define(eq=False)
class TextView:
    """Turns what one client is sent into lines.  Lives as long as its connection.

    Never raises, whatever the bytes; what it does not know it shows as nothing.
    Holds one unfinished sentence, and 64 names of calls, actions and steps each.

    Attributes:
        replaying: What comes is the past: who came and went then is no news.
    """

    replaying: bool = False
    _session_id: str = field(default="", init=False)
    _answer: _Answer = field(factory=_Answer, init=False)
    _stopped: deque[TurnId] = field(factory=lambda: deque[TurnId](maxlen=_MOST_STOPPED), init=False)
    _typed: deque[int] = field(factory=lambda: deque[int](maxlen=_MOST_STOPPED), init=False)
    _lines: EventLines = field(factory=EventLines, init=False)

    def event(self, frame: bytes) -> list[bytes]:
        """Return the lines that show a timeline event, each to be sent as one text frame."""
        try:
            event = decode_event(frame)
        except EventRefused:  # written by a version that says more than this one knows
            return []
        return [line.encode() for line in self._event(event)]

    def frame(self, frame: bytes) -> list[bytes]:
        """Return the lines that show a connection frame, each to be sent as one text frame."""
        try:
            kind = frames.FRAMES.get(msgspec.json.decode(frame, type=_Head).type)
            if kind is None:
                return []
            shown = self._frame(msgspec.json.decode(frame, type=kind))
            return [line.encode() for line in shown]
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return []

    def typed(self, text: str) -> None:
        """Note that this client has just said *text*: its terminal shows it already."""
        self._typed.append(hash(text))

    def rest(self) -> list[str]:
        """Return the line of a sentence that has not ended; it is not waited for any more."""
        return [answer_line(line) for line in self._answer.sentences.rest()]

    # --- connection frames --------------------------------------------------------

    def _frame(self, frame: frames.Frame) -> Iterable[str]:
        match frame:
            case frames.Hello():
                self._session_id = frame.session_id
                self.replaying = frame.replay_to >= frame.replay_from
                yield _greeting(frame)
            case frames.Live() if self.replaying:
                self.replaying = False
                yield "--  That is all so far."
            case frames.Reply():
                yield from self._reply(frame.result)
            case frames.Refused(error=error):
                self._typed.clear()  # better an echo than words that are never shown
                about = f", {error.param}" if error.param else ""
                yield from uncut("!!", f"{error.message} ({error.code.value}{about})")
            case frames.Flush(turn_id=turn_id):
                self._stop(turn_id)
            case frames.Pong():
                yield "..  pong"
            case frames.Lagging():
                yield f"..  You are {frame.behind} events behind."
            case frames.CaughtUp():
                yield "..  You have caught up."
            case frames.GoAway():
                when = f"in {frame.reconnect_after_ms / 1000:g} s"
                text = f"The server is going away ({frame.reason}). Come back {when}"
                yield prefixed("--", f"{text} to {_path(self._session_id)}")
            case _:
                return

    def _reply(self, result: Any) -> Iterable[str]:
        fields = msgspec.convert(result, dict[str, Any])
        if "help" in fields:
            for line in msgspec.convert(fields["help"], list[str]):
                yield f"--  {visible(line)}"
        elif "events" in fields:
            yield from _history(msgspec.convert(fields["events"], list[Any]), fields.get("next"))
        elif fields.get("interrupted") is False:
            yield "--  Nothing is running."
        elif "seq" in fields:
            yield from tuple(_projection(fields)) or ("--  There is nothing yet.",)

    # --- events -------------------------------------------------------------------

    def _event(self, event: events.Event) -> Iterable[str]:
        turn_id, name, payload = event.turn_id, event.type, event.payload
        shown_always = name in _SHOWN_WHEN_STOPPED or may_follow_cancel(name)
        if turn_id in self._stopped and not shown_always:
            return
        match payload:
            case events.ModelToken(text=text):
                if self._answer.turn_id != turn_id:
                    yield from self.rest()
                yield from map(answer_line, self._answer_of(turn_id).feed(text))
            case events.TurnStart():
                yield from self.rest()
                self._answer = _Answer(turn_id, whole=True)
                self._lines.begin_turn()
            case events.ModelStart():
                self._answer_of(turn_id).models += 1
            case events.ModelEnd() if self._others_run(turn_id):
                return
            case events.ModelEnd() | events.ResponseEnd():
                yield from self.rest()
            case events.CancelRequested(by=by) if turn_id is not None:
                self._stop(turn_id)
                self._answer_of(turn_id).stopped_by = by
            case events.CancelStage(target=target, heard=heard) if target == TRANSCRIPT:
                self._answer_of(turn_id).heard = heard or ""
            case events.CancelAck():
                yield self._stop_line(turn_id, payload)
            case events.InputText(text=text, queued=queued):
                if hash(text) in self._typed:
                    self._typed.remove(hash(text))
                else:
                    yield prefixed(">", text) + ("  (queued)" if queued else "")
            case events.SessionAttached() | events.SessionDetached() if not self.replaying:
                if payload.connections > 1 or name == events.SessionDetached.type:
                    yield f"--  Connections to this session: {payload.connections}"
            case _:
                yield from self._work(payload)

    def _work(self, payload: events.Payload) -> Iterable[str]:
        lines = self._lines.of(payload)
        if lines and isinstance(payload, _BREAKS_IN):
            yield from self.rest()
        yield from lines

    # --- the answer -----------------------------------------------------------------

    def _answer_of(self, turn_id: TurnId | None) -> _Answer:
        if self._answer.turn_id != turn_id:
            self._answer = _Answer(turn_id)
        return self._answer

    def _others_run(self, turn_id: TurnId | None) -> bool:
        """Whether the one model that ended leaves another in the middle of a sentence."""
        answer = self._answer_of(turn_id)
        answer.models -= 1
        return answer.models > 0 and not answer.sentences.is_whole

    def _stop(self, turn_id: TurnId) -> None:
        if turn_id not in self._stopped:
            self._stopped.append(turn_id)
        if self._answer.turn_id == turn_id:
            self._answer.drop()

    def _stop_line(self, turn_id: TurnId | None, ack: events.CancelAck) -> str:
        answer = self._answer_of(turn_id)
        shown_chars = answer.fed_chars if answer.whole else None
        return self._lines.stopped(answer.stopped_by, answer.heard, shown_chars, ack)


class _Head(msgspec.Struct):
    type: str


# --- parts of lines -----------------------------------------------------------------


def _path(session_id: str) -> str:
    return f"/v1/session/{session_id}?view=text"


def _greeting(hello: frames.Hello) -> str:
    you = "You are watching." if hello.you.role == "watch" else "Type to talk; /help shows more."
    where = f"This is {hello.session_id}; come back to {_path(hello.session_id)}"
    return prefixed("--", f"Hello! {you} {where}")


# --- replies ------------------------------------------------------------------------


def _history(page: Sequence[Any], more_after: int | None) -> Iterable[str]:
    """Show a page of the timeline as it was shown when it happened."""
    yield "--  History:"
    past = TextView(replaying=True)
    for event in page:
        yield from (line.decode() for line in past.event(msgspec.json.encode(event)))
    yield from past.rest()
    if more_after is None:
        yield "--  That is all so far."
    else:
        yield f'--  There is more: {{"type":"history","after":{more_after}}}'


def _projection(result: dict[str, Any]) -> Iterable[str]:
    """Show a view, which is told from the results of commands by its keys."""
    if "steps" in result:
        for number, step in enumerate(msgspec.convert(result, projections.PlanView).steps, 1):
            yield step_line(number, step.title, step.state)
    elif "actions" in result:
        yield from listed(msgspec.convert(result, projections.Actions))
    elif "earlier" in result:
        for turn in msgspec.convert(result, projections.Transcript).turns:
            yield prefixed(">", turn.user)
            sentences = Sentences()
            yield from map(answer_line, (*sentences.feed(turn.assistant), *sentences.rest()))
            if turn.interrupted:
                yield "--  stopped there"
    elif "turns" in result and "state" not in result:
        for turn in msgspec.convert(result, projections.Latency).turns:
            yield prefixed("--", f"{turn.turn_id} {turn.status}: {turn.total_ms:.0f} ms")
    else:
        for key, value in result.items():
            yield prefixed("--", f"{key}: {compact(value)}")
