"""What a wish comes to: the rules of the memory, the same for every adapter.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from bargein.memory.errors import FactRefused
from bargein.memory.facts import MOST_FACTS, Change, Fact, Forget, Save, Undo, Wish


def change_for(wish: Wish, facts: Mapping[str, Fact], done: Change | None, at: str) -> Change:
    """Return the change that *wish* asks for.

    Args:
        wish: What is asked for.
        facts: All that is remembered of the principal, by key.
        done: The change that is to be undone, where it is kept.
        at: The time, UTC.

    Raises:
        FactRefused: If it can't be done.
    """
    match wish:
        case Save(key, text, source):
            change = Change(key, facts.get(key), Fact(key, text, source, at), source, at)
        case Forget(key, source):
            if key not in facts:
                raise FactRefused(f"Nothing is remembered under {key!r}.")
            change = Change(key, facts[key], None, source, at)
        case Undo(_, source):
            if done is None:
                raise FactRefused("It was done too long ago to be undone, or it was erased.")
            if facts.get(done.key) != done.after:
                raise FactRefused(f"What is remembered under {done.key!r} has changed since.")
            change = Change(done.key, done.after, done.before, source, at)
        case _:
            assert_never(wish)
    if change.before is None and change.after is not None and len(facts) >= MOST_FACTS:
        raise FactRefused(f"{MOST_FACTS} facts are remembered, which is the most; forget some.")
    return change
