"""One answer that is begun before its turn: it hears the stream, and keeps it until a turn asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import trio
from attrs import define, field

from bargein.actors.adapters import failure_in
from bargein.actors.slots import Claim
from bargein.models.client import Completion, Listener, Model, ModelError, ModelRequest, ToolUse

KEPT_S: Final = 10.0
"""An answer that no turn has asked for until then is thrown away, complete or not."""

YIELD_S: Final = 0.1
"""It may go on for so long when its slot was taken: it may be its own turn that has it."""

PLACE_S: Final = 0.25
"""It may go on for so long where its turn waits for a slot."""

UNWIND_S: Final = 0.2
"""How long an interrupt may wait for the stream of an answer that was begun early to close."""

MOST_UNSEEN_CHARS: Final = 8 * 1024
"""Then its stream waits for the turn."""

BROKEN: Final = "The answer broke off. Please try again."


@define(eq=False)
class Early:
    """A call of a model ahead of its turn; it hears the stream, and keeps what it hears.

    Attributes:
        words: What is answered.
        request: What was asked; None while that is not known yet.
        scope: Of the call.
        over: The call has ended, in whatever way.
        adopted: A turn has made it its own.
        left: It is kept for no turn any more: one has it, or none will.
        kept_until_s: How long it is kept.
        _attached: What was kept has been heard, and all else is heard as it comes.
    """

    words: str
    model: Model
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    request: ModelRequest | None = field(default=None, init=False)
    over: trio.Event = field(factory=trio.Event, init=False)
    adopted: trio.Event = field(factory=trio.Event, init=False)
    left: trio.Event = field(factory=trio.Event, init=False)
    kept_until_s: float = field(init=False)
    claim: Claim | None = field(default=None, init=False)
    completion: Completion | None = field(default=None, init=False)
    failure: Exception | None = field(default=None, init=False)
    _kept: list[Heard] = field(factory=list["Heard"], init=False)
    _chars: int = field(default=0, init=False)
    _input_tokens: int = field(default=0, init=False)
    _deltas: int = field(default=0, init=False)
    _to: Listener | None = field(default=None, init=False)
    _attached: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.scope.deadline = self.kept_until_s = trio.current_time() + KEPT_S

    @property
    def is_sound(self) -> bool:
        """Whether a turn may have it: it goes on, or has come to its end."""
        if self.over.is_set():
            return self.completion is not None
        return self.request is not None and not self.scope.cancel_called

    @property
    def tokens(self) -> int:
        """What it has cost."""
        if self.completion is not None:
            usage = self.completion.usage
            return int(usage.input_tokens) + int(usage.output_tokens)
        return self._input_tokens + self._deltas

    def give_way(self) -> None:
        """Give the slot back at once, and end soon unless its turn comes."""
        if self.claim is not None:
            self.claim.release()
        if not self.adopted.is_set():
            self._end_by(trio.current_time() + YIELD_S)

    def expect(self, claim: Claim) -> None:
        """Prepare for its turn, with the turn's own claim."""
        if self.claim is not None:
            self.claim.release()  # so that the turn has it
        if claim.is_granted:
            self.scope.deadline = self.kept_until_s
        else:
            self._end_by(trio.current_time() + PLACE_S)

    def _end_by(self, at_s: float) -> None:
        self.scope.deadline = min(self.scope.deadline, at_s)

    def drop(self) -> None:
        """Throw it away, unless a turn has it."""
        self.left.set()
        if not self.adopted.is_set():
            self.scope.cancel(reason="nobody asks for this answer")

    async def listen(self, request: ModelRequest) -> None:
        """Ask, and keep what is heard until a turn follows."""
        self.request = request
        try:
            self.completion = await self.model.stream(request, self)
        except BaseException as error:  # noqa: BLE001 - a model is somebody else's code
            self.failure = failure_in(error)

    async def follow(self, listener: Listener) -> Completion:
        """Let *listener* hear it from the beginning; it is a turn's now.

        Raises:
            ModelError: As the model.
        """
        self.adopted.set()
        self.scope.deadline = float("inf")
        try:
            while self._kept:
                if self._kept.pop(0)(listener) is False:
                    await listener.room()
            self._to = listener
            self._attached.set()
            await self.over.wait()
        finally:
            if not self.over.is_set():
                self.scope.cancel(reason="the turn was interrupted")
                # Shielded, so that the ladder says of the stream what is true; bounded.
                with trio.move_on_after(UNWIND_S, shield=True):
                    await self.over.wait()
        if self.failure is not None:
            raise self.failure
        if self.completion is None:
            raise ModelError(BROKEN, retryable=True, began=self._deltas > 0)
        return self.completion

    # --- as a listener ----------------------------------------------------------------------

    def started(self, input_tokens: int) -> None:
        """Hear that the model has begun."""
        self._input_tokens = int(input_tokens)
        self._keep(lambda to: to.started(input_tokens))

    def heard(self, text: str, deltas: int) -> bool | None:
        """Hear more of the answer."""
        self._deltas += deltas
        if self._to is not None:
            return self._to.heard(text, deltas)
        self._chars += len(text)
        self._kept.append(lambda to: bool(to.heard(text, deltas)))
        return self._chars < MOST_UNSEEN_CHARS

    def tool_called(self, call: ToolUse) -> None:
        """Hear a call of a tool, which runs when a turn wants it."""
        self._keep(lambda to: to.tool_called(call))

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        """Hear of another try."""
        self._keep(lambda to: to.retrying(attempt, after_s, cause))

    async def room(self) -> None:
        """Wait while too much was said that nobody may see yet."""
        if self._to is None and self._chars >= MOST_UNSEEN_CHARS:
            await self._attached.wait()
        if self._to is not None:
            await self._to.room()

    def _keep(self, heard: Callable[[Listener], None]) -> None:
        if self._to is not None:
            heard(self._to)
        else:
            self._kept.append(heard)


Heard: TypeAlias = Callable[[Listener], bool | None]
"""Something that was heard, to be heard again; False: the listener has no room for more."""
