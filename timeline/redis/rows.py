"""A session's index row in Redis, read and checked."""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import evolve, frozen

from bargein.protocol.ids import NOTHING, Epoch, NodeId, Seq, SessionId
from bargein.timeline.checksum import row_crc
from bargein.timeline.redis.cold import Cold
from bargein.timeline.redis.keys import row_key
from bargein.timeline.redis.known import Grant
from bargein.timeline.redis.scripts import Argument, Command
from bargein.timeline.store import NewSession, SessionRow, TimelineCorrupt

_FIELDS: Final = (
    "principal",
    "tenant",
    "epoch",
    "changed",
    "opened",
    "crc",
    "last",
    "closed",
    "unsettled",
    "bytes",
    "at",
    "title",
    "said",
    "fence",
    "history",
    "owner",
    "token",
    "cold",
)

_NUMBER: Final = re.compile(rb"[0-9]{1,15}")


@frozen
class StoredRow:
    """What Redis has of a session besides its events.

    Attributes:
        last_at: Time of its newest event as UTC text; empty where that has none.
        title: Where its newest title is; 0 where there is none.
        said: Where the first words of its user are, likewise.
        grant: What a writer has to know of to append.
        history: In which life of the Redis server it was last appended to.
        owner: The server that may append; None where nobody has claimed it.
        cold: The file in which it begins; None where all of it is in Redis.
    """

    row: SessionRow
    size_bytes: int
    last_at: str
    title: Seq
    said: Seq
    grant: Grant
    history: str
    owner: NodeId | None
    cold: Cold | None

    @property
    def moved(self) -> int:
        """How many of its events are in a file."""
        return 0 if self.cold is None else self.cold.last

    @property
    def active_at(self) -> str:
        """When something has last happened in it."""
        return self.last_at or self.row.opened_at


def row_command(session_id: SessionId) -> Command:
    """Return the command that reads a row."""
    return (b"HMGET", row_key(session_id), *_FIELDS)


def read_row(session_id: SessionId, columns: list[Any]) -> StoredRow | None:
    """Return the row that *columns* hold, None where there is none.

    Raises:
        TimelineCorrupt: If it is damaged.
    """
    if all(column is None for column in columns):
        return None
    try:
        return _row(session_id, columns)
    except (ValueError, TypeError):
        raise TimelineCorrupt(session_id, NOTHING) from None


def opening_columns(new: NewSession, owner: NodeId) -> tuple[Argument, ...]:
    """Return the names and values with which a row begins."""
    columns: list[Argument] = ["principal", new.principal, "epoch", new.epoch, "changed", "0"]
    columns += ["opened", new.opened_at, "owner", owner]
    if new.tenant is not None:
        columns += ["tenant", new.tenant]
    fixed = (new.session_id, new.principal, new.tenant, new.epoch, 0, new.opened_at)
    return (*columns, "crc", row_crc(*fixed))


def renewed_crc(row: SessionRow, epoch: Epoch) -> int:
    """Return the checksum of *row* with another epoch."""
    return _crc(evolve(row, epoch=epoch, epoch_changed=True))


def _row(session_id: SessionId, columns: list[Any]) -> StoredRow:
    texts = (*columns[:3], columns[4], columns[10], *columns[14:18])
    principal, tenant, epoch, opened_at, last_at, history, owner, token, file = map(_text, texts)
    changed, crc, last, closed, unsettled = map(_number, (columns[3], *columns[5:9]))
    size_bytes, title, said, fence = (
        _number(column or b"0") for column in (columns[9], *columns[11:14])
    )
    if principal is None or epoch is None or opened_at is None:
        raise ValueError
    row = SessionRow(
        session_id=session_id,
        principal=principal,
        tenant=tenant,
        epoch=Epoch(epoch),
        epoch_changed=bool(changed),
        last_seq=Seq(last),
        closed=bool(closed),
        unsettled=bool(unsettled),
        opened_at=opened_at,
    )
    if crc != _crc(row) or changed not in {0, 1}:
        raise ValueError
    places = (Seq(title), Seq(said))
    named = NodeId(owner) if owner else None
    grant = Grant(fence, token or "")
    cold = Cold.of(file) if file else None
    if cold is not None and cold.last > row.last_seq:
        raise ValueError
    return StoredRow(row, size_bytes, last_at or "", *places, grant, history or "", named, cold)


def _crc(row: SessionRow) -> int:
    changed = int(row.epoch_changed)
    return row_crc(row.session_id, row.principal, row.tenant, row.epoch, changed, row.opened_at)


def _text(column: Any) -> str | None:
    if column is None:
        return None
    if not isinstance(column, bytes):
        raise TypeError
    return column.decode()


def _number(column: Any) -> int:
    if not isinstance(column, bytes) or not _NUMBER.fullmatch(column):
        raise ValueError
    return int(column)
