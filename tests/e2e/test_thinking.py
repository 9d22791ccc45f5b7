"""An app with all of it, over a real socket: plan, title, guardrails, specialists, tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from bargein.agents.app import Agent, App
from bargein.agents.guardrail import Rule
from bargein.agents.planning import Planning, Titling
from bargein.protocol.events import Object
from bargein.tools.tool import ToolContext, tool
from tests.e2e.client import Client
from tests.e2e.harness import World, world
from tests.e2e.scripts import ladder_of
from tests.fakes.anthropic_answers import Answer, Call, Hang, Say, Stop, Stream, doing, saying
from tests.fakes.anthropic_api import Exchange, Script

PLANNER: Final = "You plan how a team"
TITLER: Final = "a title of at most"
JUDGE: Final = "Decide whether"
RESEARCHER: Final = "You research."
ANALYST: Final = "You analyse."
WRITER: Final = "You write."

STEPS: Final = [
    {"title": "Find the funds", "agent": "researcher", "group": 1},
    {"title": "Read the market", "agent": "analyst", "group": 1},
    {"title": "Tell the user", "agent": "writer"},
]


@tool(effect="read")
async def funds(below: float, context: ToolContext) -> list[str]:
    """List funds by their costs.

    Args:
        below: Expense ratio in percent.
        context: Of the call.
    """
    context.notes.progress("looking", 0.5)
    context.notes.note(Object("funds", ["NGWE"]))
    return ["NGWE"] if below >= 0.1 else []


@tool(effect="read")
async def market() -> str:
    """Wait for the market to open."""
    await trio.sleep(60)
    return "open"


def app(planning: Planning | None = None) -> App:
    return App(
        "bank",
        (
            Agent("writer", WRITER),
            Agent("researcher", RESEARCHER, tools=(funds,)),
            Agent("analyst", ANALYST, tools=(market,)),
        ),
        planning=planning or Planning("always"),
        titling=Titling(),
        guardrails=(Rule("advice", "No advice on single shares."),),
    )


def instructions(exchange: Exchange) -> str:
    """The system prompt of a request, as one text."""
    system = exchange.body.get("system", "")
    return system if isinstance(system, str) else "".join(part["text"] for part in system)


def by_role(answers: Mapping[str, Answer | list[Answer]]) -> Script:
    """Return a script that answers by who is asked, each with its answers in order."""
    left = {key: [each] if isinstance(each, Stream) else each for key, each in answers.items()}

    def script(exchange: Exchange) -> Answer:
        found = next(left[key] for key in left if key in instructions(exchange))
        assert isinstance(found, list)
        return found.pop(0) if len(found) > 1 else found[0]

    return script


def calling(call_id: str, name: str, **args: Any) -> Stream:
    return doing(Call(call_id, name, (json.dumps(args),)), Stop("tool_use"))


def answers(**more: Any) -> dict[str, Any]:
    return {
        PLANNER: saying(json.dumps({"steps": STEPS})),
        TITLER: saying("Cheap ", "funds"),
        JUDGE: saying("PASS"),
        RESEARCHER: [calling("toolu_1", "funds", below=0.2), saying("NGWE costs 0.1 %.")],
        ANALYST: saying("All is ", "quiet."),
        WRITER: saying("Take ", "a look ", "at NGWE."),
    } | {globals()[key.upper()]: answer for key, answer in more.items()}


def asked(w: World) -> list[str]:
    """Who was asked, in order."""
    keys = (PLANNER, TITLER, JUDGE, RESEARCHER, ANALYST, WRITER)
    return [
        next(key for key in keys if key in instructions(exchange)) for exchange in w.api.exchanges
    ]


def order(client: Client, turn_id: str, *kinds: str) -> list[str]:
    """The types of a turn's events that are of one of *kinds*, with what tells them apart."""
    told: list[str] = []
    for event in client.of_turn(turn_id):
        if event.type.startswith(kinds):
            payload = event.payload
            what = payload.get("stage") or payload.get("id") or ""
            told.append(f"{event.type} {what} {payload.get('state', '')}".strip())
    return told


