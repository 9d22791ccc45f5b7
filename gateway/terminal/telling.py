"""What a session's events show to a person at a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from attrs import define, field

from bargein.gateway.event_lines import EventLines, step_line
from bargein.gateway.line_parts import as_json, uncut
from bargein.gateway.terminal.face import Face
from bargein.protocol import events, projections
from bargein.protocol.actions import DOUBTS, TO_DECIDE, ActionState
from bargein.protocol.ids import CommandId, TurnId
from bargein.protocol.ladder import TRANSCRIPT
from bargein.protocol.lines import SHORT_CHARS, one_line
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState

MOST_STEPS: Final = 8
"""Of a plan that stands above the input; the others are in `/plan`."""

MOST_EXCHANGES: Final = 5
"""Of a session that somebody comes back to; the others are in `/history`."""


@define(eq=False)
class Telling:
    """Shows events on *face*.

    Attributes:
        state: The session's fold; the follower gives a new one when the history is another.
        mine: Commands of this client, whose words are on its screen already.
        hints: Say what can be typed; nothing can be typed where this is False.
    """

    face: Face
    state: SessionState = field(factory=SessionState)
    hints: bool = True
    mine: set[CommandId] = field(factory=set[CommandId], init=False)
    _lines: EventLines = field(factory=EventLines, init=False)
    _turn_id: TurnId | None = field(default=None, init=False)
    _spoken: int = field(default=0, init=False)
    _shut: set[TurnId] = field(factory=set[TurnId], init=False)
    _by: events.CancelledBy = field(default="user", init=False)

    # --- the gate ---------------------------------------------------------------------

    def shut(self, turn_id: TurnId) -> None:
        """Show no more of a turn than is shown already."""
        if turn_id not in self._shut:
            self._shut.add(turn_id)
            if turn_id == self._turn_id:
                self._spoken -= self.face.sheet.hush()

    def is_shut(self, turn_id: TurnId) -> bool:
        """Whether no more of this turn is shown."""
        return turn_id in self._shut

    def open_again(self, turn_id: TurnId | None = None) -> None:
        """Show what was kept back of *turn_id*, or of any: it was not stopped after all."""
        if turn_id is None:
            self._shut.clear()
        self._shut.discard(turn_id or TurnId(""))
        self._catch_up()

    def _catch_up(self) -> None:
        turn = self.state.turns.get(self._turn_id) if self._turn_id else None
        if turn is not None and not turn.cancelled and turn.turn_id not in self._shut:
            self._speak(turn.text[self._spoken :])

    def _speak(self, text: str) -> None:
        if text:
            self._spoken += len(text)
            self.face.sheet.speak(text)

    # --- events -----------------------------------------------------------------------

    def event(self, event: events.Event) -> None:
        """Show an event, which the fold has already."""
        turn_id, payload, sheet = event.turn_id, event.payload, self.face.sheet
        match payload:
            case events.ModelToken():
                self._token(turn_id)
            case events.TurnStart() if turn_id is not None:
                self._begin(turn_id)
                self._lines.begin_turn()
            case events.ModelEnd() if self._others_run(turn_id):
                return
            case events.ModelEnd() | events.ResponseEnd():
                sheet.pause()
            case events.TurnTrace():
                self._end_turn(turn_id)
            case events.CancelRequested(by=by) if turn_id is not None:
                self._by = by
                self.shut(turn_id)
            case events.CancelStage(target=target) if target == TRANSCRIPT:
                sheet.pause()
            case events.CancelAck() if turn_id is not None:
                sheet.tell(self._stopped(self.state.turns[turn_id], payload))
            case events.InputText():
                self._words(payload)
            case events.SessionAttached() | events.SessionDetached():
                if payload.connections > 1 or isinstance(payload, events.SessionDetached):
                    sheet.tell(f"--  Connections to this session: {payload.connections}")
            case events.PlanReady() | events.PlanStep():
                self._lines.of(payload)
            case _:
                self._other(payload)

    def _others_run(self, turn_id: TurnId | None) -> bool:
        turn = None if turn_id is None else self.state.turns.get(turn_id)
        return turn is not None and turn.model_running

    def _other(self, payload: events.Payload) -> None:
        lines = self._lines.of(payload)
        match payload:
            case events.ActionProposed() | events.ActionInDoubt() if self.hints:
                lines = [line for line in lines if not line.startswith("?")]
            case events.Fault(recover=recover) if recover.resume_token:
                self.face.sheet.pause()  # it says why the answer ends there
                lines = lines[:-1] + (["!!  /resume goes on from there."] if self.hints else [])
            case _:
                pass
        for line in lines:
            self.face.sheet.tell(line)

    def _token(self, turn_id: TurnId | None) -> None:
        if turn_id is None or turn_id in self._shut:
            return
        if turn_id != self._turn_id:
            self._begin(turn_id)
        self._catch_up()

    def _begin(self, turn_id: TurnId) -> None:
        self._turn_id, self._spoken = turn_id, 0
        self.face.sheet.begin(turn_id)

    def _words(self, payload: events.InputText) -> None:
        if payload.command_id in self.mine:
            self.mine.discard(payload.command_id)
        elif payload.text.strip():
            self.face.sheet.echo(payload.text)

    def _stopped(self, turn: TurnState, ack: events.CancelAck) -> str:
        heard = turn.text if turn.heard is None else turn.heard
        shown = min(self._spoken, len(heard)) if turn.turn_id == self._turn_id else None
        return self._lines.stopped(self._by, heard, shown, ack)

    @property
    def plan_rows(self) -> tuple[str, ...]:
        """The plan of the turn that runs, with the state of each step."""
        plan = projections.plan(self.state)
        if plan.turn_id is None or plan.turn_id != self.state.open_turn:
            return ()
        return self.steps[:MOST_STEPS]

    @property
    def steps(self) -> tuple[str, ...]:
        """The latest plan, one line for each step."""
        steps = projections.plan(self.state).steps
        return tuple(step_line(n, step.title, step.state) for n, step in enumerate(steps, 1))

    def _end_turn(self, turn_id: TurnId | None) -> None:
        """Write down the plan, which stood while its turn ran."""
        self.face.sheet.pause()
        if self.face.draws and turn_id is not None and turn_id == self.state.planned:
            for line in self.steps:
                self.face.sheet.tell(line)

    # --- from the beginning -----------------------------------------------------------

    def recap(self, most: int | None = MOST_EXCHANGES) -> None:
        """Show how the conversation stands: the latest exchanges, or all where *most* is None."""
        turns = projections.transcript(self.state).turns
        shown = turns if most is None else turns[-most:]
        sheet, earlier = self.face.sheet, len(self.state.turns) - len(shown)
        if earlier:
            sheet.tell(f"--  {earlier} earlier exchanges: /history shows them.")
        for exchange in shown:
            sheet.echo(exchange.user)
            if exchange.turn_id == self.state.open_turn and most is not None:
                self._begin(exchange.turn_id)
                self._catch_up()
                continue
            for line in exchange.assistant.splitlines():
                sheet.speak(line)
                sheet.pause()
            if exchange.interrupted:
                sheet.tell("--  stopped there")

    def learn(self, event: events.Event) -> None:
        """Take note of an event of the past, which is not shown."""
        self._lines.of(event.payload)
        if isinstance(event.payload, events.TurnStart):
            self._lines.begin_turn()


# --- what is to be decided --------------------------------------------------------------


def to_decide(state: SessionState) -> list[ActionState]:
    """Return the actions that wait for a yes or no, oldest first."""
    waits = (state.actions.by_id[action_id] for action_id in state.actions.open)
    asked = (action for action in waits if action.status in TO_DECIDE)
    return [a for a in asked if a.effect == "side_effect" or a.status in DOUBTS]


def card(action: ActionState, args: dict[str, Any] | None) -> list[str]:
    """Return what a person has to know to decide: what it is, with what, and until when.

    *args* are those that the person has put in the place of the proposed ones.
    """
    lines = uncut("?", action.summary)
    if action.status in DOUBTS:
        done = "undone" if action.status == "revert_in_doubt" else "done"
        return [*lines, f"?    Was it {done}? Nobody knows: y it was, n it was not"]
    before = action.args
    for key, value in (before if args is None else args).items():
        changed = args is not None and (key not in before or before[key] != value)
        first, *rest = uncut("?", f"{one_line(key, SHORT_CHARS)}: {as_json(value)}")
        lines += [f"?  {'*' if changed else ' '} {first[3:]}", *rest]
    if args is not None:
        gone = [key for key in before if key not in args]
        lines += [f"?  * without {one_line(key, SHORT_CHARS)}" for key in gone]
    return [*lines, f"?    {_until(action)}"]


def _until(action: ActionState) -> str:
    try:
        expires = datetime.fromisoformat(action.expires_at)
        left_s = (expires - datetime.fromisoformat(action.proposed_at)).total_seconds()
    except ValueError:
        return "y yes, n no, e edit the arguments"
    at = expires.astimezone().strftime("%H:%M:%S")
    return f"y yes, n no, e edit the arguments: within {left_s:.0f} s, by {at}"
