"""An answer that is begun before the words are final, and that nobody sees until they are.

It is one call of the model, with the request that the turn would make: no event is written, no
tool runs, no client and no store hears of it.  When the turn makes the same request, the call is
its own, with all that was said so far; otherwise it is thrown away, and its tokens are counted.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from attrs import define, evolve, field, frozen

from bargein.actors.adapters import failure_in
from bargein.actors.agent_run import request_of
from bargein.actors.allowance import Allowance
from bargein.actors.context import Conversation
from bargein.actors.counters import SPECULATED_TOKENS, SPECULATIONS
from bargein.actors.early import Early
from bargein.actors.messages import Foresee
from bargein.actors.recollection import READ_LIMIT_S
from bargein.actors.slots import Claim, Wish
from bargein.agents.app import App, Apps
from bargein.memory.errors import FactsError
from bargein.memory.facts import FactBook
from bargein.memory.recall import told
from bargein.models.client import Completion, Listener, Model, ModelRequest
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState
from bargein.speech.meaning import same_words

RANK: Final = -1
"""Below every tier: it takes no slot from anybody, and whoever waits for one takes its slot."""

TIER: Final = "speculation"
"""What its slots are counted as, so that figures of tiers tell of turns alone."""

_NO_TURN: Final = TurnId("")

_log = structlog.get_logger()


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
        early.expect(claim)

    def take(self, request: ModelRequest, model: Model) -> Early | None:
        """Return the answer to *request*, if it was begun; it is the caller's."""
        early = self._early
        if early is None or early.request is None or early.request.system != request.system:
            return None  # who asks is not the agent, but a guardrail, or whoever finds a title
        if not (early.model is model and early.is_sound and _is_same(early, request)):
            self.drop()
            return None
        self._early = None
        early.left.set()
        if early.over.is_set():
            self._count(early, "used")
        return early

    async def _see_through(self, early: Early, app: App) -> None:
        try:
            await self._begin(early, app)
        except BaseException as error:  # noqa: BLE001 - of what nobody sees, nobody's session ends
            _log.warning("speculation.failed", exc_info=failure_in(error))
        finally:
            early.over.set()
            self._note_end(early)
        if self._early is early:
            with trio.move_on_at(early.kept_until_s):
                await early.left.wait()
        if self._early is early:
            self.drop()

    async def _begin(self, early: Early, app: App) -> None:
        standing = evolve(self._allowance.standing, tier=TIER, rank=RANK)
        # Less than never, so that it gives way also where no turn has to.
        wish = Wish(preempted=-1, preempt=early.give_way)
        early.claim = claim = self._allowance.slots.ask(standing, wish)
        try:
            if not claim.is_granted:
                return  # it waits for no slot
            with early.scope:
                remembered = await self._remembered(app)
                if remembered is not None:
                    await early.listen(self._request(early.words, app, remembered))
        finally:
            claim.release()

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
