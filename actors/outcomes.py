"""What became of commands before: known from the events that they left, also after a restart."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from bargein.protocol.actions import ActionState, ActionStatus, digest_of
from bargein.protocol.commands import Command, Confirm, Interrupt, Reject, Revert, Say
from bargein.protocol.ids import ActionId, Seq
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState
from bargein.tools.tool import HIDDEN

_NO: Final = ("rejected", "failed", "revert_failed")


@frozen
class Done:
    """What a command came to.

    Attributes:
        result: Of its reply; None where the id was used with another body.
        at_seq: Of its reply.
    """

    result: dict[str, Any] | None
    at_seq: Seq


def done_before(state: SessionState, command: Command) -> Done | None:
    """Return what *command* came to when it was sent before; None if it has to be done.

    Of the body only the words are on the timeline, so only they tell it from another.
    """
    if command.id is None:
        return None
    said, stopped = state.outcomes.get(command.id), state.stops.get(command.id)
    decided = state.actions.decided.get(command.id)
    match command:
        case Confirm() | Reject() | Revert() if decided is not None:
            return _decided(state, command, *decided)
        case Say() if said is not None and command.text in state.turns[said].steered:
            result = {"turn_id": said, "outcome": "consumed", "interrupted": None}
            return Done(result, state.seq)
        case Say() if said is not None and command.text in (state.turns[said].words, ""):
            return _said(state.turns[said], state.seq)
        case Say() if said is None:
            # It had stopped a turn when the server died, but its words were not recorded.
            return None
        case Interrupt() if said is None and stopped is not None:
            return _stopped(state.turns[stopped])
        case _ if said is not None or stopped is not None or decided is not None:
            return Done(None, state.seq)
        case _:
            return None


def _decided(
    state: SessionState,
    command: Confirm | Reject | Revert,
    action_id: ActionId,
    status: ActionStatus,
) -> Done:
    action = state.actions.by_id[action_id]
    match command:
        case Confirm(confirmation_id=named, args=edited):
            same = edited is None or _is_as_shown(edited, action)
            fits = named == action.confirmation_id and same and status not in _NO
        case Reject(confirmation_id=named):
            fits = named == action.confirmation_id and status in _NO
        case Revert(action_id=named):
            fits = named == action_id and status == "reverting"
    result = {"action_id": action_id, "state": status} if fits else None
    return Done(result, state.seq)


def _is_as_shown(edited: dict[str, Any], action: ActionState) -> bool:
    # What was secret in them is on no timeline: any other secret is taken for the same.
    hidden = {name: HIDDEN for name, value in action.args.items() if value == HIDDEN}
    return digest_of(edited | hidden) == action.digest and hidden.keys() <= edited.keys()


def _said(turn: TurnState, head: Seq) -> Done:
    if turn.waited:
        outcome, at_seq = "queued", turn.input_seq
    else:
        outcome, at_seq = "rolled_back" if turn.replaces else "started", turn.response_seq
    result = {"turn_id": turn.turn_id, "outcome": outcome, "interrupted": turn.cut_short}
    return Done(result, at_seq or head)


def _stopped(turn: TurnState) -> Done | None:
    if turn.ack_seq is None:
        return None  # its ladder runs, and will answer
    return Done(stopped(turn), turn.ack_seq)


def stopped(turn: TurnState) -> dict[str, Any]:
    """Return the result of an interrupt of a turn whose ladder is over."""
    return {
        "interrupted": True,
        "turn_id": turn.turn_id,
        "ack_seq": turn.ack_seq,
        "still_committing": list(turn.still_committing),
    }
