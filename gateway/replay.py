"""A stored timeline as lines that a person can read: `bargein replay`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import trio

from bargein.gateway.audit_commands import on_store
from bargein.gateway.flags import fail, settings_of, until_seen_enough, with_settings
from bargein.gateway.settings import Settings
from bargein.protocol.codec import decode_event, encode_payload
from bargein.protocol.events import Event
from bargein.protocol.ids import NOTHING, SessionId
from bargein.timeline.archive import Archive
from bargein.timeline.store import Store

PAGE_EVENTS: Final = 500
PAGE_BYTES: Final = 512 * 1024
MOST_CHARS: Final = 100


def replay_command(open_store: Callable[[Settings], Archive]) -> click.Command:
    """Return `bargein replay`, for the stores that *open_store* makes of settings."""

    @click.command("replay")
    @click.argument("session_id", metavar="SESSION")
    @with_settings
    def replay(session_id: str, config: Path | None, **flags: Any) -> None:
        """Print the stored timeline of SESSION, one event a line."""
        settings = settings_of(config, flags)
        wanted = SessionId(session_id)
        with until_seen_enough():
            # Looked for first: the store would make a file where there is none.
            if not settings.store_is_there or not on_store(
                settings, lambda: print_timeline(open_store(settings), wanted)
            ):
                fail(f"there is no session {session_id} in {settings.store}", 1)

    return replay


async def replay_lines(store: Store, session_id: SessionId) -> AsyncIterator[str]:
    """Return one line for each event: seq, ms since the one before, turn, type, payload.

    Raises:
        StoreError: If the timeline can't be read, or is damaged.
    """
    after, before = NOTHING, None
    while page := await store.read(session_id, after, limit=PAGE_EVENTS, most_bytes=PAGE_BYTES):
        for stored in page:
            event = decode_event(stored.frame)
            yield _line(event, before)
            before = event
        after = page[-1].seq


async def print_timeline(store: Store, session_id: SessionId) -> bool:
    """Print the timeline of a stored session; return whether there is one.

    Raises:
        StoreError: If it can't be read, or is damaged.
    """
    found = False
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        async for line in replay_lines(store, session_id):
            found = True
            click.echo(line)
        nursery.cancel_scope.cancel(reason="all is printed")
    return found


def _line(event: Event, before: Event | None) -> str:
    gap_ms = 0 if before is None else _ms_between(before.ts, event.ts)
    fields = msgspec.json.decode(encode_payload(event.payload), type=dict[str, object])
    told = " ".join(f"{key}={_short(value)}" for key, value in fields.items())
    turn = event.turn_id or "-"
    return f"{event.seq:>6}  {gap_ms:>+7} ms  {turn:<9} {event.type:<18} {told}".rstrip()


def _ms_between(earlier: str, later: str) -> int:
    span = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    return round(span.total_seconds() * 1000)


def _short(value: object) -> str:
    # As JSON in ASCII: whatever a user or a model wrote can't paint the terminal.
    text = msgspec.json.encode(value).decode()
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}~"
