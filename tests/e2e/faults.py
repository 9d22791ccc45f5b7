"""A vendor that fails at random, and a team that asks it often."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from attrs import define, evolve, field

from bargein.agents.app import Agent, App
from bargein.agents.guardrail import Rule
from bargein.agents.planning import Planning, Titling
from bargein.models.anthropic import AnthropicModel, Deadlines
from bargein.models.retry import Retrying, RetryPolicy
from bargein.tools.tool import tool
from tests.e2e.client import Client
from tests.e2e.harness import KEY, World, world
from tests.fakes.anthropic_answers import (
    Answer,
    Call,
    Cut,
    Fail,
    Hang,
    Leave,
    Say,
    Step,
    Stop,
    Stream,
    Wait,
    doing,
    refusing,
    saying,
)
from tests.fakes.anthropic_api import Exchange, FakeAnthropic, Script, serving

SHORT = Deadlines(connect_s=5.0, first_token_s=2.0, gap_s=1.5, whole_s=30.0)
"""Small, so that a stall costs seconds; and far beyond what a healthy answer needs here."""

HASTY = RetryPolicy(tries=3, first_wait_s=0.05, most_s=0.5)

MODEL = "fake-large"
SMALLER = "fake-small"


@asynccontextmanager
async def faulty(
    script: Script | Sequence[Answer], app: App, *, policy: RetryPolicy = HASTY
) -> AsyncGenerator[tuple[World, FakeAnthropic]]:
    """Serve *app* with a model of its own: the real SDK, asking *script*, with little patience."""
    async with (
        serving(script) as api,
        AnthropicModel(KEY, MODEL, url=api.url, deadlines=SHORT) as model,
    ):
        await model.warm()
        served = evolve(app, client=Retrying(model, policy))
        async with world([saying("Nobody asks the server's own model.")], app=served) as w:
            yield w, api


# --- what is said and seen ---------------------------------------------------------


def payloads(client: Client, turn_id: str, type_: str) -> list[dict[str, Any]]:
    return [event.payload for event in client.of_turn(turn_id) if event.type == type_]


def status(client: Client, turn_id: str) -> str:
    (end,) = payloads(client, turn_id, "response.end")
    return end["status"]


def calling(*calls: tuple[str, str, Any]) -> Stream:
    steps: list[Step] = [Call(call_id, name, (json.dumps(args),)) for call_id, name, args in calls]
    return doing(*steps, Stop("tool_use"))


def system_of(exchange: Exchange) -> str:
    return "".join(part["text"] for part in exchange.body.get("system", ()))


# --- a team -------------------------------------------------------------------------


@tool(effect="read")
async def look_up(topic: str) -> str:
    """Look up a topic."""
    return f"{topic} is 42."


TEAM = App(
    "team",
    (
        Agent("desk", "You are the desk.", fallbacks=(SMALLER,)),
        Agent("finder", "You are the finder.", tools=(look_up,), fallbacks=(SMALLER,)),
        Agent("reader", "You are the reader.", fallbacks=(SMALLER,)),
        Agent("writer", "You are the writer.", fallbacks=(SMALLER,)),
    ),
    planning=Planning(policy="auto"),
    titling=Titling(),
    guardrails=(Rule("manners", "Requests are polite."),),
)

ALONE = App("alone", (Agent("alone", "You are alone.", fallbacks=(SMALLER,)),))

PLAN = json.dumps(
    {
        "steps": [
            {"title": "Find it", "agent": "finder", "group": 1},
            {"title": "Read on it", "agent": "reader", "group": 1},
            {"title": "Answer", "agent": "writer"},
        ]
    }
)


def healthy(exchange: Exchange) -> Stream:
    """Answer as the one who is asked would: told by the instructions."""
    system = system_of(exchange)
    last = exchange.body["messages"][-1]["content"]
    if system.startswith("You plan"):
        return saying(PLAN[:40], PLAN[40:])
    if system.startswith("Decide whether"):
        return saying("PASS")
    if system.startswith("Give this conversation"):
        return saying("A title")
    if system.startswith("You are the finder") and isinstance(last, str):
        return doing(
            Say("Looking."), Call(f"toolu_{id(exchange)}", "look_up", ('{"topic":', '"six"}')),
            Stop("tool_use"),
        )  # fmt: skip
    return saying(*(f"word{number} " for number in range(12)), interval_s=0.005)


# --- chance ---------------------------------------------------------------------------

SHARE = 0.10
"""Of all calls, this many fail."""

LATE_SHARE = 0.05
"""So many more stall, but not for longer than patience lasts."""


@define(eq=False)
class Misfortune:
    """Lets calls fail, whatever the schedule: chance depends on the seed and the call alone.

    Attributes:
        struck: How often what befell a call.
        calls: How many calls there were.
    """

    seed: int
    calls: int = field(default=0, init=False)
    struck: Counter[str] = field(factory=Counter[str], init=False)
    _seen: Counter[str] = field(factory=Counter[str], init=False)

    def __call__(self, exchange: Exchange) -> Answer:
        self.calls += 1
        asked = json.dumps([exchange.body.get("system"), exchange.body["messages"]])
        self._seen[asked] += 1
        chance = random.Random(f"{self.seed} {self._seen[asked]} {asked}")  # noqa: S311 - repeats
        drawn = chance.random()
        answer = healthy(exchange)
        if drawn < SHARE:
            name = chance.choice(sorted(FAULTS))
            self.struck[name] += 1
            return FAULTS[name](answer, chance)
        if drawn < SHARE + LATE_SHARE:
            self.struck["late"] += 1
            return _late(answer, chance)
        return answer


def _until(answer: Stream, chance: random.Random, *then: Step) -> Stream:
    """Return an answer that goes as far as one of its steps, and then goes wrong."""
    kept = answer.steps[: chance.randint(1, max(1, len(answer.steps) - 1))]
    return evolve(answer, steps=(*kept, *then))


def _late(answer: Stream, chance: random.Random) -> Stream:
    place = chance.randint(0, len(answer.steps))
    pause = Wait(chance.uniform(0.1, SHORT.gap_s / 3))
    return evolve(answer, steps=(*answer.steps[:place], pause, *answer.steps[place:]))


Fault: TypeAlias = Callable[[Stream, random.Random], Answer]


def _limited(_: Stream, chance: random.Random) -> Answer:
    after_s = chance.choice(("0", "0.1", "0.4", "30"))
    return refusing(429, "rate_limit_error", retry_after=after_s)


def _instead(answer: Answer) -> Fault:
    return lambda _, __: answer


def _in_mid_stream(then: Step) -> Fault:
    return lambda answer, chance: _until(answer, chance, then)


FAULTS: dict[str, Fault] = {
    "429": _limited,
    "529": _instead(refusing(529, "overloaded_error")),
    "overloaded in mid-stream": _in_mid_stream(Fail()),
    "cut before the first word": _instead(doing(Cut())),
    "cut in mid-stream": _in_mid_stream(Cut()),
    "ends in mid-stream": _in_mid_stream(Leave()),
    "stalls before the first word": _instead(doing(Hang())),
    "stalls in mid-stream": _in_mid_stream(Hang()),
}
