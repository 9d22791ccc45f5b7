"""What the model is told of actions: what became of them, and which still wait."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bargein.protocol.actions import BY_POLICY, PROPOSED, ActionState
from bargein.protocol.ids import Seq
from bargein.protocol.state import SessionState

MOST_RESULT_CHARS: Final = 2000
MOST_NEWS: Final = 32
"""Of one stretch between two turns, the latest; a model that is told more reads none of it."""

HEAD: Final = "[From the server, not from the user: what became of actions that you proposed]"
WAITING: Final = "[From the server, not from the user: these wait for the user's yes or no]"


def news_note(state: SessionState, since: Seq, until: Seq) -> Iterator[str]:
    """Yield one note on what became of actions after *since* and up to *until*, if anything did."""
    news = state.actions.news
    first = bisect_right(news, since, key=_seq_of)
    last = bisect_right(news, until, key=_seq_of)
    lines = [
        f"- {_name(action)}: {_end(action, kind)}"
        for _, action_id, kind in news[max(first, last - MOST_NEWS) : last]
        if (action := state.actions.by_id[action_id])
    ]
    if lines:
        yield "\n".join((HEAD, *lines))


def waiting_note(state: SessionState) -> Iterator[str]:
    """Yield one note on the proposals that nobody has decided yet, if there are any."""
    waiting = state.actions.awaiting(PROPOSED)
    if waiting:
        yield "\n".join((WAITING, *(f"- {_name(action)}" for action in waiting)))


def _seq_of(news: tuple[Seq, Any, Any]) -> Seq:
    return news[0]


def _name(action: ActionState) -> str:
    return f"{action.action} ({action.summary})"


def _end(action: ActionState, kind: str) -> str:
    match kind:
        case "action.committed":
            who = "the app's policy" if action.by == BY_POLICY else "the user"
            edited = " with other arguments: " + _json(action.args) if action.edited else ""
            return f"confirmed by {who}{edited}, and done. Result: {_json(action.result)}"
        case "action.failed":
            return f"tried, and not done. Error: {_json(action.error)}"
        case "action.in_doubt":
            return "tried, and nobody knows whether it was done; don't try it again"
        case "action.rejected":
            return f"not done, and it will not be: {_json(action.reason)}"
        case "action.expired":
            return "not done: nobody confirmed it in time"
        case "action.reverted":
            return f"undone again. Result: {_json(action.revert_result)}"
        case _:
            return f"done; undoing it failed. Error: {_json(action.revert_error)}"


def _json(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MOST_RESULT_CHARS else text[:MOST_RESULT_CHARS] + " … (cut)"
