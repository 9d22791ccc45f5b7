"""Waits for many sessions at once, some of which may end meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import trio

from bargein.actors.session import Session


async def all_of(sessions: Iterable[Session], wait: Callable[[Session], Awaitable[None]]) -> None:
    """Return when *wait* has come for each of *sessions* that is still there."""
    async with trio.open_nursery() as waits:
        for session in sessions:
            waits.start_soon(_until, wait, session)


async def _until(wait: Callable[[Session], Awaitable[None]], session: Session) -> None:
    """Wait for a session that may end meanwhile: then there is nothing to wait for."""
    async with trio.open_nursery() as race:

        async def end() -> None:
            await session.until_ended()
            race.cancel_scope.cancel(reason="the session has ended")

        race.start_soon(end)
        await wait(session)
        race.cancel_scope.cancel(reason="it has come")
