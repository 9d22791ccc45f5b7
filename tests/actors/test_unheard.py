"""A model's words that the user does not see may be asked for again, whenever they broke off."""

from __future__ import annotations

import pytest
import trio

from bargein.actors.asking import Asking
from bargein.actors.exchange import UNHEARD_TRIES
from bargein.models.client import ModelError, ModelRefused, ModelTimeout
from bargein.protocol.events import ModelRetry
from tests.actors.consultation import Answer, Stage, on_stage, retryable

BROKEN = Answer("No", error=retryable(began=True))


async def ask(stage: Stage) -> str:
    asking = Asking(stage.turn, stage.model, stage.output, "titler")
    try:
        return await asking.answer("Give it a title.", "words")
    finally:
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    "error", [retryable(began=True), ModelTimeout("first_token", 2.0), ModelTimeout("gap", 1.0)]
)
async def test_an_answer_that_nobody_sees_and_that_breaks_off_is_asked_for_again(
    error: ModelError, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage({"": [Answer("No", error=error), Answer("A title")]}) as stage:
        assert await ask(stage) == "A title"
    assert stage.page.told(ModelRetry) == [ModelRetry(2, 0.0, error.code)]
    assert stage.page.types == [
        "model.start",
        "model.end",
        "model.retry",
        "model.start",
        "model.end",
    ]
    assert stage.models_are_accounted_for()


async def test_after_three_tries_it_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with on_stage({"": [BROKEN]}) as stage:
        with pytest.raises(ModelError):
            await ask(stage)
    assert len(stage.model.calls) == UNHEARD_TRIES
    assert [retry.attempt for retry in stage.page.told(ModelRetry)] == [2, 3]
    assert stage.models_are_accounted_for()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(error=retryable()),
        Answer("N", error=ModelError("Wrong.", retryable=False, began=True)),
        Answer("No", stop="refusal"),
    ],
    ids=["tried again below", "not retryable", "refused"],
)
async def test_what_another_try_would_not_mend_is_not_tried_again(
    answer: Answer, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage({"": [answer]}) as stage:
        with pytest.raises(ModelRefused if answer.stop == "refusal" else ModelError):
            await ask(stage)
    assert len(stage.model.calls) == 1
    assert not stage.page.told(ModelRetry)
