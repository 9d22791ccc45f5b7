"""Checksums of what is stored: damage is found when it is read, and never served.

CRC-32 finds every error burst of up to 32 bits, so any damaged byte. It covers
where an event belongs as well as its bytes, so that a sound row in the wrong
place is damage too. It is no protection against a forger.
"""

from __future__ import annotations

import json
from zlib import crc32

from bargein.protocol.ids import SessionId


def session_crc(session_id: SessionId) -> int:
    """Return the part of an event's checksum that all events of a session share."""
    return crc32(session_id.encode())


def event_crc(shared: int, seq: int, frame: bytes) -> int:
    """Return the checksum of the event at *seq*, given its session's `session_crc`."""
    return crc32(frame, crc32(seq.to_bytes(8, "big"), shared))


def row_crc(*columns: str | int | None) -> int:
    """Return the checksum of the columns of an index row that never change."""
    # Damage may have turned a text into bytes, for which JSON has no form.
    return crc32(json.dumps(columns, default=repr).encode())
