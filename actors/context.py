"""What the model is shown of a conversation: what was said, and what of it was heard."""

from __future__ import annotations

from typing import Final

from bargein.actors.news import news_note, waiting_note
from bargein.models.client import INTERRUPTED, Message
from bargein.protocol.ids import NOTHING, TurnId
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState

BROKE_OFF: Final = "[this answer broke off because of a failure]"

GO_ON: Final = "Your answer broke off. Please go on from where it ended."


def messages_for(
    state: SessionState,
    turn_id: TurnId,
    words: str,
    *,
    continues: TurnId | None = None,
    most_chars: int,
) -> tuple[Message, ...]:
    """Return the conversation up to the turn *turn_id*, its *words* last and unchanged.

    A cancelled answer is cut at what the user saw or heard, with a mark; a
    rolled back turn is not there at all.  From the old end on, turns over
    *most_chars* are left out, so a turn costs the same however long the
    session is.
    """
    told: list[Message] = [Message("user", note) for note in waiting_note(state)]
    chars = len(words)
    until = state.seq  # what became of actions up to here is still to be told
    for turn in reversed(state.turns.values()):
        if turn.turn_id == turn_id or not _belongs(turn):
            continue
        since = turn.start_seq or NOTHING
        news = tuple(news_note(state, since, until))
        told.extend(Message("user", note) for note in news)
        until = since
        answer = _answer_of(turn)
        chars += len(turn.words) + len(answer) + sum(map(len, news))
        if chars > most_chars and told:
            break
        if answer:
            told.append(Message("assistant", answer))
        told.append(Message("user", "\n\n".join((turn.words, *turn.steered))))
    else:
        told.extend(Message("user", note) for note in news_note(state, NOTHING, until))
    told.reverse()
    goes_on = continues is not None and bool(told) and state.turns[continues].words == words
    return (*told, Message("user", GO_ON if goes_on else words))


def _belongs(turn: TurnState) -> bool:
    return not turn.rolled_back and turn.status not in ("queued", "open", "dropped")


def _answer_of(turn: TurnState) -> str:
    heard = turn.text if turn.heard is None else turn.heard
    match turn.status:
        case "cancelled":
            return f"{heard.rstrip()} {INTERRUPTED}".lstrip()
        case "failed":
            return f"{heard.rstrip()} {BROKE_OFF}".lstrip()
        case _:
            return heard
