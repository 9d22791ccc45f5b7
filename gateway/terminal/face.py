"""What a conversation is shown on: the port of which a screen and a pipe are the adapters."""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeAlias

from attrs import define, field, frozen

from bargein.protocol.ids import TurnId


@frozen
class Began:
    """The answer of another turn follows."""

    turn_id: TurnId


@frozen
class Spoke:
    """More of the answer."""

    text: str


@frozen
class Paused:
    """What follows begins on a line of its own."""


@frozen
class Told:
    """A line that is no part of the answer."""

    line: str


Shown: TypeAlias = Began | Spoke | Paused | Told


@define(eq=False)
class Sheet:
    """What is to be shown, in order.  Whoever shows it takes it away."""

    _shown: deque[Shown] = field(factory=deque[Shown], init=False)

    def begin(self, turn_id: TurnId) -> None:
        """Show the answer of *turn_id* from now on, and end the one before."""
        self._shown.append(Began(turn_id))

    def speak(self, text: str) -> None:
        """Show more of the answer."""
        self._shown.append(Spoke(text))

    def hush(self) -> int:
        """Show no more of the answer than was taken away; return how many code points stay here."""
        dropped = sum(len(shown.text) for shown in self._shown if isinstance(shown, Spoke))
        self._shown = deque(shown for shown in self._shown if not isinstance(shown, Spoke))
        self._shown.append(Paused())
        return dropped

    def pause(self) -> None:
        """Let what follows begin on a line of its own."""
        self._shown.append(Paused())

    def tell(self, line: str) -> None:
        """Show a line that is no part of the answer."""
        self._shown.append(Told(line))

    def echo(self, words: str) -> None:
        """Show what somebody said."""
        for line in words.splitlines() or [""]:
            self.tell(f"> {line}")

    def take(self) -> list[Shown]:
        """Return what is to be shown now."""
        shown, self._shown = list(self._shown), deque()
        return shown


@frozen
class Ink:
    """What is to be written now.

    Attributes:
        fd: The file to write it to.
        turn_id: Whose answer is open; None before the first.
        chars: Code points of that answer that are shown when this is written.
    """

    fd: int
    written: bytes
    turn_id: TurnId | None = None
    chars: int = 0


class Face(Protocol):
    """Shows what stands on its sheet, and what is expected of the person."""

    @property
    def sheet(self) -> Sheet:
        """What is to be shown."""
        ...

    @property
    def draws(self) -> bool:
        """Whether there is a place for rows that stand, and nobody else shows what is typed."""
        ...

    def stand(self, rows: tuple[str, ...]) -> None:
        """Show *rows* until others come, where there is a place for such."""
        ...

    def ask(self, label: str) -> None:
        """Show in front of the input what is expected of it, where there is such a place."""
        ...

    def paint(self) -> list[Ink]:
        """Return what is to be written to show all that is new, in order."""
        ...
