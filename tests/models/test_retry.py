from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from bargein.models.client import (
    Completion,
    ContextOverflow,
    Listener,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnauthorized,
    ModelUnreachable,
    StreamTruncated,
    Usage,
)
from bargein.models.retry import Retrying, RetryPolicy
from tests.models.ears import Ears, asking

DONE = Completion("end_turn", Usage(1, 1, estimated=False))


class Luck(random.Random):
    """Chance that always takes the same share."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def random(self) -> float:
        return self.share


@define(eq=False)
class Failing:
    """A model that fails as told, then answers."""

    failures: list[ModelError]
    asked_at_s: list[float] = field(factory=list[float])
    name: str = "failing"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        del request
        self.asked_at_s.append(trio.current_time())
        listener.started(1)
        if self.failures:
            raise self.failures.pop(0)
        listener.heard("answer", 1)
        return DONE


async def ask(
    *failures: ModelError, policy: RetryPolicy | None = None, share: float = 0.0
) -> tuple[Failing, Ears, Completion | ModelError]:
    model, ears = Failing(list(failures)), Ears()
    retrying = Retrying(model, policy or RetryPolicy(), Luck(share))
    assert retrying.name == "failing"
    try:
        return model, ears, await retrying.stream(asking(), ears)
    except ModelError as error:
        return model, ears, error


async def test_a_model_that_answers_is_asked_once(autojump_clock: MockClock) -> None:
    model, ears, outcome = await ask()
    assert outcome == DONE
    assert len(model.asked_at_s) == 1
    assert ears.retries == []


async def test_the_listener_hears_of_each_retry_before_its_wait(autojump_clock: MockClock) -> None:
    model, ears, outcome = await ask(ModelFailed(500), ModelOverloaded())
    assert outcome == DONE
    assert ears.retries == [(2, 0.5, "model_error"), (3, 1.0, "model_overloaded")]
    assert ears.order == ["started", "retrying", "started", "retrying", "started", "heard"]
    assert model.asked_at_s == pytest.approx([0.0, 0.5, 1.5])


async def test_three_tries_are_all(autojump_clock: MockClock) -> None:
    last = ModelOverloaded(1.0)
    model, ears, outcome = await ask(ModelFailed(500), ModelFailed(500), last, ModelFailed(500))
    assert outcome is last
    assert len(model.asked_at_s) == 3
    assert len(ears.retries) == 2


async def test_jitter_takes_up_to_half_of_the_wait(autojump_clock: MockClock) -> None:
    _, ears, _ = await ask(ModelFailed(500), ModelFailed(500), share=1.0)
    assert [after_s for _, after_s, _ in ears.retries] == [0.25, 0.5]


async def test_the_wait_grows_no_longer_than_the_most(autojump_clock: MockClock) -> None:
    policy = RetryPolicy(tries=6, first_wait_s=3.0, most_s=10.0)
    _, ears, _ = await ask(*(ModelFailed(500) for _ in range(5)), policy=policy)
    assert [after_s for _, after_s, _ in ears.retries] == [3.0, 6.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(("asked_s", "waited_s"), [(2.5, 2.5), (0.0, 0.0), (3600.0, 10.0)])
async def test_the_vendors_wait_is_kept_up_to_the_most(
    asked_s: float, waited_s: float, autojump_clock: MockClock
) -> None:
    model, ears, _ = await ask(ModelOverloaded(asked_s), share=0.7)
    assert ears.retries == [(2, waited_s, "model_overloaded")]
    assert model.asked_at_s[1] == pytest.approx(waited_s)


@pytest.mark.parametrize(
    "failure",
    [
        lambda: ModelOverloaded(1.0, began=True),
        lambda: ModelFailed(500, began=True),
        lambda: StreamTruncated(began=True),
        lambda: ModelFailed(400, retryable=False),
        ModelUnauthorized,
        ModelRefused,
        ContextOverflow,
        lambda: ModelTimeout("first_token", 30),
        lambda: ModelTimeout("gap", 20, began=True),
        lambda: ModelTimeout("whole", 600),
    ],
)
async def test_what_began_or_cannot_be_mended_is_not_asked_again(
    failure: Callable[[], ModelError], autojump_clock: MockClock
) -> None:
    model, ears, outcome = await ask(failure())
    assert isinstance(outcome, ModelError)
    assert len(model.asked_at_s) == 1
    assert ears.retries == []


@pytest.mark.parametrize(
    "failure",
    [StreamTruncated, ModelUnreachable, ModelFailed, lambda: ModelTimeout("connect", 5)],
)
async def test_what_failed_before_anything_was_heard_is_asked_again(
    failure: Callable[[], ModelError], autojump_clock: MockClock
) -> None:
    _, ears, outcome = await ask(failure())
    assert outcome == DONE
    assert len(ears.retries) == 1


async def test_a_cancel_ends_the_wait(autojump_clock: MockClock) -> None:
    model = Failing([ModelOverloaded(8.0)])
    with trio.move_on_after(3) as scope:
        await Retrying(model).stream(asking(), Ears())
    assert scope.cancelled_caught
    assert len(model.asked_at_s) == 1


@pytest.mark.parametrize("wrong", [{"tries": 0}, {"first_wait_s": -1.0}, {"most_s": -1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # pyright: ignore[reportArgumentType]
