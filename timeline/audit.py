"""The audit: who did what, as lines that can't be changed without its being noticed.

Each line is hashed together with the hash of the line before it, and the head (the
number and hash of the last line) is kept beside the lines. So a changed line, a
missing one and a tail cut off are all found, and named by number. Whoever can write
the file can compute a whole new chain: against that, keep a head somewhere else and
compare (`AuditCheck.end`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from attrs import asdict, define, field, frozen

from bargein.protocol.ids import Seq, SessionId

HASH_BYTES: Final = 32


@frozen(kw_only=True)
class AuditEntry:
    """Something that somebody did or was refused: hashes, and no content.

    Attributes:
        ts: When, as UTC text like that of events.
        act: What, as a noun and a past tense: `action.confirmed`, `confirm.forbidden`.
        session_id: Where; None for what belongs to no session.
        seq: The event that says the same on the timeline; None if there is none.
        principal: Whose session or connection; None for somebody nobody knows.
        tenant: The principal's tenant, if any.
        subject: What it was done to: an `action_id`, a `confirmation_id`.
        by: Who did it, where that is somebody else than the principal.
        digest: `digest_of` what was decided upon; None where there is no content.
    """

    ts: str
    act: str
    session_id: SessionId | None = None
    seq: Seq | None = None
    principal: str | None = None
    tenant: str | None = None
    subject: str | None = None
    by: str | None = None
    digest: str | None = None


@frozen
class AuditHead:
    """The end of the chain; everything before it is fixed by it."""

    n: int
    hash: bytes

    def __str__(self) -> str:
        """Return it as it is printed, noted elsewhere and given to a later check."""
        return f"{self.n}:{self.hash.hex()}"


START: Final = AuditHead(0, bytes(HASH_BYTES))
"""The head of an audit without lines."""


@frozen
class AuditLine:
    """One line as it is stored.

    Attributes:
        n: Its number; the first is 1, and none is left out.
        text: The canonical JSON of its number and its entry; what the hash covers.
        hash: `blake2b` of the hash before it and its text.
    """

    n: int
    text: bytes
    hash: bytes

    @property
    def head(self) -> AuditHead:
        """Return the head of the chain that ends with this line."""
        return AuditHead(self.n, self.hash)


@frozen
class AuditDamage:
    """The first place at which a chain is not what was written.

    Attributes:
        n: Number of the first bad line.
        what: What is wrong with it, as a few words.
    """

    n: int
    what: str


def digest_of(content: bytes) -> str:
    """Return the digest that stands for *content* in an entry, as hexadecimal text."""
    return blake2b(content, digest_size=HASH_BYTES).hexdigest()


def sealed(head: AuditHead, entries: Iterable[AuditEntry]) -> list[AuditLine]:
    """Make of *entries* the lines that follow *head*."""
    lines: list[AuditLine] = []
    for entry in entries:
        n = head.n + 1
        text = json.dumps({"n": n, **asdict(entry)}, separators=(",", ":")).encode()
        line = AuditLine(n, text, _hash(head.hash, text))
        lines.append(line)
        head = line.head
    return lines


def entry_of(line: AuditLine) -> AuditEntry | None:
    """Return what *line* says, or None if it is damaged beyond reading."""
    try:
        fields = json.loads(line.text)
        del fields["n"]
        return AuditEntry(**fields)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


@define(eq=False)
class AuditCheck:
    """Follows a chain from its start, line by line, and stops at the first bad one.

    Attributes:
        reached: The head of the part that is sound.
        damage: What was found; None as long as all is well.
    """

    reached: AuditHead = START
    damage: AuditDamage | None = field(default=None, init=False)

    def follow(self, lines: Iterable[AuditLine]) -> None:
        """Check the next *lines*; does nothing more once there is damage."""
        for line in lines:
            if self.damage is not None:
                return
            n = self.reached.n + 1
            if line.n != n:
                self.damage = AuditDamage(n, f"it is missing, line {line.n} comes in its place")
            elif line.hash != _hash(self.reached.hash, line.text):
                self.damage = AuditDamage(n, "its text or its hash was changed")
            else:
                self.reached = line.head

    def end(self, head: AuditHead | None) -> None:
        """Hold what was followed against the *head* that was kept beside it."""
        if self.damage is not None or self.reached == head:
            return
        n = self.reached.n
        if head is None:
            self.damage = AuditDamage(n, "what was noted of the last line is no number and hash")
        elif head.n > n:
            self.damage = AuditDamage(n + 1, f"it is missing, and the last should be {head.n}")
        elif head.n < n:
            self.damage = AuditDamage(head.n + 1, f"it is not known: the last should be {head.n}")
        else:
            self.damage = AuditDamage(n, "its hash is not the one that was noted for the last line")


def _hash(before: bytes, text: bytes) -> bytes:
    return blake2b(before + text, digest_size=HASH_BYTES).digest()
