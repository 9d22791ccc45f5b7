"""An answer that is begun before the words are final, and that nobody sees until they are.

It is one call of the model, with the request that the turn would make: no event is written, no
tool runs, no client and no store hears of it.  When the turn makes the same request, the call is
its own, with all that was said so far; otherwise it is thrown away, and its tokens are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import structlog
import trio
from attrs import define, evolve, field, frozen

from bargein.actors.adapters import failure_in
from bargein.actors.agent_run import request_of
from bargein.actors.allowance import Allowance
from bargein.actors.context import Conversation
from bargein.actors.counters import SPECULATED_TOKENS, SPECULATIONS
from bargein.actors.messages import Foresee
from bargein.actors.recollection import READ_LIMIT_S
from bargein.actors.slots import Claim, SlotsAway, Wish
from bargein.agents.app import App, Apps
from bargein.memory.errors import FactsError
from bargein.memory.facts import FactBook
from bargein.memory.recall import told
from bargein.models.client import (
    Completion,
    Listener,
    Model,
    ModelError,
    ModelRequest,
    ToolUse,
)
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState
from bargein.speech.meaning import same_words

KEPT_S: Final = 10.0
"""An answer that no turn has asked for until then is thrown away."""

PLACE_S: Final = 0.25
"""It does not wait for a model slot, nor go on without one; the turn does wait."""

UNWIND_S: Final = 0.2
"""How long an interrupt may wait for the stream of an answer that was begun early to close."""

MOST_UNSEEN_CHARS: Final = 8 * 1024
"""Then its stream waits for the turn."""

BROKEN: Final = "The answer broke off. Please try again."

_NO_TURN: Final = TurnId("")

_log = structlog.get_logger()


@define(eq=False)
class Early:
    """A call of a model ahead of its turn; it hears the stream, and keeps what it hears.

    Attributes:
        words: What is answered.
        request: What was asked; None while that is not known yet.
        scope: Of the call.
        over: The call has ended, in whatever way.
        adopted: A turn has made it its own.
        _attached: What was kept has been heard, and all else is heard as it comes.
    """

    words: str
    model: Model
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    request: ModelRequest | None = field(default=None, init=False)
    over: trio.Event = field(factory=trio.Event, init=False)
    adopted: trio.Event = field(factory=trio.Event, init=False)
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
        self.scope.deadline = trio.current_time() + KEPT_S

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

    def drop(self) -> None:
        """Throw it away, unless a turn has it."""
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


@define(eq=False)
class Speculations:
    """Begins answers ahead of turns: one at a time.  Lives as long as the pipeline."""

    _state: SessionState
    _conversation: Conversation
    _apps: Apps
    _model: Model
    _allowance: Allowance
    _most_chars: int
    _facts: FactBook | None
    _early: Early | None = field(default=None, init=False)

    def obey(self, asked: Foresee, work: trio.Nursery) -> None:
        """Begin the answer to the words that are *asked*, and throw away any other."""
        self.drop()
        app = self._apps.current
        if asked.words is None or app.plans or not self._allowance.takes_words:
            return
        self._early = Early(asked.words, app.client or self._model)
        work.start_soon(self._see_through, self._early, app, name="speculation")

    def drop(self) -> None:
        """Throw away what was begun, unless a turn has it."""
        early, self._early = self._early, None
        if early is not None:
            early.drop()
            if early.over.is_set():
                self._count(early, "thrown away")

    def expect(self, words: str, claim: Claim) -> None:
        """Prepare for the turn that answers *words*, with its own claim to a model slot."""
        early = self._early
        if early is None or not same_words(early.words, words):
            self.drop()
            return
        if early.claim is not None:
            early.claim.release()  # so that the turn has it
        if not (claim.is_granted or early.over.is_set()):
            early.scope.deadline = min(early.scope.deadline, trio.current_time() + PLACE_S)

    def take(self, request: ModelRequest, model: Model) -> Early | None:
        """Return the answer to *request*, if it was begun; it is the caller's."""
        early = self._early
        if early is None or early.request is None or early.request.system != request.system:
            return None  # who asks is not the agent, but a guardrail, or whoever finds a title
        if not (early.model is model and early.is_sound and _is_same(early, request)):
            self.drop()
            return None
        self._early = None
        if early.over.is_set():
            self._count(early, "used")
        return early

    async def _see_through(self, early: Early, app: App) -> None:
        # Whoever is of a higher rank gets the slot: nobody waits for this.
        wish = Wish(preempt=early.drop)
        early.claim = claim = self._allowance.slots.ask(self._allowance.standing, wish)
        try:
            with early.scope:
                if not await _is_placed(claim):
                    return
                remembered = await self._remembered(app)
                if remembered is not None:
                    await early.listen(self._request(early.words, app, remembered))
        finally:
            claim.release()
            early.over.set()
            self._note_end(early)

    def _note_end(self, early: Early) -> None:
        if early.adopted.is_set():
            self._count(early, "used")
        elif self._early is not early:
            self._count(early, "thrown away")
        elif early.completion is None:  # it failed, or its time was up
            self._early = None
            self._count(early, "thrown away")

    def _count(self, early: Early, outcome: str) -> None:
        """Count what it has cost; of an answer that a turn has, its `model.end` does."""
        if early.request is None:
            return
        SPECULATIONS.labels(outcome).inc()
        if outcome != "used":
            SPECULATED_TOKENS.inc(early.tokens)
            self._allowance.spend(early.tokens)

    async def _remembered(self, app: App) -> str | None:
        """Return what agents are told of the user; None where that can't be read."""
        if self._facts is None or not app.recalls:
            return ""
        try:
            with trio.fail_after(READ_LIMIT_S):
                return told(await self._facts.facts())
        except (FactsError, trio.TooSlowError):
            return None

    def _request(self, words: str, app: App, remembered: str) -> ModelRequest:
        agent = app.agent(self._state.agent) or app.default
        messages, past = self._conversation.told(_NO_TURN, words, most_chars=self._most_chars)
        return request_of(agent, remembered, messages, past)


async def _is_placed(claim: Claim) -> bool:
    try:
        with trio.move_on_after(PLACE_S):
            await claim.until_granted()
    except SlotsAway:
        return False
    return claim.is_granted


def _is_same(early: Early, request: ModelRequest) -> bool:
    """Whether *request* asks the same, but for how its last words are written."""
    asked = early.request
    if asked is None or not request.messages:
        return False
    last = request.messages[-1]
    if not isinstance(last.content, str) or not same_words(last.content, early.words):
        return False
    return asked == evolve(request, messages=(*request.messages[:-1], asked.messages[-1]))


@frozen(eq=False)
class Prompted:
    """A model whose answer may have been begun before it was asked."""

    _model: Model
    _speculations: Speculations

    @property
    def name(self) -> str:
        """The name of the model that is asked."""
        return self._model.name

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Answer *request*, from the beginning that there is, or as the model does.

        Raises:
            ModelError: As the model.
        """
        early = self._speculations.take(request, self._model)
        if early is None:
            return await self._model.stream(request, listener)
        return await early.follow(listener)
