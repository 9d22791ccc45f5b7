"""`bargein report`: how the last week was, from the timelines of the store."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import trio

from bargein.actors.clock import SystemClock, utc_text
from bargein.gateway.audit_commands import on_store
from bargein.gateway.flags import settings_of, until_seen_enough, with_settings
from bargein.gateway.review import Review
from bargein.gateway.review_text import lines_of, tree_of
from bargein.gateway.settings import Settings
from bargein.protocol.codec import EventRefused, decode_event
from bargein.protocol.ids import NOTHING, SessionId
from bargein.timeline.archive import Archive
from bargein.timeline.store import TimelineCorrupt

PAGE_SESSIONS: Final = 200
PAGE_EVENTS: Final = 1000
PAGE_BYTES: Final = 1024 * 1024

_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")


def report_command(open_store: Callable[[Settings], Archive]) -> click.Command:
    """Return `bargein report`, for the stores that *open_store* makes of settings."""

    @click.command("report")
    @click.option(
        "--since", default="7d", metavar="WHEN", help="90m, 24h, 7d, 2w; or a date. By default 7d."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
    @with_settings
    def report(since: str, config: Path | None, *, as_json: bool, **flags: Any) -> None:
        """Review what the sessions of the store have come to; it may run beside the server.

        Exits with 1 if a session is damaged; what could be read of it counts.
        """
        now_ms = SystemClock().utc_ms()
        review = Review(_since(since, now_ms), utc_text(now_ms))
        settings = settings_of(config, flags)
        with until_seen_enough():
            on_store(settings, lambda: _read(open_store(settings), review))
            tree = tree_of(review)
            click.echo(json.dumps(tree, indent=2) if as_json else "\n".join(lines_of(tree)))
        if review.damaged:
            sys.exit(1)

    return report


def _since(text: str, now_ms: int) -> str:
    """Return the time that *text* means, as events have it."""
    if ago := _AGO.fullmatch(text):
        return utc_text(max(0, now_ms - int(ago[1]) * _UNITS_S[ago[2]] * 1000))
    try:
        when = datetime.fromisoformat(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return utc_text(max(0, int(when.timestamp() * 1000)))
    except (ValueError, OverflowError):
        right = "90m, 24h, 7d, 2w, or a date such as 2026-01-31"
        raise click.BadParameter(f"{text!r} is not {right}", param_hint="--since") from None


async def _read(store: Archive, review: Review) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await read_all(store, review)
        nursery.cancel_scope.cancel(reason="all is read")


async def read_all(store: Archive, review: Review) -> None:
    """Read every session of *store* in which something happened in the time of *review*.

    Raises:
        StoreError: If the store can't be read.
    """
    names, after = set(await store.session_names()), 0
    while page := await store.sessions(after, limit=PAGE_SESSIONS):
        for listed in page:
            names.discard(listed.row.session_id)
            if listed.last_at >= review.since:
                await _read_session(store, review, listed.row.session_id)
        after = page[-1].place
    for session_id in sorted(names):  # the list leaves damaged ones out
        try:
            row = await store.row(session_id)
        except TimelineCorrupt:
            review.damaged.append(session_id)
        else:
            if row is not None:  # else it was erased meanwhile
                await _read_session(store, review, session_id)


async def _read_session(store: Archive, review: Review, session_id: SessionId) -> None:
    reading, after = review.session(session_id), NOTHING
    try:
        while page := await store.read(session_id, after, limit=PAGE_EVENTS, most_bytes=PAGE_BYTES):
            for stored in page:
                reading.take(decode_event(stored.frame))
            after = page[-1].seq
    except (TimelineCorrupt, EventRefused):
        review.damaged.append(session_id)
    reading.end()
