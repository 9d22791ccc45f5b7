"""A circuit breaker around any model: who keeps failing is left alone for a while."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import structlog
import trio
from attrs import define, field, frozen
from attrs.validators import ge, gt

from bargein.models.client import (
    Completion,
    Listener,
    Model,
    ModelError,
    ModelOverloaded,
    ModelRequest,
    ModelUnauthorized,
    ToolUse,
)
from bargein.models.counters import BREAKER_OPEN, BREAKER_OPENED, CALLS_SPARED

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

_log = structlog.get_logger()


class ModelLeftAlone(ModelOverloaded):
    """The model failed too often lately and was not asked: ask another one, or come back later."""

    def __init__(self, again_s: float) -> None:
        super().__init__(float(max(1, math.ceil(again_s))))


@frozen
class BreakerPolicy:
    """When a model is left alone, and for how long.

    Attributes:
        failures_most: So many failures in a row, none older than `window_s`, open the breaker.
        window_s: How long a failure is remembered.
        open_s: How long the model is left alone before one call tries whether it is back.
    """

    failures_most: int = field(default=5, validator=ge(1))
    window_s: float = field(default=30.0, validator=gt(0))
    open_s: float = field(default=15.0, validator=gt(0))


@define(eq=False)
class Breaker:
    """What is known of one model's health.

    Failures count only in a row: of a thousand calls in half a minute five may fail while all
    is well, and a breaker that opened then would do the damage itself.
    """

    _name: str
    _policy: BreakerPolicy
    _failed_at_s: deque[float] = field(factory=deque[float], init=False)
    _open_until_s: float | None = field(default=None, init=False)
    _trying: bool = field(default=False, init=False)

    @property
    def state(self) -> BreakerState:
        """Say whether calls are let through: all, none, or the one that tries it out."""
        if self._open_until_s is None:
            return "closed"
        return "open" if trio.current_time() < self._open_until_s else "half-open"

    @contextmanager
    def call(self) -> Generator[None]:
        """Let one call through, and learn from how it ends.

        Raises:
            ModelLeftAlone: Not now.
        """
        tries_out = self._admit()
        try:
            yield
        except ModelError as error:
            if error.retryable:
                self._failed()
            else:  # it was asked something wrong, and said so: it is there
                self.answered()
            raise
        else:
            self.answered()
        finally:
            if tries_out:  # one that was cancelled has found nothing out; the next one tries
                self._trying = False

    def _admit(self) -> bool:
        if self._open_until_s is None:
            return False
        left_s = self._open_until_s - trio.current_time()
        if left_s <= 0 and not self._trying:
            self._trying = True
            return True
        CALLS_SPARED.labels(self._name).inc()
        raise ModelLeftAlone(left_s)

    def answered(self) -> None:
        """Learn that the model works: it said something, or refused a request for a reason."""
        self._failed_at_s.clear()
        if self._open_until_s is not None:
            self._open_until_s = None
            BREAKER_OPEN.labels(self._name).set(0)
            _log.info("model.back", model=self._name)

    def _failed(self) -> None:
        now_s = trio.current_time()
        self._failed_at_s.append(now_s)
        while self._failed_at_s[0] <= now_s - self._policy.window_s:
            self._failed_at_s.popleft()
        was_closed = self._open_until_s is None
        # Calls that began before it opened may still fail; they don't keep it open for longer.
        if self._trying or (was_closed and len(self._failed_at_s) >= self._policy.failures_most):
            self._open_until_s = now_s + self._policy.open_s
        if was_closed and self._open_until_s is not None:
            BREAKER_OPEN.labels(self._name).set(1)
            BREAKER_OPENED.labels(self._name).inc()
            _log.warning("model.left_alone", model=self._name, for_s=self._policy.open_s)


@define(eq=False)
class Breaking:
    """A model that is not asked while it keeps failing: each name it serves has a breaker.

    Belongs inside `bargein.models.retry.Retrying`, so that each try counts.  Lives as long as the
    model in it.

    Attributes:
        locked_out: The vendor did not take our key when it was asked last.
    """

    _model: Model
    _policy: BreakerPolicy = field(factory=BreakerPolicy)
    locked_out: bool = field(default=False, init=False)
    _breakers: dict[str, Breaker] = field(factory=dict[str, Breaker], init=False)

    @property
    def name(self) -> str:
        """Name the model inside."""
        return self._model.name

    def breaker(self, name: str | None = None) -> Breaker:
        """Return the breaker of a model, by default of the one that answers where none is named."""
        named = name or self._model.name
        if named not in self._breakers:
            self._breakers[named] = Breaker(named, self._policy)
            BREAKER_OPEN.labels(named).set(0)
        return self._breakers[named]

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Ask *request*, unless its model is left alone: see `bargein.models.client.Model`.

        Raises:
            ModelLeftAlone: It was not asked.  Nothing was heard, and no time was lost.
            ModelError: As the model inside.
        """
        breaker = self.breaker(request.model)
        with breaker.call():
            try:
                completion = await self._model.stream(request, _Watching(breaker, listener))
            except ModelUnauthorized:
                self.locked_out = True
                raise
        self.locked_out = False
        return completion

    def trouble(self) -> str:
        """Say what an operator has to mend before anybody can be answered; empty if nothing."""
        return "the model's service refuses the server's credentials" if self.locked_out else ""


@define(eq=False)
class _Watching:
    """Hears for another one, and notes with the first words that the model works.

    Not with the end: who waits for one that tries it out should not wait for a long answer.
    """

    _breaker: Breaker
    _listener: Listener
    _heard: bool = field(default=False, init=False)

    def started(self, input_tokens: int) -> None:
        self._listener.started(input_tokens)

    def heard(self, text: str, deltas: int) -> bool | None:
        if not self._heard:
            self._note()
        return self._listener.heard(text, deltas)

    def tool_called(self, call: ToolUse) -> None:
        self._note()
        self._listener.tool_called(call)

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        self._listener.retrying(attempt, after_s, cause)

    async def room(self) -> None:
        await self._listener.room()

    def _note(self) -> None:
        if not self._heard:
            self._heard = True
            self._breaker.answered()
