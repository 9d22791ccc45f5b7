"""Sees when the first words of an answer are out."""

from __future__ import annotations

from attrs import define

from bargein.actors.phases import FIRST_BYTE
from bargein.actors.turn import Turn
from bargein.protocol.ids import Seq
from bargein.timeline.log import Timeline


@define(eq=False)
class FirstWords:
    """Follow the timeline until the event at *seq* is durable; then leave.

    Followers are told in the order in which they came, so the clients have been told by then:
    their sockets took the words, as far as they took anything.
    """

    _turn: Turn
    _timeline: Timeline
    _seq: Seq

    def advance(self) -> None:
        """Note that the words are out, if they are."""
        if self._timeline.durable >= self._seq:
            self._turn.phases.finish(FIRST_BYTE)
            self._timeline.unfollow(self)
