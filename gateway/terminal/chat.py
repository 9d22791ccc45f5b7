"""A conversation with a session: what a person types, and what becomes of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import trio
from attrs import define, field

from bargein.gateway.line_parts import uncut
from bargein.gateway.terminal.decisions import Decisions
from bargein.gateway.terminal.face import Face
from bargein.gateway.terminal.follower import Follower
from bargein.gateway.terminal.link import Link, Phase
from bargein.gateway.terminal.pending import Outcome, Then
from bargein.gateway.terminal.telling import Telling
from bargein.protocol import frames
from bargein.protocol.commands import FOR_WATCHERS
from bargein.protocol.events import CancelRequested, Event, InputDropped
from bargein.protocol.frames import Problem
from bargein.protocol.gate import JsonRefused, parse
from bargein.protocol.ids import CommandId, TurnId
from bargein.protocol.lines import HELP, Decide, Help, Quit, prefixed, read_line
from bargein.protocol.state import SessionState

TWICE_S: Final = 2.0
"""Two presses of Ctrl-C within this time mean: away from here."""

MORE_HELP: Final = """\
Ctrl-C       stop the answer; twice, leave
Ctrl-D       leave; the session stays, and you may come back to it
y, n, e      answer a question: yes, no, or edit the arguments first
/undo [id]   undo the action that was done last, or the one with this id
/resume      take up an answer that broke off"""

_WATCHING: Final = "!!  You are watching; who watches can't say or decide anything."
_WATCHED: Final = frozenset(command.type for command in FOR_WATCHERS)


@define(eq=False)
class Chat:
    """Talks with one session.  Lives until somebody leaves; `changed` is set anew each time.

    Attributes:
        drives: False: it only watches.
        leaving: Set when the person wants to be gone.
        changed: Set when something is new; whoever waits for it takes the next one.
        was_refused: The latest words were never taken, so there is no answer to them.
    """

    face: Face
    follower: Follower
    telling: Telling
    drives: bool
    link: Link
    leaving: trio.Event = field(factory=trio.Event, init=False)
    changed: trio.Event = field(factory=trio.Event, init=False)
    was_refused: bool = field(default=False, init=False)
    decisions: Decisions = field(init=False)
    _begun: bool = field(default=False, init=False)
    _pressed_s: float = field(default=float("-inf"), init=False)
    _saying: int = field(default=0, init=False)
    _connection: tuple[str, ...] = field(default=(), init=False)

    def __attrs_post_init__(self) -> None:
        self.follower.listener = self
        self.decisions = Decisions(self.face.sheet, self._ask)

    @property
    def state(self) -> SessionState:
        """What is known of the session."""
        return self.follower.state

    @property
    def is_idle(self) -> bool:
        """Whether all that was said is answered, and nothing is under way but a person's yes."""
        state = self.state
        under_way = len(state.actions.open) > len(self.decisions.waiting)
        busy = state.open_turn or state.queue or under_way or self.follower.pending.count
        return self.follower.is_live and self._begun and not busy

    # --- what the person does ---------------------------------------------------------

    def entered(self, line: str, asked: str | None = None) -> None:
        """Take a line; one that was begun under the question *asked* may answer it."""
        if self.drives and self.decisions.answer(asked, line):
            self._touch()
            return
        if line.startswith("{"):
            self._json(line)
        elif line.startswith(("/undo", "/resume")):
            self._command(line.split(), asked)
        else:
            self._line(line, asked)
        self._touch()

    def stop(self) -> None:
        """Stop the answer; asked twice, leave."""
        now_s = trio.current_time()
        if now_s - self._pressed_s <= TWICE_S:
            self.leave()
            return
        self._pressed_s = now_s
        turn_id = self.state.open_turn
        runs = turn_id is not None and not self.telling.is_shut(turn_id)
        if self.drives and (runs or self._saying):
            self._interrupt(turn_id)
        else:
            self.face.sheet.tell("--  Ctrl-C again leaves.")
        self._touch()

    def leave(self) -> None:
        """Be gone soon; the session stays."""
        self.leaving.set()

    def resume(self, *, only_latest: bool = False) -> bool:
        """Take up the latest answer that broke off; return whether there is such a one."""
        for turn in reversed(self.state.turns.values()):
            if turn.resume_token is not None and not turn.resumed:
                self._say({"type": "say", "resume": turn.resume_token})
                return True
            if only_latest:
                break
        return False

    # --- lines ------------------------------------------------------------------------

    def _line(self, line: str, asked: str | None) -> None:
        match read_line(line):
            case None:
                self.link.hurry()
            case Help():
                for text in (*MORE_HELP.splitlines(), *HELP.splitlines()):
                    self.face.sheet.tell(f"--  {text}")
            case Quit():
                self.leave()
            case Decide() if not self.drives:
                self.face.sheet.tell(_WATCHING)
            case Decide(confirm=confirm):
                self.decisions.decide(asked, confirm=confirm)
            case Problem() as problem:
                self._refused(problem)
            case {"type": "say"} as body:
                self._say(body)
            case {"type": "interrupt"}:
                self._interrupt(self.state.open_turn)
            case {"type": "confirm" | "reject" as kind, "confirmation_id": word}:
                if not self.decisions.decide_named(word, confirm=kind == "confirm"):
                    self._ask({"type": kind, "confirmation_id": word}, self._settled)
            case {"type": "projection"}:
                rows = self.telling.steps
                for row in rows or ("--  There is no plan.",):
                    self.face.sheet.tell(row)
            case {"type": "history"}:
                self.telling.recap(None)
            case body:
                self._ask(body, self._settled)

    def _json(self, line: str) -> None:
        try:
            body = parse(line)  # as the server will
        except JsonRefused as error:
            self.was_refused = True
            self.face.sheet.tell(prefixed("!!", f"That is no JSON: {error}"))
            return
        if not isinstance(body, dict):  # never, since it begins with a brace
            return
        if body.get("type") in ("say", "interrupt") and self.drives:
            self._say(body)
        else:
            self._ask(body, self._answered)

    def _command(self, words: list[str], asked: str | None) -> None:
        match words:
            case ["/resume"]:
                if not self.resume():
                    self.face.sheet.tell("--  No answer broke off.")
            case ["/undo"] if done := self.decisions.latest_done(self.state):
                self._ask({"type": "revert", "action_id": done}, self._settled)
            case ["/undo"]:
                self.face.sheet.tell("--  Nothing was done that could be undone.")
            case ["/undo", action_id]:
                self._ask({"type": "revert", "action_id": action_id}, self._settled)
            case _:
                self._line(" ".join(words), asked)

    # --- commands ---------------------------------------------------------------------

    def _say(self, body: dict[str, Any]) -> None:
        turn_id = self.state.open_turn
        if not self.drives:
            self.was_refused = True
            self._ask(body, self._settled)
            return
        cuts = body.get("when_busy", "interrupt") in ("interrupt", "rollback")
        if cuts:
            self.follower.pending.give_up_words()
        if turn_id is not None and cuts:
            body = self._with_heard(body, turn_id)
            self.telling.shut(turn_id)
        if self.face.draws and (words := body.get("text")):
            self.face.sheet.echo(str(words))

        def said(outcome: Outcome) -> None:
            self._saying -= 1
            if body.get("type") == "say":
                self.was_refused = isinstance(outcome, Problem)
            if isinstance(outcome, Problem):
                self._refused(outcome)
            if turn_id is not None and (
                isinstance(outcome, Problem) or not outcome.get("interrupted")
            ):
                self.telling.open_again(turn_id)

        self._saying += 1  # before: what can't be sent is settled at once
        if (command_id := self._ask(body, said)) is not None:
            self.telling.mine.add(command_id)

    def _interrupt(self, turn_id: TurnId | None) -> None:
        body: dict[str, Any] = {"type": "interrupt"}
        self.follower.pending.give_up_words()
        if turn_id is not None and self.drives:
            # Words on their way may have a turn of their own by then: it is whatever runs then.
            named = {} if self._saying else {"turn_id": turn_id}
            body = self._with_heard({**body, **named}, turn_id)
            self.telling.shut(turn_id)

        def stopped(outcome: Outcome) -> None:
            if isinstance(outcome, Problem):
                self._refused(outcome)
            elif outcome.get("interrupted") is False and turn_id is None:
                self.face.sheet.tell("--  Nothing is running.")
            elif not outcome.get("interrupted"):
                self.face.sheet.tell("--  It had just ended; Ctrl-C again leaves.")
            if isinstance(outcome, Problem) or not outcome.get("interrupted"):
                self.telling.open_again(turn_id)

        self._ask(body, stopped)

    def _with_heard(self, body: dict[str, Any], turn_id: TurnId) -> dict[str, Any]:
        self.follower.reports.now()  # what was acked bounds what counts as heard
        heard = self.follower.reports.heard_of(turn_id)
        return {**body, "heard": heard} if heard is not None and "heard" not in body else body

    def _ask(self, body: dict[str, Any], then: Then) -> CommandId | None:
        if not self.drives and body.get("type") not in _WATCHED:
            self.face.sheet.tell(_WATCHING)
            return None

        def and_then(outcome: Outcome) -> None:
            then(outcome)
            self._touch()

        command_id = self.follower.pending.ask(body, and_then)
        self.link.hurry()
        return command_id

    def _settled(self, outcome: Outcome) -> None:
        if isinstance(outcome, Problem):
            self._refused(outcome)

    def _answered(self, outcome: Outcome) -> None:
        """Show the reply to a command that was typed as JSON."""
        if isinstance(outcome, Problem):
            self._refused(outcome)
        else:
            self.face.sheet.tell(prefixed("--", msgspec.json.encode(outcome).decode()))

    def _refused(self, problem: Problem) -> None:
        about = f", {problem.param}" if problem.param else ""
        for line in uncut("!!", f"{problem.message} ({problem.code.value}{about})"):
            self.face.sheet.tell(line)

    # --- what the server says ---------------------------------------------------------

    def greeted(self, hello: frames.Hello, *, afresh: bool) -> None:
        """Hear of a new connection."""
        self.telling.state = self.state
        # What was stopped on the old connection alone goes on, or the replay says that it didn't.
        self.telling.open_again()
        sheet = self.face.sheet
        if afresh:
            self._begun = False
            sheet.tell("--  The session's history is another than before; this is how it stands.")
        elif not self._begun:
            keys = "Ctrl-C stops an answer, Ctrl-D leaves, /help shows more."
            you = keys if self.drives else "You are watching; Ctrl-D leaves."
            sheet.tell(f"--  This is {hello.session_id}. {you}")
        self._touch()

    def happened(self, event: Event) -> None:
        """Show an event, or take note of it where it belongs to the past."""
        if self._begun:
            self.telling.event(event)
        else:
            self.telling.learn(event)
        if isinstance(event.payload, CancelRequested) and event.turn_id is not None:
            self.follower.reports.over(event.turn_id)
        if isinstance(event.payload, InputDropped) and not event.payload.continues:
            self.telling.mine.clear()
        self.decisions.look(self.state, asks=self._begun and self.drives)
        self._touch()

    def live(self) -> None:
        """Show what there is when all of it has come."""
        if not self._begun:
            self._begun = True
            self.telling.recap()
        self.telling.open_again()
        self.decisions.look(self.state, asks=self.drives)
        self._touch()

    def flushed(self, turn_id: TurnId) -> None:
        """Show no more of a turn."""
        self.telling.shut(turn_id)
        self._touch()

    def told(self, frame: frames.Frame) -> None:
        """Show what was said to this client alone, if it concerns a person."""
        match frame:
            case frames.Refused(error=problem):
                self._refused(problem)
            case frames.GoAway(reason=reason):
                self.face.sheet.tell(prefixed("--", f"The server is going away ({reason})."))
            case _:
                pass
        self._touch()

    def waiting(self, phase: Phase, wait_s: float, reason: str) -> None:
        """Show how the connection is."""
        match phase:
            case "waiting":
                text = f"Not connected: {reason}. Next try in {wait_s:.1f} s; Enter tries now."
                self._connection = (prefixed("..", text),)
            case "connecting" | "live":
                self._connection = self._connection if phase == "connecting" else ()
        self._touch()

    # ----------------------------------------------------------------------------------

    def _touch(self) -> None:
        rows = (*self.telling.plan_rows, *(() if self.follower.is_live else self._connection))
        self.face.stand(rows)
        self.face.ask(self.decisions.label)
        self.changed.set()
        self.changed = trio.Event()
