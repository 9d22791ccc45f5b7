"""A file that an operator may change while the server runs."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field


@define(eq=False)
class WatchedFile:
    """Read a file again whenever it has changed.  What it does blocks: call it in a thread."""

    path: Path
    _seen: tuple[int, ...] | None = field(default=None, init=False)

    def changed(self, *, anyway: bool = False) -> str | None:
        """Return the file's text if it is another file than last time, else None.

        Args:
            anyway: Return it even if nothing seems to have changed.

        Raises:
            OSError: If it can't be read; it is tried again the next time.
            UnicodeDecodeError: If it is no text.
        """
        facts = self.path.stat()
        # The inode too: a file that is replaced by renaming may keep time and size.
        seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if seen == self._seen and not anyway:
            return None
        text = self.path.read_text(encoding="utf-8")
        self._seen = seen
        return text
