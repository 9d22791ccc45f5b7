"""From the bytes of a terminal to keys: what was typed, pasted, or pressed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

MOST_PASTED_CHARS: Final = 32 * 1024
"""As much as one `say` may hold; what is beyond is cut off."""

PASTE_ON: Final = "\x1b[?2004h"
PASTE_OFF: Final = "\x1b[?2004l"

_PASTE_BEGINS: Final = "\x1b[200~"
_PASTE_ENDS: Final = "\x1b[201~"
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|O[ -~]|[^\[O\x1b])")
_MOST_SEQUENCE_CHARS: Final = 32

_NAMES: Final[dict[str, str]] = {
    "\r": "enter", "\n": "newline", "\x7f": "backspace", "\x08": "backspace", "\t": "tab",
    "\x01": "home", "\x02": "left", "\x03": "stop", "\x04": "end-of-input", "\x05": "end",
    "\x06": "right", "\x0b": "kill-right", "\x0c": "repaint", "\x0e": "down", "\x10": "up",
    "\x15": "kill-left", "\x17": "kill-word", "\x1a": "suspend",
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
    "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
    "\x1b[H": "home", "\x1b[F": "end", "\x1bOH": "home", "\x1bOF": "end",
    "\x1b[1~": "home", "\x1b[4~": "end", "\x1b[7~": "home", "\x1b[8~": "end",
    "\x1b[3~": "delete", "\x1b[1;5C": "word-right", "\x1b[1;5D": "word-left",
    "\x1b[1;3C": "word-right", "\x1b[1;3D": "word-left", "\x1bf": "word-right",
    "\x1bb": "word-left", "\x1b\x7f": "kill-word", "\x1b\r": "newline", "\x1b\n": "newline",
}  # fmt: skip


@frozen
class Key:
    """One key, or one paste.

    Attributes:
        name: `text` for what stands for itself.
        text: What to put into the line; empty for any other key.
    """

    name: str
    text: str = ""


@define(eq=False)
class Keyboard:
    """Cuts what a terminal sends into keys; a key may arrive in pieces.

    Keys that mean nothing here are left out.  Holds one paste of 32 Ki characters at most.
    """

    _decode: codecs.IncrementalDecoder = field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False
    )
    _rest: str = field(default="", init=False)
    _pasted: str | None = field(default=None, init=False)

    def feed(self, some: bytes) -> list[Key]:
        """Return the keys that are whole now."""
        self._rest += self._decode.decode(some)
        return list(self._keys())

    @property
    def in_doubt(self) -> bool:
        """Whether what came may be the Escape key, or the beginning of another."""
        return self._rest.startswith("\x1b") and self._pasted is None

    def settle(self) -> list[Key]:
        """Return the keys there are if nothing follows: an Escape was one."""
        if not self.in_doubt:
            return []
        self._rest = self._rest[1:] if len(self._rest) == 1 else ""
        return [Key("escape"), *self._keys()]

    def _keys(self) -> Iterator[Key]:
        while self._rest:
            if self._pasted is not None:
                if (key := self._paste()) is None:
                    return
                yield key
            elif self._rest.startswith("\x1b"):
                if (found := _SEQUENCE.match(self._rest)) is None:
                    if len(self._rest) > _MOST_SEQUENCE_CHARS or self._rest[1:2] == "\x1b":
                        self._rest = self._rest[1:]
                        continue
                    return
                self._rest = self._rest[found.end() :]
                if found[0] == _PASTE_BEGINS:
                    self._pasted = ""
                elif (name := _NAMES.get(found[0])) is not None:
                    yield Key(name)
            else:
                yield from self._plain()

    def _plain(self) -> Iterator[Key]:
        char = self._rest[0]
        if char.isprintable():
            end = next((n for n, c in enumerate(self._rest) if not _goes_on(c)), len(self._rest))
            text, self._rest = self._rest[: max(end, 1)], self._rest[max(end, 1) :]
            yield Key("text", text)
            return
        self._rest = self._rest[1:]
        if char in _NAMES:
            yield Key(_NAMES[char])
        elif ord(char) >= 0xA0:  # noqa: PLR2004 - joiners and other invisible parts of words
            yield Key("text", char)

    def _paste(self) -> Key | None:
        """Take what is pasted; return it when its end has come."""
        whole = (self._pasted or "") + self._rest
        text, ends, rest = whole.partition(_PASTE_ENDS)
        if not ends:
            # The end may have come in part.
            self._pasted = whole[: MOST_PASTED_CHARS + len(_PASTE_ENDS)]
            tail = whole[-len(_PASTE_ENDS) :]
            if len(whole) > len(self._pasted):
                self._pasted = self._pasted[:MOST_PASTED_CHARS]
                self._rest = tail
            else:
                self._rest = ""
            return None
        self._pasted, self._rest = None, rest
        lines = text[:MOST_PASTED_CHARS].replace("\r\n", "\n").replace("\r", "\n")
        kept = "".join(c for c in lines if c in "\n\t" or c.isprintable() or ord(c) >= 0xA0)  # noqa: PLR2004
        return Key("text", kept)


def _goes_on(char: str) -> bool:
    return char.isprintable() or (ord(char) >= 0xA0 and char != "\x1b")  # noqa: PLR2004
