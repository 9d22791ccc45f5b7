"""Tools with which an agent remembers and forgets facts about the user.

    Agent("aide", "…", tools=(*my_tools, *memory_tools()))

Both are side effects that a person confirms: a text that a model has read must not be able
to write into every later session by itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from bargein.memory.errors import FactRefused, FactsError, FactsUnavailable
from bargein.memory.facts import KEY_PATTERN, MOST_TEXT_CHARS, Change, FactBook, Source
from bargein.protocol.events import MemorySaved
from bargein.tools.commitment import (
    AutoConfirm,
    Commitment,
    Happened,
    NeverHappened,
    Settlement,
)
from bargein.tools.context import ToolContext
from bargein.tools.errors import ToolFailed
from bargein.tools.tool import Tool, tool

__all__ = ["is_memory_tool", "memory_tools"]

NO_MEMORY: Final = "Nothing can be remembered here."

Key = Annotated[str, Meta(pattern=KEY_PATTERN)]
Text = Annotated[str, Meta(min_length=1, max_length=MOST_TEXT_CHARS)]


def memory_tools(auto_confirm: AutoConfirm | None = None) -> tuple[Tool, Tool]:
    """Return the tools `remember` and `forget`.

    What they do can be asked about and undone, until as many changes of the same user have
    followed as the memory keeps.

    Args:
        auto_confirm: What is confirmed without a person, of each of the two; None: nothing.
            Then whatever reaches the model, such as a page that it has read, can write as
            much as the budget allows into all later sessions of this user.
    """

    @tool(
        summary="Remember about you, in later conversations too: {text} (as {key})",
        status=_became,
        revert=_take_back,
        auto_confirm=auto_confirm,
    )
    async def remember(key: Key, text: Text, context: ToolContext) -> dict[str, Any]:
        """Keep a fact about the user for later conversations; it replaces what has the same key.

        Only for lasting facts that the user told you themselves and would want you to know.

        Args:
            key: What the fact is about, short and in lower case, such as diet or home_town.
            text: The fact, in one or two sentences.
            context: Of the call.
        """
        try:
            change = await _book(context).save(key, text, _source(context))
        except (FactRefused, FactsUnavailable) as error:  # of any other nobody knows the outcome
            raise ToolFailed(str(error)) from error
        _note(change, context)
        return _told(change)

    @tool(
        summary="Forget what is remembered about you as {key}",
        status=_became,
        revert=_take_back,
        auto_confirm=auto_confirm,
    )
    async def forget(key: Key, context: ToolContext) -> dict[str, Any]:
        """Forget a fact about the user, where they ask for that or it is no longer true.

        Args:
            key: The key of the fact, as it is remembered.
            context: Of the call.
        """
        try:
            change = await _book(context).forget(key, _source(context))
        except (FactRefused, FactsUnavailable) as error:  # as above
            raise ToolFailed(str(error)) from error
        return _told(change)

    return remember, forget


def is_memory_tool(candidate: Tool) -> bool:
    """Whether `memory_tools` made it, whatever it is called."""
    return candidate.status is _became


async def _became(key: str, context: ToolContext) -> Settlement:
    try:
        change = await _book(context).outcome(key)
    except (FactsError, ToolFailed):
        return None
    if change is None:
        return NeverHappened("the memory was not changed")
    _note(change, context)
    return Happened(_told(change))


async def _take_back(done: Commitment, context: ToolContext) -> dict[str, Any]:
    source = Source(context.session_id, context.turn_id, done.revert_key)
    try:
        change = await _book(context).undo(done.key, source)
    except (FactRefused, FactsUnavailable) as error:
        raise ToolFailed(str(error)) from error
    return _told(change)


def _book(context: ToolContext) -> FactBook:
    if context.facts is None:
        raise ToolFailed(NO_MEMORY)
    return context.facts


def _source(context: ToolContext) -> Source:
    if context.key is None:
        raise ToolFailed("This was called without an idempotency key.")
    return Source(context.session_id, context.turn_id, context.key)


def _note(change: Change, context: ToolContext) -> None:
    if change.after is not None:
        context.notes.note(MemorySaved(change.key))


def _told(change: Change) -> dict[str, Any]:
    return {
        "key": change.key,
        "remembered": change.after is not None,
        "replaced": change.before is not None and change.after is not None,
    }
