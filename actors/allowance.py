"""What whoever owns a session may still use: the port to whoever keeps count of it."""

from __future__ import annotations

from typing import Protocol

from attrs import field, frozen

from bargein.actors.slot_queue import Standing
from bargein.actors.slots import FREE, Slots
from bargein.protocol.frames import Problem


class Allowance(Protocol):
    """One session's share of what its principal may use.  Lives as long as the session.

    Nothing here waits.
    """

    @property
    def takes_words(self) -> bool:
        """Whether words may be taken now; asked of those that would stop a turn."""
        ...

    @property
    def slots(self) -> Slots:
        """Who shares out model slots."""
        ...

    @property
    def standing(self) -> Standing:
        """How its principal stands among those who want one; a fresh token may change it."""
        ...

    def refusal(self, *, begins_turn: bool) -> Problem | None:
        """Return why words are refused, and keep a record of that; None if they may be taken.

        Args:
            begins_turn: They would begin a turn at once, beside those of other sessions.
        """
        ...

    def refusal_to_grow(self) -> Problem | None:
        """Return why nothing more goes onto the timeline, and record that; None if it may."""
        ...

    def begin_turn(self) -> None:
        """Count a turn that runs."""

    def end_turn(self) -> None:
        """Count it no more."""

    def spend(self, tokens: int) -> None:
        """Count what a call of a model has cost."""

    def renewed(self, tier: str) -> None:
        """Take note of the tier by its principal's latest token."""

    def close(self) -> None:
        """Count the session no more: it has left memory."""


@frozen
class Unlimited:
    """The allowance of those whom nobody counts."""

    takes_words: bool = True
    slots: Slots = FREE
    standing: Standing = field(factory=Standing)

    def refusal(self, *, begins_turn: bool) -> Problem | None:
        """Refuse nothing."""

    def refusal_to_grow(self) -> Problem | None:
        """Refuse nothing."""

    def begin_turn(self) -> None:
        """Count nothing."""

    def end_turn(self) -> None:
        """Count nothing."""

    def spend(self, tokens: int) -> None:
        """Count nothing."""

    def renewed(self, tier: str) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Count nothing."""