async def test_a_client_sees_the_plan_appear_its_steps_tick_off_and_tools_run(tmp_path: Path):
    async with world(by_role(answers()), app=app(), store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        turn_id = await alice.converse("Which funds are cheap?")
        types = [event.type for event in alice.of_turn(turn_id)]

        assert alice.answer_of(turn_id) == "Take a look at NGWE."
        assert types[:4] == ["input.text", "turn.start", "turn.end", "response.start"]
        assert types.index("guardrail.passed") < types.index("stage.start")
        assert types.index("plan.ready") < types.index("stage.start")
        both = order(alice, turn_id, "plan.step", "stage.", "turn.checkpoint")
        assert sorted(both[:4]) == [
            "plan.step step_1 active",
            "plan.step step_2 active",
            "stage.start step_1",
            "stage.start step_2",
        ]
        assert both[-5:] == [
            "turn.checkpoint",
            "plan.step step_3 active",
            "stage.start step_3",
            "stage.end step_3",
            "plan.step step_3 done",
        ]
        tools = [
            event.type
            for event in alice.of_turn(turn_id)
            if event.type.startswith("tool.") or event.payload.get("kind") == "funds"
        ]
        assert tools == ["tool.call", "tool.progress", "object", "tool.result"]
        call = await alice.until("tool.call", turn_id=turn_id)
        assert (call.payload["tool"], call.payload["args"]) == ("funds", {"below": 0.2})
        assert (await alice.until("session.titled")).payload["title"] == "Cheap funds"

        plan = (await alice.ask("projection", name="plan"))["result"]
        assert [(step["state"], step.get("group")) for step in plan["steps"]] == [
            ("done", 1),
            ("done", 1),
            ("done", None),
        ]
        told = instructions(w.api.exchanges[-1])
        assert "NGWE costs 0.1 %." in told
        assert "All is quiet." in told


async def test_a_trace_tells_a_client_where_the_time_went(tmp_path: Path):
    async with world(by_role(answers()), app=app(), store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        turn_id = await alice.converse("Which funds are cheap?")
        trace = (await alice.until("turn.trace", turn_id=turn_id)).payload
    top = [span for span in trace["spans"] if "parent" not in span]
    assert [span["name"] for span in top] == ["input", "plan", "stages", "close"]
    assert abs(sum(span["ms"] for span in top) - trace["total_ms"]) < 1
    children = {(span.get("parent"), span["name"]) for span in trace["spans"]}
    assert ("stages", "stage:step_1") in children
    assert ("stage:step_1", "tool:toolu_1") in children
    assert ("stage:step_3", "model.stream") in children


async def test_a_tripped_guardrail_refuses_the_turn_and_nothing_expensive_has_started():
    playing = answers(judge=saying("STOP: Ask your adviser."), planner=Stream((Hang(),)))
    async with world(by_role(playing), app=app()) as w:
        alice = await w.attach()
        turn_id = await alice.converse("Shall I buy NGWE?")
        end = await alice.until("response.end", turn_id=turn_id)
        assert end.payload == {"status": "refused", "text": ""}
        tripped = await alice.until("guardrail.tripped", turn_id=turn_id)
        assert tripped.payload == {"name": "advice", "reason": "Ask your adviser."}
        fault = await alice.until("error", turn_id=turn_id)
        assert (fault.payload["code"], fault.payload["layer"]) == ("guardrail", "orchestrator")
        assert set(asked(w)) <= {PLANNER, TITLER, JUDGE}
        for exchange in w.api.exchanges:
            await exchange.over.wait()  # also the planner's, which would have gone on for ever


async def test_an_interrupt_stops_stages_that_run_at_the_same_time_and_their_tools():
    playing = answers(
        researcher=Stream((Say("I look "), Hang())), analyst=calling("toolu_2", "market")
    )
    async with world(by_role(playing), app=app()) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Which funds are cheap?"))["result"]["turn_id"]
        await alice.until("tool.call", turn_id=turn_id)
        await alice.until("model.start", turn_id=turn_id, agent="researcher")
        await alice.ask("interrupt")
        ack = await alice.until("cancel.ack", turn_id=turn_id)
        assert ack.payload["stopped"] == ["model", "tool:toolu_2"]
        assert ladder_of(alice.of_turn(turn_id)) == [
            "cancel.requested",
            "cancel.stage transcript",
            "model.end",
            "cancel.stage model",
            "tool.result",
            "cancel.stage tool:toolu_2",
            "response.end",
            "turn.trace",
            "cancel.ack",
        ]
        plan = (await alice.ask("projection", name="plan"))["result"]
        assert [step["state"] for step in plan["steps"]] == ["cancelled", "cancelled", "skipped"]


async def test_a_client_steers_a_turn_and_the_next_stage_knows():
    slow = saying("All is ", "quiet.", interval_s=0.3)
    async with world(by_role(answers(analyst=slow)), app=app()) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Which funds are cheap?"))["result"]["turn_id"]
        await alice.until("stage.start", turn_id=turn_id, stage="step_2")
        reply = await alice.say("Only in euros", when_busy="steer")
        assert reply["result"]["outcome"] == "consumed"
        assert reply["result"]["turn_id"] == turn_id
        await alice.until("turn.trace", turn_id=turn_id)
        assert "Only in euros" in instructions(w.api.exchanges[-1])


async def test_a_plan_that_broke_off_goes_on_behind_what_is_done(tmp_path: Path):
    broken = [doing(Say("Take "), Stop("refusal")), saying("Take a look at NGWE.")]
    async with world(by_role(answers(writer=broken)), app=app(), store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        first = await alice.converse("Which funds are cheap?")
        fault = await alice.until("error", turn_id=first, layer="executor")
        recover = fault.payload["recover"]
        assert sorted(recover["done"]) == ["step_1", "step_2"]
        # The server goes down in between: what is done is on the timeline.
        await w.stop()
        await w.start()
        alice = await w.back(alice)
        second = await alice.converse("", resume=recover["resume_token"])
        assert alice.answer_of(second) == "Take a look at NGWE."
        ready = await alice.until("plan.ready", turn_id=second)
        assert [step["state"] for step in ready.payload["steps"]] == ["done", "done", "pending"]
        assert asked(w).count(RESEARCHER) == 2  # its two calls of the first turn
        assert asked(w).count(ANALYST) == 1
        assert asked(w).count(PLANNER) == 1


async def test_a_turn_that_needs_no_plan_has_none():
    playing = answers(planner=saying('{"steps": []}'))
    async with world(by_role(playing), app=app(Planning("auto"))) as w:
        alice = await w.attach()
        turn_id = await alice.converse("Hello")
        assert alice.answer_of(turn_id) == "Take a look at NGWE."
        assert (await alice.ask("projection", name="plan"))["result"]["steps"] == []
