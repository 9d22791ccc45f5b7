"""Stored sessions for an operator: listed, exported, erased."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
import trio
from attrs import asdict, frozen

from bargein.actors.clock import SystemClock, utc_text
from bargein.actors.retention import LOOK_S, erase
from bargein.protocol.ids import NOTHING, SessionId
from bargein.timeline.archive import Archive, Erasure
from bargein.timeline.store import TimelineCorrupt

PAGE_SESSIONS = 200
PAGE_EVENTS = 500
PAGE_BYTES = 1024 * 1024


@frozen
class Owner:
    """Whose sessions are meant."""

    principal: str
    tenant: str | None


async def print_sessions(store: Archive, owner: Owner | None) -> bool:
    """Print one JSON line for each session, oldest first; those of *owner*, or all."""
    after = 0
    while page := await store.sessions(after, limit=PAGE_SESSIONS):
        for listed in page:
            row = listed.row
            if owner is None or owner == Owner(row.principal, row.tenant):
                click.echo(json.dumps({**asdict(row), "last_at": listed.last_at}))
        after = page[-1].place
    return True


async def export_sessions(store: Archive, owner: Owner) -> bool:
    """Print all that is stored of *owner*: a line for each session, then its events.

    Returns False if some of it is damaged; that is said in a line of its own.
    """
    is_whole = True
    for session_id in await store.session_ids_of(owner.principal, owner.tenant):
        try:
            await _export(store, session_id)
        except TimelineCorrupt as error:
            is_whole = False
            click.echo(json.dumps({"damaged": {"session_id": session_id, "seq": error.seq}}))
    return is_whole


async def erase_sessions(
    store: Archive, owner: Owner, by: str, *, alone: bool, wait_s: float
) -> bool:
    """Erase all sessions of *owner*; return whether they are gone.

    Where a server has the store open, which *alone* denies, it is asked to do it: only
    it can end a session that is live. What it has not done within *wait_s* stays asked.
    """
    clock = SystemClock()
    names = await store.session_ids_of(owner.principal, owner.tenant)
    if alone:
        for session_id in names:
            await erase(store, clock, session_id, by)
    else:
        now = utc_text(clock.utc_ms())
        await store.ask_erasure(tuple(Erasure(name, now, by) for name in names))
        with trio.move_on_after(wait_s):
            while await _left(store, names):  # noqa: ASYNC110 - another process works on it
                await trio.sleep(LOOK_S / 4)
    left = await _left(store, names)
    click.echo(f"{len(names) - len(left)} sessions erased")
    if left:
        click.echo(f"{len(left)} are still asked for; the server erases them once it can")
    return not left


async def _left(store: Archive, names: Sequence[SessionId]) -> set[SessionId]:
    return {asked.session_id for asked in await store.erasures_asked()} & set(names)


async def _export(store: Archive, session_id: SessionId) -> None:
    row = await store.row(session_id)
    if row is None:
        return
    click.echo(json.dumps({"session": asdict(row)}))
    after = NOTHING
    while page := await store.read(session_id, after, limit=PAGE_EVENTS, most_bytes=PAGE_BYTES):
        for stored in page:
            # The same JSON, in one line of ASCII whatever it says.
            click.echo(json.dumps({"event": json.loads(stored.frame)}))
        after = page[-1].seq
