"""What the model is told of actions beside the conversation: all that became of them, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bargein.actors.news import HEAD, WAITING
from bargein.models.client import Message

Event = dict[str, Any]

_SAYS: Final = {
    "action.committed": "and done",
    "action.failed": "tried, and not done",
    "action.in_doubt": "nobody knows",
    "action.rejected": "will not be",
    "action.expired": "nobody confirmed it in time",
    "action.reverted": "undone",
    "action.revert_failed": "undoing it failed",
}
"""Of each outcome, words that only it is told with."""


def without_notes(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the conversation alone."""
    return tuple(m for m in messages if not _is_note(m))


def broken_notes(messages: tuple[Message, ...], events: list[Event], started: int) -> Iterator[str]:
    """Name what the model was told wrongly, or not at all, as a turn started at an event."""
    news, due = _outcomes(events), len(_outcomes(events[:started]))
    told = [line for note in messages if _is_note(note, HEAD) for line in _lines(note)]
    if len(told) < due:
        yield f"the model was told {len(told)} of {due} outcomes"
    for line, (name, says) in zip(told, news, strict=False):
        if not line.startswith(f"- {name}") or says not in line:
            yield f"the model was told {line!r} instead of {name} {says}"
    if len(told) > len(news):
        yield f"the model was told {len(told)} outcomes, and there are {len(news)}"
    proposed = {_name(event) for event in events if event["type"] == "action.proposed"}
    for note in messages:
        if _is_note(note, WAITING):
            unknown = {line.removeprefix("- ") for line in _lines(note)} - proposed
            if unknown:
                yield f"the model was told that these wait: {sorted(unknown)}"


def _is_note(message: Message, *heads: str) -> bool:
    content = message.content
    return isinstance(content, str) and content.startswith(heads or (HEAD, WAITING))


def _lines(note: Message) -> list[str]:
    assert isinstance(note.content, str)
    return note.content.splitlines()[1:]


def _outcomes(events: list[Event]) -> list[tuple[str, str]]:
    names = {e["payload"]["action_id"]: _name(e) for e in events if e["type"] == "action.proposed"}
    return [
        (names[event["payload"]["action_id"]], _SAYS[event["type"]])
        for event in events
        if event["type"] in _SAYS
    ]


def _name(event: Event) -> str:
    return f"{event['payload']['action']} ({event['payload']['summary']})"
