"""Identifiers: one `NewType` for each, so that none is taken for another."""

from __future__ import annotations

import re
from typing import Final, NewType

SessionId = NewType("SessionId", str)
"""`sess_` and 32 hexadecimal digits: 128 bits that nobody can guess."""

TurnId = NewType("TurnId", str)
"""`turn_` and the number of the turn in its session, from 1."""

EventId = NewType("EventId", str)
"""`evt_` and the seq of the event: unique within its session."""

CallId = NewType("CallId", str)
"""One call of a tool, as the model named it."""

CommandId = NewType("CommandId", str)
"""A client's own name for one of its commands."""

ActionId = NewType("ActionId", str)
ConfirmationId = NewType("ConfirmationId", str)
UtteranceId = NewType("UtteranceId", str)
ChunkId = NewType("ChunkId", str)

Seq = NewType("Seq", int)
"""The place of an event in its session's timeline, from 1, without gaps."""

Epoch = NewType("Epoch", str)
"""Names one unbroken history of a session; another epoch, another history."""

NodeId = NewType("NodeId", str)
"""One life of a server process: a restarted one is another node."""

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a client may use as an id of its own: no control or bidi characters."""

TURN_ID: Final = r"^turn_[1-9][0-9]{0,14}(?!\n)$"
"""The pattern of a turn's id; a bare `$` would let a newline pass."""

NOTHING: Final = Seq(0)
"""The cursor of a client that has seen nothing."""


def turn_id(number: int) -> TurnId:
    """Return the id of the session's *number*-th turn."""
    return TurnId(f"turn_{number}")


def turn_number(turn: TurnId) -> int:
    """Return the number in a turn's id."""
    return int(turn.removeprefix("turn_"))


def event_id(seq: Seq) -> EventId:
    """Return the id of the event at *seq*."""
    return EventId(f"evt_{seq}")
