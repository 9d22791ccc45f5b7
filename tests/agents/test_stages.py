from __future__ import annotations

from typing import Any, Final

import pytest

from bargein.agents.planning import Plan, PlannedStep
from bargein.agents.stages import (
    CarryOn,
    Done,
    EndWhen,
    Flow,
    Group,
    Hook,
    RequireWords,
    Stage,
    StageStatus,
    mermaid,
    pipeline_of,
)

LOOK: Final = Stage("look", "Look it up", "researcher")


def done(status: StageStatus = "ok", text: str = "Found.") -> Done:
    return Done(LOOK, status, text)


def planned(*groups: int | None) -> Plan:
    return Plan(tuple(PlannedStep(f"step_{n}", f"T{n}", "a", g) for n, g in enumerate(groups, 1)))


def shape(*groups: int | None) -> list[Any]:
    """Return ids in order, those of a group in a tuple, and a `!` after one that speaks."""

    def said(stage: Stage) -> str:
        return stage.id.removeprefix("step_") + ("!" if stage.speaks else "")

    return [
        tuple(map(said, item.stages)) if isinstance(item, Group) else said(item)
        for item in pipeline_of(planned(*groups))
    ]


# --- pipelines ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ((None,), ["1!"]),
        ((None, None, None), ["1", "2", "3!"]),
        ((1, 1, None), [("1", "2"), "3!"]),
        ((1, 1, 2, 2), [("1", "2"), ("3", "4")]),
        ((1, 2, 3), ["1", "2", "3!"]),
        ((1, None, 1), ["1", "2", "3!"]),
        ((None, 0, 0), ["1", ("2", "3")]),
        ((1, 1, 1), [("1", "2", "3")]),
    ],
    ids=str,
)
def test_neighbours_of_one_group_run_together_and_a_last_stage_speaks(
    groups: tuple[int | None, ...], expected: list[Any]
) -> None:
    assert shape(*groups) == expected


def test_a_stage_is_the_step_of_the_plan() -> None:
    (stage,) = pipeline_of(Plan((PlannedStep("step_1", "Look", "researcher"),)))
    assert stage == Stage("step_1", "Look", "researcher", speaks=True, timeout_s=120.0)


def test_a_stage_needs_time() -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        Stage("look", "Look", "researcher", timeout_s=0)


# --- what passes from stage to stage ---------------------------------------------------


def test_a_flow_is_never_changed_but_made_anew() -> None:
    empty = Flow()
    told = empty.told("one").told("two").with_result(done()).with_result(done("failed"))
    assert empty == Flow()
    assert told.notes == ("one", "two")
    assert [result.status for result in told.results] == ["ok", "failed"]
    assert (told.ended, told.failure, told.state) == (False, None, {})


async def test_a_stage_that_has_to_say_something_fails_without_words() -> None:
    hook: Hook = RequireWords()
    flow = Flow()
    assert await hook.after(done(), flow) is flow
    assert await hook.after(done("failed", ""), flow) is flow
    failed = await hook.after(done(text=" \n"), flow)
    assert failed.failure == "the stage 'Look it up' came to nothing"


@pytest.mark.parametrize("status", ["failed", "skipped", "timeout"])
async def test_the_next_stages_are_told_of_one_that_did_not_succeed(status: StageStatus) -> None:
    hook: Hook = CarryOn()
    flow = await hook.after(done(status), Flow())
    assert flow.notes == (f"The step 'Look it up' did not succeed ({status}). Do without it.",)
    assert flow.failure is None


async def test_nothing_is_told_of_a_stage_that_succeeded() -> None:
    flow = Flow()
    assert await CarryOn().after(done(), flow) is flow


async def test_a_pipeline_may_end_early() -> None:
    hook: Hook = EndWhen(lambda ended: "Found" in ended.text)
    flow = Flow()
    assert await hook.after(done(text="Nothing"), flow) is flow
    ended = await hook.after(done(), flow)
    assert ended.ended
    assert ended.failure is None


# --- the picture ------------------------------------------------------------------------


def test_a_picture_shows_order_and_what_runs_at_the_same_time() -> None:
    assert mermaid(pipeline_of(planned(None, 1, 1, None))).splitlines() == [
        "flowchart LR",
        "    start((turn))",
        '    step_1["T1<br/><i>a</i>"]',
        "    start --> step_1",
        '    step_2["T2<br/><i>a</i>"]',
        "    step_1 --> step_2",
        '    step_3["T3<br/><i>a</i>"]',
        "    step_1 --> step_3",
        '    step_4["T4<br/><i>a</i>"]',
        "    step_2 --> step_4",
        "    step_3 --> step_4",
        "    done((answer))",
        "    step_4 --> done",
    ]


def test_a_quote_in_a_title_does_not_end_the_label() -> None:
    assert """["Say 'hi'<br/><i>a</i>"]""" in mermaid((Stage("s", 'Say "hi"', "a"),))


def test_a_picture_of_nothing_goes_from_the_turn_to_the_answer() -> None:
    assert mermaid(()).splitlines()[-1] == "    start --> done"
