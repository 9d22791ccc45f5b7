"""How the sessions of a server that stops end, and what their clients are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

from bargein.actors.audience import Client
from bargein.actors.session import Session
from bargein.actors.together import all_of
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import CloseCode
from bargein.protocol.frames import GoAway
from bargein.timeline.store import StoreUnavailable

RECONNECT_AFTER_MS: Final = 1000
"""What a server that drains tells its clients: the next one is up by then."""


class Draining(StoreUnavailable):
    """The server that has the session is about to end: come back, and it is elsewhere."""

    def __init__(self) -> None:
        super().__init__("the session's server drains")


async def drain_all(
    everyone: tuple[Session, ...],
    bystanders: Iterable[Client],
    *,
    grace_s: float,
    flush_s: float,
    reason: str,
    is_alone: bool,
) -> None:
    """Let running turns finish within *grace_s*, stop the rest, send everybody away.

    Where others serve, whoever has nothing to wait for goes there at once; alone, all stay until
    all are done, since nobody else would have them.
    """
    farewell = GoAway(reason, RECONNECT_AFTER_MS)
    for session in everyone:
        session.wind_down()
        session.tell_everyone(farewell)
    for client in bystanders:
        client.show(encode_frame(farewell))

    left = set(everyone)

    async def until_quiet(session: Session) -> None:
        await session.until_quiet()
        if not is_alone:
            send_away(session)

    def send_away(session: Session) -> None:
        left.discard(session)
        session.close_connections(CloseCode.DRAIN, reason)
        session.end()

    with trio.move_on_after(grace_s):
        await all_of(everyone, until_quiet)
    with trio.move_on_after(flush_s):
        await all_of(everyone, Session.until_stopped)
    for session in tuple(left):
        send_away(session)
    with trio.move_on_after(flush_s):
        await all_of(everyone, Session.until_ended)
