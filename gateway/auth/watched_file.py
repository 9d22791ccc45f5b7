"""A file that an operator may change while the server runs."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

Stamp = tuple[int, int, int]
"""What tells that a file is another one: time, size and inode."""


def stamp_of(path: Path) -> Stamp:
    """Return what a file looks like now, without reading it.  Blocks.

    Raises:
        OSError: If nobody can say.
    """
    facts = path.stat()
    # The inode too: a file that is replaced by renaming may keep time and size.
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


@define(eq=False)
class WatchedFile:
    """Read a file again whenever it has changed.  What it does blocks: call it in a thread."""

    path: Path
    _seen: Stamp | None = field(default=None, init=False)

    def changed(self, *, anyway: bool = False) -> str | None:
        """Return the file's text if it is another file than last time, else None.

        Args:
            anyway: Return it even if nothing seems to have changed.

        Raises:
            OSError: If it can't be read; it is tried again the next time.
            UnicodeDecodeError: If it is no text.
        """
        seen = stamp_of(self.path)
        if seen == self._seen and not anyway:
            return None
        text = self.path.read_text(encoding="utf-8")
        self._seen = seen
        return text
