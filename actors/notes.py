"""What a running tool tells, on its way to the timeline."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field

from bargein.actors.cleaning import clean, cleaned
from bargein.actors.messages import Noted, Outlet
from bargein.actors.turn import Turn
from bargein.protocol.codec import encode_payload
from bargein.protocol.events import (
    MemorySaved,
    Object,
    Payload,
    RetrieveResult,
    RetrieveStart,
    Status,
    ToolProgress,
)
from bargein.protocol.ids import CallId

MOST_KEPT_NOTES: Final = 64

NOTES: Final = (MemorySaved, Object, RetrieveResult, RetrieveStart, Status)
"""What a tool may write of its own: nothing that the turn's pairs or its ladder are made of."""


@define(eq=False)
class Notebook:
    """What a tool of a turn tells while it runs.

    Progress is dropped where there is no room for it; notes wait for the result.
    When the call is over, both are: a thread that was left behind may go on telling.
    """

    _turn: Turn
    _call_id: CallId
    _output: Outlet
    _in_thread: bool
    kept: list[Payload] = field(factory=list[Payload], init=False)
    _closed: bool = field(default=False, init=False)

    def close(self) -> None:
        """Take no more: the result comes next."""
        self._closed = True

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Show the user how far the tool is; a fraction that is none is left out."""
        done = {}
        if fraction is not None and math.isfinite(fraction):
            done = {"fraction": float(fraction)}
        self._in_trio(self._offer, ToolProgress(self._call_id, clean(text), **done))

    def note(self, payload: Payload) -> None:
        """Put an event of the tool's own on the timeline.

        Raises:
            TypeError: If it is no event that a tool may write, or holds what is no JSON.
        """
        self._in_trio(self._keep, _checked(payload))

    def _in_trio(self, act: Callable[[Payload], object], payload: Payload) -> None:
        if self._in_thread:
            trio.from_thread.run_sync(act, payload)
        else:
            act(payload)

    def _offer(self, payload: Payload) -> bool:
        return self._closed or self._output.offer(Noted(self._turn, (payload,)))

    def _keep(self, payload: Payload) -> None:
        if (self.kept or not self._offer(payload)) and len(self.kept) < MOST_KEPT_NOTES:
            self.kept.append(payload)


@define(eq=False)
class Kept:
    """What a tool tells while it does an action: kept until that is done.

    It runs outside every turn, where there is no place for its progress.
    """

    payloads: list[Payload] = field(factory=list[Payload], init=False)

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Pass over how far the action is."""
        del text, fraction

    def note(self, payload: Payload) -> None:
        """Keep an event of the tool's own, to be written when the action is done.

        Raises:
            TypeError: If it is no event that a tool may write, or holds what is no JSON.
        """
        if len(self.payloads) < MOST_KEPT_NOTES:
            self.payloads.append(_checked(payload))


def _checked(payload: Payload) -> Payload:
    if not isinstance(payload, NOTES):
        raise TypeError(f"a tool can't write {payload.type}; an `object` holds anything")
    payload = cleaned(payload)
    encode_payload(payload)
    return payload
