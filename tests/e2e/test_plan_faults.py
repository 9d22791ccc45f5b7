"""What goes wrong while a plan is made or followed, and how the turn heals, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from bargein.agents.app import Agent, App
from bargein.agents.guardrail import Rule
from bargein.agents.planning import Planning
from tests.e2e.faults import faulty, payloads, status, system_of
from tests.e2e.harness import eventually
from tests.e2e.scripts import BRIEF, assert_ladder
from tests.fakes.anthropic_answers import Answer, Cut, Hang, Leave, Say, doing, refusing, saying
from tests.fakes.anthropic_api import Exchange, Script

STEPS = [("Find", "finder", None), ("Answer", "writer", None)]
WRITERS = App(
    "plan",
    (Agent("finder", "You are the finder."), Agent("writer", "You are the writer.")),
    planning=Planning(policy="always"),
)


HEADS = {
    "planner": "You plan",
    "judge": "Decide whether",
    "finder": "You are the finder",
    "writer": "You are the writer",
}


def plan_of(steps: Sequence[tuple[str, str, int | None]]) -> str:
    return json.dumps({"steps": [{"title": t, "agent": a, "group": g} for t, a, g in steps]})


def by_role(**answers: list[Answer]) -> Script:
    """Return a script that gives each of *answers* in turn, by who is asked."""

    def script(exchange: Exchange) -> Answer:
        system = system_of(exchange)
        role = next(role for role, head in HEADS.items() if system.startswith(head))
        left = answers[role]
        return left.pop(0) if len(left) > 1 else left[0]

    return script


async def test_a_plan_that_is_never_mended_becomes_one_step_and_the_turn_completes() -> None:
    script = by_role(planner=[saying("I won't plan.")], finder=[BRIEF])
    async with faulty(script, WRITERS) as (w, _):
        client = await w.attach()
        turn = await client.converse("Do it")
        starts = payloads(client, turn, "recovery.start")
        assert starts == [{"kind": "plan_invalid", "attempt": n} for n in (1, 2)]
        (ready,) = payloads(client, turn, "plan.ready")
        assert len(ready["steps"]) == 1
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")


async def test_a_step_that_breaks_off_unheard_is_taken_again() -> None:
    script = by_role(
        planner=[saying(plan_of(STEPS))],
        finder=[doing(Say("Half "), Cut()), saying("found it")],
        writer=[BRIEF],
    )
    async with faulty(script, WRITERS) as (w, api):
        client = await w.attach()
        turn = await client.converse("Do it")
        (retry,) = payloads(client, turn, "model.retry")
        assert (retry["attempt"], retry["cause"]) == (2, "model_error")
        assert [end["status"] for end in payloads(client, turn, "stage.end")] == ["ok", "ok"]
        assert "found it" in system_of(api.exchanges[-1])
        assert "Half" not in system_of(api.exchanges[-1])
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")


async def test_a_step_that_fails_is_left_out_and_the_next_one_knows() -> None:
    script = by_role(
        planner=[saying(plan_of(STEPS))],
        finder=[refusing(500, "api_error")],
        writer=[BRIEF],
    )
    async with faulty(script, WRITERS) as (w, api):
        client = await w.attach()
        turn = await client.converse("Do it")
        assert [end["status"] for end in payloads(client, turn, "stage.end")] == ["failed", "ok"]
        view = (await client.ask("projection", name="plan"))["result"]
        assert [step["state"] for step in view["steps"]] == ["failed", "done"]
        assert "'Find' did not succeed" in system_of(api.exchanges[-1])
        assert status(client, turn) == "completed"


async def test_a_failed_turn_goes_on_from_its_checkpoint_and_repeats_no_step() -> None:
    script = by_role(
        planner=[saying(plan_of(STEPS))],
        finder=[saying("found it")],
        writer=[doing(Say("Half "), Leave()), saying("the rest.")],
    )
    async with faulty(script, WRITERS) as (w, api):
        client = await w.attach()
        first = await client.converse("Do it")
        assert status(client, first) == "failed"
        (checkpoint,) = payloads(client, first, "turn.checkpoint")
        fault = payloads(client, first, "error")[-1]
        assert (fault["layer"], fault["recover"]["done"]) == ("executor", ["step_1"])
        token = fault["recover"]["resume_token"]
        assert token == checkpoint["resume_token"]
        asked = len(api.exchanges)

        second = await client.converse("", resume=token)
        assert client.find("turn.start", turn_id=second, continues=first)
        assert (status(client, second), client.answer_of(second)) == ("completed", "the rest.")
        assert [start["stage"] for start in payloads(client, second, "stage.start")] == ["step_2"]
        (exchange,) = list(api.exchanges)[asked:]
        assert "found it" in system_of(exchange)


@pytest.mark.parametrize("at", ["planner", "judge", "finder", "writer"])
async def test_an_interrupt_at_any_stage_gives_the_same_ladder(at: str) -> None:
    app = App(
        "guarded", WRITERS.agents, planning=WRITERS.planning,
        guardrails=(Rule("polite", "Be polite."),),
    )  # fmt: skip
    roles: dict[str, list[Answer]] = {
        "planner": [saying(plan_of(STEPS))],
        "judge": [saying("PASS")],
        "finder": [saying("found it")],
        "writer": [BRIEF],
    }
    roles[at] = [doing(Say("{"), Hang())]
    async with faulty(by_role(**roles), app) as (w, api):
        client = await w.attach()
        turn = (await client.say("Do it"))["result"]["turn_id"]
        # The planner and the judge are asked at the same time: the other one has answered.
        await client.until("plan.ready" if at == "judge" else "guardrail.passed", turn_id=turn)
        head = HEADS[at]
        await eventually(
            lambda: any(system_of(e).startswith(head) and e.tokens_sent for e in api.exchanges)
        )
        await client.ask("interrupt")
        assert_ladder(client.of_turn(turn))
        assert status(client, turn) == "cancelled"
        starts = payloads(client, turn, "model.start")
        assert len(payloads(client, turn, "model.end")) == len(starts)
