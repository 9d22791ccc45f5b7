"""The audit read from a store and checked from its first line to its last."""

from __future__ import annotations

from typing import Final

from bargein.timeline.archive import Archive
from bargein.timeline.audit import AuditCheck, AuditDamage, AuditHead
from bargein.timeline.store import StoreDead

PAGE_LINES: Final = 1000


async def checked_audit(store: Archive, noted: AuditHead | None = None) -> AuditCheck:
    """Check the whole audit of *store*, which may be written to meanwhile.

    With *noted*, a head that was printed earlier, the chain has to lead through it:
    this finds a chain that was written anew from end to end.

    Raises:
        StoreUnavailable: If it can't be read now; try again.
    """
    check = AuditCheck()
    try:
        while check.damage is None:
            lines = await store.audit_lines(check.reached.n, limit=PAGE_LINES)
            before = check.reached.n
            check.follow(lines)
            if noted is not None and before < noted.n <= check.reached.n:
                _hold(check, noted, lines[noted.n - before - 1].head)
            if len(lines) < PAGE_LINES and await _is_at_end(store, check):
                break
    except StoreDead as error:  # a page of the file that SQLite can't read
        check.damage = AuditDamage(check.reached.n + 1, f"it can't be read: {error.cause}")
    if noted is not None and noted.n > check.reached.n and check.damage is None:
        check.damage = AuditDamage(check.reached.n + 1, f"it is missing: line {noted.n} was noted")
    return check


async def _is_at_end(store: Archive, check: AuditCheck) -> bool:
    # Read after the lines, and written with them: what it knows of and they don't
    # show is either newer than they are, or gone.
    head = await store.audit_head()
    if head is not None and head.n > check.reached.n:
        check.follow(await store.audit_lines(check.reached.n, limit=PAGE_LINES))
        if head.n <= check.reached.n:
            return False  # it was newer: go on from here
    check.end(head)
    return True


def _hold(check: AuditCheck, noted: AuditHead, found: AuditHead) -> None:
    if found != noted and check.damage is None:
        check.damage = AuditDamage(noted.n, "its hash is not the one that was noted elsewhere")
