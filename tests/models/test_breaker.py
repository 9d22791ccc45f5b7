"""A model that keeps failing is left alone, and is found again when it is back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from attrs import define, evolve, field
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from trio.testing import MockClock

from bargein.models.breaker import BreakerPolicy, Breaking, ModelLeftAlone
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
from tests.fakes.anthropic_answers import refusing, saying
from tests.models.ears import Ears, asking, talking

DONE = Completion("end_turn", Usage(1, 1, estimated=False))
POLICY = BreakerPolicy(failures_most=5, window_s=30.0, open_s=15.0)


@define(eq=False)
class Fickle:
    """A model that does what it is told next: raise, hang, or answer."""

    next: ModelError | None = None
    asked: list[str] = field(factory=list[str])
    hang: trio.Event | None = None
    speaks_first: bool = False
    name: str = "fickle"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        self.asked.append(request.model or self.name)
        if self.speaks_first:
            listener.heard("So", 1)
        if self.hang is not None:
            await self.hang.wait()
        if self.next is not None:
            raise self.next
        listener.heard("answer", 1)
        return DONE


@define(eq=False)
class Bench:
    """A breaker around a fickle model."""

    inner: Fickle = field(factory=Fickle)
    model: Breaking = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.model = Breaking(self.inner, POLICY)

    @property
    def state(self) -> str:
        return self.model.breaker().state

    async def ask(self, name: str | None = None) -> Completion | ModelError:
        try:
            return await self.model.stream(evolve(asking(), model=name), Ears())
        except ModelError as error:
            return error

    async def fail(self, times: int, name: str | None = None) -> None:
        self.inner.next = ModelFailed(503)
        for _ in range(times):
            await self.ask(name)
        self.inner.next = None


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value("bargein_model_breaker_open", {"model": name})


async def test_five_failures_within_30_s_and_it_is_left_alone_at_no_cost(
    autojump_clock: MockClock,
):
    bench = Bench()
    await bench.fail(4)
    assert (bench.state, len(bench.inner.asked)) == ("closed", 4)
    with capture_logs() as logs:
        await bench.fail(1)
    assert [(line["event"], line["model"]) for line in logs] == [("model.left_alone", "fickle")]
    began_s = trio.current_time()
    spared = await bench.ask()
    assert isinstance(spared, ModelLeftAlone)
    assert (spared.code, spared.retryable, spared.began) == ("model_overloaded", True, False)
    assert spared.retry_after_s == 15.0
    assert (trio.current_time(), len(bench.inner.asked)) == (began_s, 5)


async def test_failures_further_apart_leave_it_closed(autojump_clock: MockClock):
    bench = Bench()
    for _ in range(20):
        await bench.fail(1)
        await trio.sleep(7.5)
    assert bench.state == "closed"
    assert len(bench.inner.asked) == 20


async def test_an_answer_in_between_starts_the_count_anew(autojump_clock: MockClock):
    bench = Bench()
    for _ in range(5):
        await bench.fail(4)
        assert await bench.ask() == DONE
    assert bench.state == "closed"


async def test_after_a_while_one_call_tries_it_out_and_lets_all_others_in_again(
    autojump_clock: MockClock,
):
    bench = Bench()
    await bench.fail(5)
    assert gauge("fickle") == 1
    await trio.sleep(14.9)
    assert isinstance(await bench.ask(), ModelLeftAlone)
    await trio.sleep(0.1)
    assert bench.state == "half-open"
    with capture_logs() as logs:
        assert await bench.ask() == DONE
    assert [line["event"] for line in logs] == ["model.back"]
    assert (bench.state, gauge("fickle")) == ("closed", 0)
    await bench.fail(4)
    assert bench.state == "closed"  # the failures of before are forgotten


async def test_one_that_tries_it_out_in_vain_leaves_it_alone_for_as_long_again(
    autojump_clock: MockClock,
):
    bench = Bench()
    await bench.fail(5)
    await trio.sleep(15)
    await bench.fail(1)
    assert len(bench.inner.asked) == 6
    assert bench.state == "open"
    await trio.sleep(14.9)
    assert isinstance(await bench.ask(), ModelLeftAlone)
    await trio.sleep(0.1)
    assert await bench.ask() == DONE


async def test_while_one_tries_it_out_the_others_are_answered_at_once(autojump_clock: MockClock):
    bench = Bench()
    await bench.fail(5)
    await trio.sleep(15)
    bench.inner.hang = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask)
        await trio.testing.wait_all_tasks_blocked()
        spared = await bench.ask()
        assert isinstance(spared, ModelLeftAlone)
        assert spared.retry_after_s == 1.0
        assert len(bench.inner.asked) == 6
        bench.inner.hang.set()
    assert bench.state == "closed"


async def test_the_first_words_let_the_others_in_and_not_the_last(autojump_clock: MockClock):
    bench = Bench()
    await bench.fail(5)
    await trio.sleep(15)
    bench.inner.hang, bench.inner.speaks_first = trio.Event(), True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ask)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.state == "closed"
        bench.inner.hang.set()


async def test_an_interrupt_of_the_one_that_tries_it_out_lets_the_next_try(
    autojump_clock: MockClock,
):
    bench = Bench()
    await bench.fail(5)
    await trio.sleep(15)
    bench.inner.hang = trio.Event()
    with trio.move_on_after(1) as scope:
        await bench.ask()
    assert scope.cancelled_caught
    bench.inner.hang = None
    assert bench.state == "half-open"
    assert await bench.ask() == DONE


async def test_each_model_has_a_breaker_of_its_own(autojump_clock: MockClock):
    bench = Bench()
    await bench.fail(5, "large")
    assert isinstance(await bench.ask("large"), ModelLeftAlone)
    assert await bench.ask("small") == DONE
    assert (gauge("large"), gauge("small")) == (1, 0)


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (lambda: ModelFailed(500), True),
        (lambda: ModelOverloaded(2.0), True),
        (lambda: ModelTimeout("first_token", 30), True),
        (ModelUnreachable, True),
        (lambda: StreamTruncated(began=True), True),
        (lambda: ModelFailed(400, retryable=False), False),
        (ModelUnauthorized, False),
        (ModelRefused, False),
        (ContextOverflow, False),
    ],
)
async def test_only_what_another_call_might_mend_counts(
    failure: Callable[[], ModelError], counts: bool, autojump_clock: MockClock
):
    bench = Bench()
    bench.inner.next = failure()
    for _ in range(5):
        await bench.ask()
    assert bench.state == ("open" if counts else "closed")


async def test_a_call_that_was_not_made_is_not_tried_again(autojump_clock: MockClock):
    inner = Fickle(ModelFailed(529))
    model, ears = Retrying(Breaking(inner, POLICY), RetryPolicy(tries=3)), Ears()
    for _ in range(2):
        with pytest.raises(ModelError):
            await model.stream(asking(), ears)
    assert len(inner.asked) == 5  # each try counts: the sixth was not made
    began_s = trio.current_time()
    with pytest.raises(ModelLeftAlone):
        await model.stream(asking(), ears)
    assert (trio.current_time(), len(inner.asked)) == (began_s, 5)


async def test_a_vendor_that_answers_503_is_asked_five_times_and_no_more():
    async with talking(lambda _: refusing(503, "api_error")) as (api, inner):
        model = Breaking(inner)
        for _ in range(8):
            with pytest.raises(ModelError):
                await model.stream(asking(), Ears())
        assert len(api.exchanges) == 5


async def test_a_vendor_that_answers_is_heard_through_it_word_for_word():
    async with talking([saying("one ", "two ", "three")]) as (_, inner):
        ears = Ears()
        completion = await Breaking(inner).stream(asking(), ears)
        assert (ears.text, ears.deltas, completion.stop_reason) == ("one two three", 3, "end_turn")
        assert ears.starts


@pytest.mark.parametrize("wrong", [{"failures_most": 0}, {"window_s": 0.0}, {"open_s": -1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BreakerPolicy(**wrong)  # pyright: ignore[reportArgumentType]
