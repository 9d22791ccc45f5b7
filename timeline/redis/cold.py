"""Where those events of a session lie that are in Redis no more: a file that its row names.

A file is written once, under a name that no other has, and never changed. So nobody who comes late
can put an older one in the place of a newer one, and what a row names is what it was when the row
was written, whatever a failover makes of the row.
"""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

from attrs import frozen

from bargein.protocol.ids import Seq, SessionId

SUFFIX: Final = ".sqlite3"
PART_SUFFIX: Final = ".part"
"""Of a file that is being written; what a crash leaves of it is named by no row."""

_TEXT: Final = re.compile(r"([1-9][0-9]{0,14}) ([0-9a-f]{16}) ([0-9a-f]{16})")


@frozen
class Cold:
    """The file in which a session begins.

    Attributes:
        last: The last event in it; all before it are there, too.
        folder: The part of the directory that it is in: each Redis has one of its own.
        number: Like no other's.
    """

    last: Seq
    folder: str
    number: str

    @classmethod
    def new(cls, last: Seq, folder: str) -> Cold:
        """Name a file that is not there yet."""
        return cls(last, folder, new_number())

    @classmethod
    def of(cls, text: str) -> Cold:
        """Read what a row says.

        Raises:
            ValueError: If that is no such text.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(text)
        return cls(Seq(int(found[1])), found[2], found[3])

    @property
    def text(self) -> str:
        """What a row says of it; scripts read the number at its beginning."""
        return f"{self.last} {self.folder} {self.number}"

    def path(self, root: Path, session_id: SessionId) -> Path:
        """Return where the file is."""
        name = f"{stem_of(session_id)}{self.last}-{self.number}{SUFFIX}"
        return shelf_of(root / self.folder, session_id) / name


@frozen
class Remains:
    """What an erased session has left in files: the one its row named, and all older ones.

    A session may be opened again under the same name while these are still to be taken away: what
    was written later is of another life.

    Attributes:
        cold: The file that its row named; None where it named none.
        erased_s: When it was erased, in seconds of UTC.
    """

    cold: Cold | None
    erased_s: float

    @classmethod
    def of(cls, text: str, erased_s: float) -> Remains:
        """Read what the row said; a damaged one counts as if it had named none."""
        try:
            return cls(Cold.of(text), erased_s)
        except ValueError:
            return cls(None, erased_s)


def new_number() -> str:
    """Draw what no other file, and no other Redis, is named by."""
    return secrets.token_hex(8)


def stem_of(session_id: SessionId) -> str:
    """Return how the names of all files of a session begin."""
    # Hashed, because a name may be any text, and file systems differ in what they tell apart.
    return f"{blake2b(session_id.encode(), digest_size=16).hexdigest()}-"


def shelf_of(folder: Path, session_id: SessionId) -> Path:
    """Return the directory below *folder* in which a session's files are, one of 256."""
    return folder / stem_of(session_id)[:2]
