"""Actions as lines for a person: what is to be decided, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from attrs import frozen

from bargein.gateway.line_parts import as_json, keep, uncut
from bargein.protocol import events, projections
from bargein.protocol.actions import BY_POLICY, REVERT_SUFFIX
from bargein.protocol.ids import ActionId
from bargein.protocol.lines import SHORT_CHARS, compact, one_line, prefixed, visible

_ENDS: Final[dict[str, str]] = {
    "action.committed": "done",
    "action.rejected": "not done: {0.reason}",
    "action.expired": "not done: nobody decided in time",
    "action.failed": "failed: {0.error}",
    "action.in_doubt": "may or may not have been done",
    "action.reverted": "undone",
    "action.revert_failed": "could not be undone: {0.error}",
}
_REVERT_IN_DOUBT: Final = "may or may not have been undone"


@frozen
class Action:
    """What a view remembers of an action.

    Attributes:
        asked: A person is, or was, asked.
    """

    summary: str
    confirmation_id: str
    asked: bool = True


def proposal_lines(known: dict[str, Action], payload: events.ActionProposed) -> list[str]:
    """Return what asks a person, and note the action in *known*; one by policy asks nobody."""
    summary = one_line(payload.summary, SHORT_CHARS)
    word, asked = visible(payload.confirmation_id), payload.effect == "side_effect"
    keep(known, payload.action_id, Action(summary, word, asked))
    if not asked:
        return []
    *first, last = uncut("?", payload.summary)
    return [*first, f"{last}  — /yes {word} or /no {word}"]


def outcome_lines(known: dict[str, Action], payload: events.Payload) -> Iterator[str]:
    """Yield the lines of an event of an action in *known*; none for any other event."""
    match payload:
        case events.ActionConfirmed():
            yield from _confirmed(known, payload)
        case events.ActionInDoubt(action_id=action_id):
            of_revert = payload.idempotency_key.endswith(REVERT_SUFFIX)
            yield _line(known, action_id, _REVERT_IN_DOUBT if of_revert else _ENDS[payload.type])
            if (action := known.get(action_id)) is not None:
                word = action.confirmation_id
                what = "undone" if of_revert else "done"
                yield f"?  Was it {what}?  — /yes {word} if it was, /no {word} if not"
        case _ if (end := _ENDS.get(payload.type)) is not None:
            yield _ended(known, payload, end)
        case _:
            return


def summary_of(known: dict[str, Action], action_id: ActionId) -> str:
    """Return what an action is; its id where it was proposed too long ago."""
    action = known.get(action_id)
    return one_line(action_id, SHORT_CHARS) if action is None else action.summary


def listed(view: projections.Actions) -> Iterable[str]:
    """Return a line for each action of a session, with the ids to decide or to undo it by."""
    if view.earlier:
        yield prefixed("act", f"{view.earlier} earlier ones are not listed")
    for action in view.actions:
        summary = one_line(action.summary or action.action, SHORT_CHARS)
        line = prefixed("act", f"{action.action_id} {summary}: {action.state}")
        word = visible(action.confirmation_id)
        waits = action.state in ("proposed", "in_doubt")
        yield f"{line}  — /yes {word} or /no {word}" if waits else line


def _confirmed(known: dict[str, Action], payload: events.ActionConfirmed) -> Iterator[str]:
    action = known.get(payload.action_id)
    if action is not None and not action.asked:
        return
    how = "confirmed by the app's policy" if payload.by == BY_POLICY else "confirmed"
    if isinstance(payload.args, dict):
        how += ", with " + ", ".join(f"{key}={as_json(arg)}" for key, arg in payload.args.items())
    yield _line(known, payload.action_id, how)


def _ended(known: dict[str, Action], payload: Any, end: str) -> str:
    result = getattr(payload, "result", None)
    told = "" if result is None else f": {compact(result)}"
    return _line(known, payload.action_id, end.format(payload) + told)


def _line(known: dict[str, Action], action_id: ActionId, became: str) -> str:
    return prefixed("act", f"{summary_of(known, action_id)}: {became}")
