"""The names of all keys, and which of them lie together.

What stands in braces is what Redis Cluster places a key by. All of a session lies in one slot, so
that one script can change it; the lists of sessions lie in another, and the audit in a third. No
script touches two of them.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Final

from bargein.protocol.ids import NodeId, SessionId

ALL: Final = "bargein:{index}:sessions"
"""All sessions by place, a sorted set."""

UNSETTLED: Final = "bargein:{index}:unsettled"
"""Those that may have something to recover, a sorted set by place."""

ASKED: Final = "bargein:{index}:asked"
"""Who asked when for which erasures, a hash by session."""

MARKS: Final = "bargein:{index}:marks"
"""With which fence each of those was listed last, a hash by session."""

OUTBOXES: Final = "bargein:{index}:outboxes"
"""The sessions in whose outbox something may be, and which node has seen to that; a hash."""

NODES: Final = "bargein:{index}:nodes"
"""The servers, also those that went without a word and have not been followed yet; a set."""

COLD: Final = "bargein:{index}:cold"
"""In which folder the files of cold sessions are, where there may be any."""

SERVING: Final = "bargein:{index}:serving"
"""Which server serves from here, where one of older code does."""

VERSION: Final = "bargein:{index}:version"
PROBE: Final = "bargein:{index}:probe"

HEAD: Final = "bargein:{audit}:head"
"""Number and hash of the audit's last line, a hash."""

LINES: Final = "bargein:{audit}:lines"
"""The audit, a stream."""

TAKEN: Final = "bargein:{audit}:taken"
"""Items of outboxes whose lines are in the audit, and that are still in their outbox; a set."""

SLOTS: Final = "bargein:{slots}"
"""How the keys of model slots begin: which turns have one, and which wait."""


def lease_key(node: NodeId) -> str:
    """Return the key of a server's lease; it is gone soon after the server is."""
    return f"bargein:{{index}}:node:{node}"


def buried_key(node: NodeId) -> str:
    """Return the key that says for a while that a server's process is known to have ended."""
    return f"bargein:{{index}}:buried:{node}"


def inbox_key(node: NodeId) -> str:
    """Return the key of what others have written to a server, a stream."""
    return f"bargein:{{node:{node}}}:inbox"


def row_key(session_id: SessionId) -> str:
    """Return the key of a session's index row, a hash."""
    return f"bargein:{{{session_id}}}:row"


def events_key(session_id: SessionId) -> str:
    """Return the key of a session's events, a stream with the ids `seq-0`."""
    return f"bargein:{{{session_id}}}:events"


def outbox_key(session_id: SessionId) -> str:
    """Return the key of what a session's slot has to tell the others, a list."""
    return f"bargein:{{{session_id}}}:outbox"


def owner_key(principal: str, tenant: str | None) -> str:
    """Return the key of the sessions of a principal by place, a sorted set."""
    # Hashed because a principal may be long; and JSON has a form for any text.
    owner = json.dumps([principal, tenant]).encode()
    return f"bargein:{{index}}:of:{blake2b(owner, digest_size=16).hexdigest()}"


def is_storable(session_id: SessionId) -> bool:
    """Say whether a session can have this name; JSON allows a lone surrogate, and Redis can't."""
    try:
        session_id.encode()
    except UnicodeEncodeError:
        return False
    return True
