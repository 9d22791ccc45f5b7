"""What is remembered of the user, read once for a turn; a turn goes on without it if need be."""

from __future__ import annotations

from typing import Final

import structlog
import trio

from bargein.actors.messages import Noted, Outlet
from bargein.actors.turn import Turn
from bargein.memory.errors import FactsError
from bargein.memory.facts import FactBook
from bargein.memory.recall import told
from bargein.protocol.events import Status

READ_LIMIT_S: Final = 1.0
"""A person waits for the first word meanwhile."""

UNREAD: Final = "What is remembered of you can't be read now; this answer goes without it."

_log = structlog.get_logger()


async def recollect(book: FactBook, turn: Turn, output: Outlet) -> str:
    """Return what a model is told of the facts in *book*, or "".

    Where they can't be read, or not in time, the user is told so (`status`).
    """
    try:
        with trio.fail_after(READ_LIMIT_S):
            return told(await book.facts())
    except (FactsError, trio.TooSlowError) as error:
        _log.warning("memory.not_read", turn=turn.id, error=str(error) or "too slow")
    await output.tell(Noted(turn, (Status(UNREAD),)))
    return ""
