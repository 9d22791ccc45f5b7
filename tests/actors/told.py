"""What a model is to be told of a conversation, worked out from its end, all of it each time."""

from __future__ import annotations

from bargein.actors.context import BROKE_OFF
from bargein.actors.news import news_note, waiting_note
from bargein.models.client import INTERRUPTED
from bargein.protocol.ids import NOTHING, TurnId
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState


def told_anew(state: SessionState, turn_id: TurnId, words: str, most_chars: int) -> list[object]:
    """Return the contents of the messages."""
    told: list[object] = list(waiting_note(state))
    chars = len(words)
    until = state.seq
    for turn in reversed(state.turns.values()):
        if turn.turn_id == turn_id or not belongs(turn):
            continue
        since = turn.start_seq or NOTHING
        news = tuple(news_note(state, since, until))
        told.extend(news)
        until = since
        answer = answer_of(turn)
        chars += len(turn.words) + len(answer) + sum(map(len, news))
        if chars > most_chars and told:
            break
        if answer:
            told.append(answer)
        told.append("\n\n".join((turn.words, *turn.steered)))
    else:
        told.extend(news_note(state, NOTHING, until))
    told.reverse()
    return [*told, words]


def belongs(turn: TurnState) -> bool:
    return not turn.rolled_back and turn.status not in ("queued", "open", "dropped")


def answer_of(turn: TurnState) -> str:
    heard = turn.text if turn.heard is None else turn.heard
    marks = {"cancelled": INTERRUPTED, "failed": BROKE_OFF}
    mark = marks.get(turn.status)
    return heard if mark is None else f"{heard.rstrip()} {mark}".lstrip()
