"""What is asked of the script that shares out model slots, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec
from attrs import frozen

from bargein.actors.slot_queue import (
    HOLDS_MEASURED,
    UNMEASURED_S,
    WAITING_MOST,
    SlotTerms,
    Standing,
)
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.keys import SLOTS
from bargein.timeline.redis.lease import LEASE_S
from bargein.timeline.redis.scripts import Command, Script

SHARE_OUT: Final = Script.named("slots", "bargein.cluster", after="slots_tickets")

LOADS: Final[tuple[Command, ...]] = ((b"SCRIPT LOAD", SHARE_OUT.text),)
"""Makes a server know it; it forgets it when it ends."""

_KEYS: Final = [
    f"{SLOTS}:{name}"
    for name in ("tickets", "running", "waiting", "shares", "state", "nodes", "counts", "holds")
]

_encode: Final = msgspec.msgpack.Encoder().encode


@frozen
class Ask:
    """One turn's wish.

    Attributes:
        number: Of its claim at its node.
        held_s: For how long it has had a slot, as that node knows; None: it waits.
    """

    number: int
    standing: Standing
    waited_s: float
    preempted: int = 0
    held_s: float | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """Return it as the script reads it."""
        told: dict[str, Any] = {
            "number": self.number,
            "rank": self.standing.rank,
            "weight": self.standing.weight,
            "pool": _name(self.standing.pool),
            "owner": _name(self.standing.owner),
            "waited": _us(self.waited_s),
            "preempted": self.preempted,
        }
        return told if self.held_s is None else {**told, "held": _us(self.held_s)}


@frozen
class Caller:
    """Who asks.

    Attributes:
        life: Names the life of the Redis server.
        known: It has been answered before.
        doubt_s: For how long after a start of Redis others may not have come back.
    """

    node: NodeId
    life: str = ""
    known: bool = False
    doubt_s: float = 0.0


@frozen
class Outlook:
    """How long a turn would wait, as far as Redis knows.

    Attributes:
        free: Slots; less than none after a renewal that left fewer.
        lowest: The lowest rank that gives way.
        mean: How long the last turns had their slots, in microseconds.
        ranks: How many wait of each rank, by age.
    """

    free: int
    ranks: dict[str, int]
    lowest: int | None = None
    mean: float | None = None

    def overload_s(
        self, standing: Standing, terms: SlotTerms, since: Iterable[Standing] = ()
    ) -> float | None:
        """Return after how long a new turn would not be one too many; None if it is not now.

        Args:
            standing: Whose it is.
            terms: How slots are shared.
            since: Who has asked here meanwhile.
        """
        later = list(since)
        lends = self.lowest is not None and self.free >= 0 and self.lowest < standing.rank
        if lends or self.free > len(later):
            return None
        ahead = sum(count for rank, count in self.ranks.items() if int(rank) >= standing.rank)
        not_behind = sum(other.rank >= standing.rank for other in later)
        ahead += max(0, not_behind - max(0, self.free))
        mean_s = UNMEASURED_S if self.mean is None else self.mean / 1e6
        step_s = mean_s / (terms.most or 1)
        over = ahead - terms.waiting_most + 1
        too_late_s = (ahead + 1) * step_s - terms.wait_s
        return max(over * step_s, too_late_s) if over > 0 or too_late_s > 0 else None


@frozen
class Answer:
    """What was decided, about tickets of any node.

    Attributes:
        granted: Those that have a slot, `node/number`.
        stopped: Those that are to give it back.
        missing: Numbers of the caller that Redis does not know, or not as they are.
        full: Those that it has no room for now; ask for them again with the next renewal.
        more: There is more to decide than one call may; ask for it.
        now: Its time in microseconds.
    """

    now: int
    granted: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    outlook: Outlook | None = None
    more: bool = False


@frozen
class Request:
    """All that is asked at once.

    Attributes:
        renews: The numbers of those that have a slot, and of those that wait; None: not now.
        leaves: The node ends, and has nothing any more.
        gone: Others of which the caller knows that they have gone.
        goes_on: Asks for what the last answer has left.
    """

    caller: Caller
    terms: SlotTerms
    backs: tuple[int, ...] = ()
    asks: tuple[Ask, ...] = ()
    renews: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    leaves: bool = False
    gone: tuple[NodeId, ...] = ()
    goes_on: bool = False

    def call(self) -> Command:
        """Return the command that asks it."""
        caller, terms = self.caller, self.terms
        request: dict[str, Any] = {
            "node": caller.node,
            "life": caller.life,
            "known": caller.known,
            "doubt": _us(caller.doubt_s),
            "lease": _us(LEASE_S),
            "most": terms.most or 0,
            "aging": _us(terms.aging_s),
            "preempted_most": terms.preempted_most,
            "waiting_most": WAITING_MOST,
            "holds": HOLDS_MEASURED,
            "gone": self.gone,
            "backs": self.backs,
            "asks": [wish.fields for wish in self.asks],
            "leaves": self.leaves,
            "goes_on": self.goes_on,
        }
        if self.renews is not None:
            request["renews"] = self.renews
        return SHARE_OUT.call(_KEYS, _encode(request))


answer_in: Final = msgspec.msgpack.Decoder(Answer).decode
"""Reads an answer of the script; a `msgspec.ValidationError` says that it is of other code."""


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _name(of: tuple[str, str | None]) -> str:
    # Hashed because a principal may be long; and JSON has a form for any text.
    return blake2b(json.dumps(of).encode(), digest_size=16).hexdigest()
