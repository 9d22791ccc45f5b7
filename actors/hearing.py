"""What a turn hears of a model: passes it on, and never makes the stream wait."""

from __future__ import annotations

import math
from typing import Final

import trio
from attrs import define, evolve, field

from bargein.actors.cleaning import clean, json_object
from bargein.actors.messages import Noted, Outlet, Spoken
from bargein.actors.phases import Phases
from bargein.actors.turn import ModelCall, Turn
from bargein.models.client import MALFORMED_LIMIT_BYTES, Text, ToolUse
from bargein.protocol.events import ModelRetry
from bargein.protocol.ids import CallId

PARAGRAPH: Final = "\n\n"


@define(eq=False)
class Hearing:
    """Hears one call of a model, as its `Listener`.

    While the output loop has no room, text is joined here; the reader of the
    stream then waits in `room`, between two reads, so this stays small.
    Where it does not speak to the user, the words are only kept.  What no
    encoding can carry is mended here, before the timeline or the model has it.

    Attributes:
        _phases: Where the time of the call is noted, if anywhere.
        said: All text of this call so far, in pieces.
        calls: The tools that the model called.
    """

    _turn: Turn
    _call: ModelCall
    _output: Outlet
    _speaks: bool = True
    _phases: Phases | None = None
    said: list[str] = field(factory=list[str], init=False)
    calls: list[ToolUse] = field(factory=list[ToolUse], init=False)
    _texts: list[str] = field(factory=list[str], init=False)
    _deltas: int = field(default=0, init=False)
    _retries: list[ModelRetry] = field(factory=list[ModelRetry], init=False)

    def started(self, input_tokens: int) -> None:
        """Note what the call costs already."""
        self._call.input_tokens = int(input_tokens)

    def heard(self, text: str, deltas: int) -> bool:
        """Pass text on, or keep it until there is room; return whether there is."""
        text = clean(text)
        first = not self.said
        if first and self._phases is not None:
            self._phases.enter("model.stream")
        self.said.append(text)
        self._call.deltas += deltas
        if self._speaks:
            self._speak(text, deltas, first=first)
        return not self._texts

    def _speak(self, text: str, deltas: int, *, first: bool) -> None:
        if first:
            # What is said after a tool has run is a paragraph of its own.
            text = PARAGRAPH + text if self._turn.deltas else text
        if not self._turn.deltas:
            self._turn.spoke()
        self._turn.deltas += deltas
        if self._texts or not self._output.offer(Spoken(self._turn, text, deltas)):
            self._texts.append(text)
            self._deltas += deltas

    def tool_called(self, call: ToolUse) -> None:
        """Keep a call until the model has said all it wants."""
        call_id = self._turn.new_call_id(CallId(clean(call.call_id)))
        self.calls.append(_readable(evolve(call, call_id=call_id, tool=clean(call.tool))))

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        """Note a retry of the call."""
        after_ms = round(after_s * 1000, 3) if math.isfinite(after_s) else 0.0
        retry = ModelRetry(attempt, after_ms, clean(cause))
        if not self._output.offer(Noted(self._turn, (retry,))):
            self._retries.append(retry)

    async def room(self) -> None:
        """Wait until what is kept has been passed on; cancelled, keep what has not been."""
        while self._retries:
            await self._output.tell(Noted(self._turn, (self._retries[0],)))
            del self._retries[0]
        while self._texts:
            text, deltas = "".join(self._texts), self._deltas
            self._texts, self._deltas = [], 0
            try:
                await self._output.tell(Spoken(self._turn, text, deltas))
            except trio.Cancelled:
                self._texts.insert(0, text)
                self._deltas += deltas
                raise

    def as_blocks(self) -> tuple[Text | ToolUse, ...]:
        """Return what the model said, as the next request has to repeat it."""
        text = "".join(self.said)
        # A vendor refuses a text that is only blanks.
        return (*((Text(text),) if text.strip() else ()), *self.calls)


def _readable(call: ToolUse) -> ToolUse:
    """Return *call* with arguments that are JSON; where they are none, it is malformed."""
    if call.malformed is not None:
        return evolve(call, malformed=clean(call.malformed))
    try:
        return evolve(call, args=json_object(call.args))
    except (TypeError, ValueError, RecursionError):
        written = clean(repr(call.args))[: MALFORMED_LIMIT_BYTES // 4]
        return evolve(call, args={}, malformed=written)
