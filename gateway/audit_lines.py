"""The audit for an operator: `bargein audit verify` and `bargein audit show`."""

from __future__ import annotations

import json
from functools import partial

import click
import trio
from attrs import asdict

from bargein.protocol.ids import SessionId
from bargein.timeline.archive import Archive
from bargein.timeline.audit import HASH_BYTES, AuditCheck, AuditHead, AuditLine, entry_of
from bargein.timeline.verification import PAGE_LINES, checked_audit


def head_of(text: str) -> AuditHead:
    """Return the head that `verify` printed as *text*.

    Raises:
        ValueError: If it is not one; it is a number, a colon and a hash.
    """
    n, _, digest = text.partition(":")
    head = AuditHead(int(n), bytes.fromhex(digest))
    if str(head) != text.lower() or len(head.hash) != HASH_BYTES or head.n < 0:
        raise ValueError(text)
    return head


async def verify_audit(store: Archive, noted: AuditHead | None) -> AuditCheck:
    """Open *store*, check its audit, and return what was found.

    Raises:
        StoreError: If the store can't be opened or read.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        check = await checked_audit(store, noted)
        nursery.cancel_scope.cancel(reason="all is checked")
    return check


async def print_audit(store: Archive, session_id: SessionId | None) -> None:
    """Print the lines of *store*, all or those of one session, as JSON lines.

    Raises:
        StoreError: If the store can't be opened or read.
    """
    after = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        while lines := await store.audit_lines(after, limit=PAGE_LINES):
            for text in filter(None, map(partial(_shown, session_id), lines)):
                click.echo(text)
            after = lines[-1].n
        nursery.cancel_scope.cancel(reason="all is printed")


def _shown(only: SessionId | None, line: AuditLine) -> str | None:
    entry = entry_of(line)
    if entry is None:
        # Whose it was can't be known, so it is shown to whoever looks.
        return json.dumps({"n": line.n, "damaged": True})
    if only is not None and entry.session_id != only:
        return None
    return json.dumps({"n": line.n, **asdict(entry), "hash": line.hash.hex()})
