"""Time and chance of a simulation: virtual, and drawn."""

from __future__ import annotations

from random import Random
from typing import Final

import trio
from attrs import define, field

from bargein.protocol.ids import Epoch, SessionId

BEGAN_MS: Final = 1_795_219_200_000
"""The wall clock at the start: 2026-11-21T00:00:00Z."""


@define(eq=False)
class Nature:
    """Clock and chance of one run: see `bargein.actors.clock` for both ports."""

    seed: int
    _ids: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ids = self.random("ids")

    def random(self, purpose: str) -> Random:
        """Return chance for one purpose, which no other purpose disturbs."""
        return Random(f"{self.seed}/{purpose}")  # noqa: S311 - repeatable is what it has to be

    def now_s(self) -> float:
        """Return virtual seconds since the start."""
        return trio.current_time()

    def utc_ms(self) -> int:
        """Return the wall clock, which starts on the same day in every run."""
        return BEGAN_MS + round(trio.current_time() * 1000)

    def session_id(self) -> SessionId:
        """Draw the id of a session."""
        return SessionId(f"sess_{self._ids.getrandbits(128):032x}")

    def epoch(self) -> Epoch:
        """Draw the name of a history."""
        return Epoch(f"{self._ids.getrandbits(32):08x}")
