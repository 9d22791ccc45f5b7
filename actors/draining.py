"""How the sessions of a server that stops end, and what their clients are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import trio

from bargein.actors.audience import Client
from bargein.actors.session import Session
from bargein.actors.together import all_of
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import CloseCode
from bargein.protocol.frames import GoAway
from bargein.protocol.ids import SessionId
from bargein.timeline.store import StoreUnavailable

RECONNECT_AFTER_MS: Final = 1000
"""What a server that drains tells its clients: the next one is up by then."""


class Draining(StoreUnavailable):
    """The server that has the session is about to end: come back, and it is elsewhere."""

    def __init__(self) -> None:
        super().__init__("the session's server drains")


async def drain_all(
    live: Mapping[SessionId, Session],
    bystanders: Iterable[Client],
    *,
    grace_s: float,
    flush_s: float,
    reason: str,
    is_alone: bool,
) -> None:
    """Let running turns finish within *grace_s*, stop the rest, send everybody away.

    Where others serve, whoever has nothing to wait for goes there at once; alone, all stay until
    all are done, since nobody else would have them. Who comes into memory meanwhile, since what a
    dead server left was taken over, is sent away, too.
    """
    farewell = GoAway(reason, RECONNECT_AFTER_MS)
    for client in bystanders:
        client.show(encode_frame(farewell))
    grace_until_s = trio.current_time() + grace_s
    seen: set[Session] = set()
    while some := tuple(session for session in live.values() if session not in seen):
        seen.update(some)
        await _drain(some, farewell, grace_until_s, flush_s, is_alone=is_alone)


async def _drain(
    everyone: tuple[Session, ...],
    farewell: GoAway,
    grace_until_s: float,
    flush_s: float,
    *,
    is_alone: bool,
) -> None:
    for session in everyone:
        session.wind_down()
        session.tell_everyone(farewell)
    left = set(everyone)

    async def until_quiet(session: Session) -> None:
        await session.until_quiet()
        if not is_alone:
            send_away(session)

    def send_away(session: Session) -> None:
        left.discard(session)
        session.close_connections(CloseCode.DRAIN, farewell.reason)
        session.end()

    with trio.move_on_at(grace_until_s):
        await all_of(everyone, until_quiet)
    with trio.move_on_after(flush_s):
        await all_of(everyone, Session.until_stopped)
    for session in tuple(left):
        send_away(session)
    with trio.move_on_after(flush_s):
        await all_of(everyone, Session.until_ended)
