"""What waits for a person's yes or no, and the answers to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from bargein.gateway.terminal.face import Sheet
from bargein.gateway.terminal.pending import Outcome, Then
from bargein.gateway.terminal.telling import card, to_decide
from bargein.protocol.actions import DOUBTS, ActionState
from bargein.protocol.frames import Problem
from bargein.protocol.gate import JsonRefused, parse
from bargein.protocol.ids import ActionId, CommandId, ConfirmationId
from bargein.protocol.lines import Decide, only_open_proposal, prefixed
from bargein.protocol.state import SessionState

_YES: Final = frozenset({"y", "yes"})
_NO: Final = frozenset({"n", "no"})
_EDIT: Final = frozenset({"e", "edit"})

Ask = Callable[[dict[str, Any], Then], CommandId | None]


@define(eq=False)
class Decisions:
    """Asks for one decision at a time, oldest first, and sends the answers.

    A line answers the question that stood there when it was begun, and no other: so nobody says
    yes to what came up while they typed.

    Attributes:
        waiting: What waits to be decided, oldest first.
        to_edit: What the person wants to edit; whoever has an editor takes it.
    """

    _sheet: Sheet
    _ask: Ask
    waiting: list[ActionState] = field(factory=list[ActionState], init=False)
    to_edit: ActionState | None = field(default=None, init=False)
    _asked: ActionState | None = field(default=None, init=False)
    _sent: dict[ConfirmationId, str] = field(factory=dict[ConfirmationId, str], init=False)
    _edited: dict[ConfirmationId, dict[str, Any]] = field(
        factory=dict[ConfirmationId, dict[str, Any]], init=False
    )

    @property
    def asked(self) -> str | None:
        """The question that stands: its confirmation id and what the action is in; else None."""
        action = self._asked
        return None if action is None else f"{action.confirmation_id} {action.status}"

    @property
    def label(self) -> str:
        """What stands in front of the input."""
        action = self._asked
        if action is None:
            return "> "
        more = f" ({len(self.waiting)} wait)" if len(self.waiting) > 1 else ""
        return f"y/n{more}> " if action.status in DOUBTS else f"y/n/e{more}> "

    def look(self, state: SessionState, *, asks: bool) -> None:
        """Take note of what waits in *state*; ask for the next decision if there is none asked."""
        known = {action.confirmation_id for action in self.waiting}
        self.waiting = to_decide(state)
        open_now = {action.confirmation_id for action in self.waiting}
        self._sent = {key: sent for key, sent in self._sent.items() if key in open_now}
        self._edited = {key: args for key, args in self._edited.items() if key in open_now}
        undecided = [
            action
            for action in self.waiting
            if self._sent.get(action.confirmation_id) != action.status
        ]
        before, first = self.asked, undecided[0] if undecided else None
        self._asked = first if asks else None
        for action in undecided[1:] if asks else ():
            if action.confirmation_id not in known:
                self._sheet.tell(prefixed("?", f"{action.summary}: that is asked next"))
        if self._asked is not None and self.asked != before:
            self._show(self._asked)

    def answer(self, asked: str | None, line: str) -> bool:
        """Take *line* as the answer to the question *asked*; return False if it is none.

        *asked* is the one that stood when the line was begun; None where none did.
        """
        action, word = self._asked, line.strip()
        if action is None or asked != self.asked:
            return self._too_late(asked, word)
        if word.lower() in _YES:
            self._decide(action, confirm=True)
        elif word.lower() in _NO:
            self._decide(action, confirm=False)
        elif action.status in DOUBTS:
            return False
        elif word.lower() in _EDIT:
            self.to_edit = action
        elif word[:1].lower() == "e" and word[1:].lstrip().startswith("{"):
            self.edited(action, word[1:])
        else:
            return False
        return True

    def _too_late(self, asked: str | None, word: str) -> bool:
        """Say so, if *word* would answer a question, but not the one that stands now."""
        if word.lower() not in _YES | _NO | _EDIT or (asked is None and self._asked is None):
            return False
        self._ask_instead()
        return True

    def _ask_instead(self) -> None:
        if self._asked is None:
            self._sheet.tell("--  That is not asked any more.")
        else:
            self._sheet.tell("--  This came up while you typed; once more, please:")
            self._show(self._asked)

    def args_of(self, action: ActionState) -> dict[str, Any]:
        """Return the arguments with which a yes would be sent."""
        return self._edited.get(action.confirmation_id, action.args)

    def edited(self, action: ActionState, text: str) -> bool:
        """Take edited arguments as JSON, and ask again; return False if they are none."""
        self.to_edit = None
        now = self._asked
        # While an editor was open it may have been decided elsewhere, or its time ran out.
        if now is None or now.confirmation_id != action.confirmation_id or now.status in DOUBTS:
            self._sheet.tell("--  That is not asked any more; nothing changed.")
            if now is not None:
                self._show(now)
            return False
        try:
            args = _arguments(text)
        except JsonRefused as error:
            self._sheet.tell(prefixed("!!", f"These are no arguments, so nothing changed: {error}"))
            return False
        if args == action.args:
            self._edited.pop(action.confirmation_id, None)
        else:
            self._edited[action.confirmation_id] = args
        self._show(action)
        return True

    def decide(self, asked: str | None, *, confirm: bool) -> None:
        """Decide the only thing that is open, if that is what was *asked*; else say what is."""
        listed = [(action.confirmation_id, action.summary) for action in self.waiting]
        found = only_open_proposal(Decide(confirm), listed)
        if isinstance(found, Problem):
            self._sheet.tell(prefixed("!!", found.message))
        elif self._asked is None or asked != self.asked:
            self._ask_instead()
        else:
            self._decide(self._asked, confirm=confirm)

    def decide_named(self, word: str, *, confirm: bool) -> bool:
        """Decide what has the confirmation id *word*; return False if it is not open here."""
        action = next((a for a in self.waiting if a.confirmation_id == word), None)
        if action is not None:
            self._decide(action, confirm=confirm)
        return action is not None

    @staticmethod
    def latest_done(state: SessionState) -> ActionId | None:
        """Return the action that was done last and not undone."""
        done = [a for a in state.actions.by_id.values() if a.status == "committed"]
        return max(done, key=lambda action: action.latest_seq).action_id if done else None

    def _ask_again(self, action: ActionState) -> None:
        if action in self.waiting:
            self._asked = action
            self._show(action)

    def _show(self, action: ActionState) -> None:
        for line in card(action, self._edited.get(action.confirmation_id)):
            self._sheet.tell(line)

    def _decide(self, action: ActionState, *, confirm: bool) -> None:
        word = action.confirmation_id
        body: dict[str, Any] = {
            "type": "confirm" if confirm else "reject",
            "confirmation_id": word,
        }
        if confirm and word in self._edited and action.status not in DOUBTS:
            body["args"] = self._edited[word]

        def decided(outcome: Outcome) -> None:
            if isinstance(outcome, Problem):
                about = f", {outcome.param}" if outcome.param else ""
                text = f"{outcome.message} ({outcome.code.value}{about})"
                self._sheet.tell(prefixed("!!", text))
                self._sent.pop(word, None)
                self._ask_again(action)

        if self._ask(body, decided) is not None:
            self._sent[word] = action.status
            self._asked = next(
                (a for a in self.waiting if a.confirmation_id not in self._sent), None
            )
            if self._asked is not None:
                self._show(self._asked)


def _arguments(text: str) -> dict[str, Any]:
    args = parse(text.strip())  # as the server will
    if not isinstance(args, dict):
        raise JsonRefused("they have to be a JSON object")
    return args
