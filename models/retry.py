"""Our one retry policy, around any model."""

from __future__ import annotations

import random

import trio
from attrs import define, field, frozen
from attrs.validators import ge

from bargein.models.breaker import ModelLeftAlone
from bargein.models.client import (
    Completion,
    Listener,
    Model,
    ModelError,
    ModelOverloaded,
    ModelRequest,
    ModelTimeout,
)


@frozen
class RetryPolicy:
    """When to ask again, and after how long.

    Attributes:
        tries: How often to ask in all.
        first_wait_s: Longest wait before the second try; it doubles with each further one.
        most_s: Longest wait before any try, whatever the vendor asks for: a person is waiting.
    """

    tries: int = field(default=3, validator=ge(1))
    first_wait_s: float = field(default=0.5, validator=ge(0))
    most_s: float = field(default=10.0, validator=ge(0))

    def may_retry(self, error: ModelError, tries_made: int) -> bool:
        """Return whether to ask again after *error*.

        Never once something was heard: the listener would hear two beginnings.  Never after a
        timeout but that of connecting: who has waited half a minute should decide for himself.
        Nor where nobody was asked: that is meant to be quick.
        """
        if error.began or not error.retryable or tries_made >= self.tries:
            return False
        if isinstance(error, ModelLeftAlone):
            return False
        return not isinstance(error, ModelTimeout) or error.phase == "connect"

    def wait_s(self, error: ModelError, tries_made: int, chance: random.Random) -> float:
        """Return how long to wait: what the vendor asks for, else exponential with jitter.

        The jitter takes up to half of the wait, so that those who failed together don't come
        back together.
        """
        if isinstance(error, ModelOverloaded) and error.retry_after_s is not None:
            return min(error.retry_after_s, self.most_s)
        longest_s = min(self.first_wait_s * 2.0 ** (tries_made - 1), self.most_s)
        return longest_s * (1 - chance.random() / 2)


@define(eq=False)
class Retrying:
    """A model that asks another one again where that is safe.

    Lives as long as the model in it; the *chance* is injected for the sake of tests.
    """

    _model: Model
    _policy: RetryPolicy = field(factory=RetryPolicy)
    _chance: random.Random = field(factory=random.Random)

    @property
    def name(self) -> str:
        """Name the model inside."""
        return self._model.name

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Ask *request*, up to the policy's number of tries: see `bargein.models.client.Model`.

        Raises:
            ModelError: The last try's.
        """
        tries_made = 0
        while True:
            try:
                return await self._model.stream(request, listener)
            except ModelError as error:
                tries_made += 1
                if not self._policy.may_retry(error, tries_made):
                    raise
                after_s = self._policy.wait_s(error, tries_made, self._chance)
                cause = error.code
            listener.retrying(tries_made + 1, after_s, cause)
            await trio.sleep(after_s)
