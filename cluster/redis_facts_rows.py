"""What is kept of one principal on Redis: under which keys, how it is written, and the calls."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from attrs import frozen

from bargein.memory.facts import MOST_CHANGES, Change, Fact, Owner
from bargein.memory.seals import sealed, unsealed
from bargein.timeline.redis.scripts import Command, Script

CHANGE: Final = Script.named("facts_change", "bargein.cluster")
ERASE: Final = Script.named("facts_erase", "bargein.cluster")
OUTCOME: Final = Script.named("facts_outcome", "bargein.cluster")

LOADS: Final[tuple[Command, ...]] = tuple(
    (b"SCRIPT LOAD", script.text) for script in (CHANGE, ERASE, OUTCOME)
)
"""Makes a server know them; it forgets them when it ends."""

ALONE_MS: Final = 3_600_000
"""How long the version of a memory stays where nothing else is left of it."""


@frozen
class Shelf:
    """Where all of one principal lies: in one slot, so that one script can change it.

    Attributes:
        head: The version, how many changes were made, whether older ones are gone; a hash.
        facts: By key; a hash.
        changes: By the idempotency key of the action; a hash.
        order: The same keys by number, a sorted set.
    """

    owner: Owner
    head: str
    facts: str
    changes: str
    order: str

    @classmethod
    def of(cls, owner: Owner) -> Shelf:
        """Return that of *owner*."""
        # Hashed because a principal may be long; and JSON has a form for any text.
        name = json.dumps([owner.principal, owner.tenant]).encode()
        slot = f"bargein:{{facts:{blake2b(name, digest_size=16).hexdigest()}}}"
        return cls(owner, f"{slot}:head", f"{slot}:facts", f"{slot}:changes", f"{slot}:order")

    def change_call(self, version: bytes, change: Change) -> Command:
        """Return the call that makes *change*, if the version is still this one."""
        after = b"" if change.after is None else _fact_row(self.owner, change.after)
        return CHANGE.call(
            [self.head, self.facts, self.changes, self.order],
            version,
            _new_version(),
            _bytes(change.source.done_key),
            _change_row(self.owner, change),
            _bytes(change.key),
            after,
            MOST_CHANGES,
        )

    def outcome_call(self, done_key: str) -> Command:
        """Return the call that asks what became of a change."""
        keys = [self.head, self.changes]
        return OUTCOME.call(keys, _bytes(done_key), _new_version(), ALONE_MS)

    def erase_call(self, key: str | None) -> Command:
        """Return the call that erases all, or all of *key*."""
        what = () if key is None else (_bytes(key),)
        keys = [self.head, self.facts, self.changes, self.order]
        return ERASE.call(keys, _new_version(), ALONE_MS, *what)

    def reads(self, *done_keys: str) -> tuple[Command, ...]:
        """Return what reads version, facts, and the changes of these keys, in this order.

        The version is read first: whatever changes in between makes another one.
        """
        changes = ((b"HGET", self.changes, _bytes(done_key)) for done_key in done_keys)
        return ((b"HGET", self.head, "version"), (b"HGETALL", self.facts), *changes)

    def facts_in(self, rows: Mapping[bytes, bytes]) -> tuple[Fact, ...]:
        """Read facts, by key; what was damaged is left out."""
        read = (self._fact_in(key, row) for key, row in sorted(rows.items()))
        return tuple(fact for fact in read if fact is not None)

    def change_in(self, done_key: str, row: bytes) -> Change | None:
        """Read a change; None where it was damaged."""
        crc, key, text = _parts(row)
        return unsealed(Change, self.owner, f"{key} {done_key}", text, crc)

    def _fact_in(self, key: bytes, row: bytes) -> Fact | None:
        crc, _, text = _parts(row)
        return unsealed(Fact, self.owner, key.decode(errors="replace"), text, crc)


def _fact_row(owner: Owner, fact: Fact) -> bytes:
    text, crc = sealed(owner, fact.key, fact)
    return f"{crc} {fact.key} {text}".encode()


def _change_row(owner: Owner, change: Change) -> bytes:
    # Its key stands before it, for the script that erases, and is part of its checksum.
    text, crc = sealed(owner, f"{change.key} {change.source.done_key}", change)
    return f"{crc} {change.key} {text}".encode()


def _parts(row: bytes) -> tuple[int, str, str]:
    crc, _, rest = row.decode(errors="replace").partition(" ")
    key, _, text = rest.partition(" ")
    # No checksum is negative, so a damaged one fits nothing.
    return int(crc) if crc.isascii() and crc.isdigit() else -1, key, text


def _new_version() -> str:
    return secrets.token_hex(8)


def _bytes(text: str) -> bytes:
    # What nobody can have saved is merely not found.
    return text.encode(errors="surrogatepass")
