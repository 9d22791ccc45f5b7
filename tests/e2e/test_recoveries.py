"""Each recovery, driven by a fault of the vendor or of a tool, as a client sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from bargein.actors.agent_run import GO_ON
from bargein.agents.app import Agent, App
from bargein.models.retry import RetryPolicy
from bargein.tools.tool import ToolFailed, tool
from tests.e2e.faults import MODEL, SMALLER, calling, faulty, payloads, status
from tests.e2e.harness import text_of, world
from tests.e2e.scripts import BRIEF, assert_ladder, outline
from tests.fakes.anthropic_answers import (
    Answer,
    Cut,
    Hang,
    Refusal,
    Say,
    Stop,
    doing,
    refusing,
    saying,
)
from tests.fakes.anthropic_api import Exchange, Script

TOO_LONG = Refusal(400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000")
ALONE = App("alone", (Agent("alone"),))


# --- trouble of the model --------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "after_ms", "cause"),
    [
        (refusing(429, "rate_limit_error", retry_after="0.2"), 200, "model_overloaded"),
        (refusing(429, "rate_limit_error", retry_after="3600"), 500, "model_overloaded"),
        (refusing(529, "overloaded_error"), None, "model_overloaded"),
        (doing(Cut()), None, "model_error"),
    ],
    ids=["429", "429 that asks for an hour", "529", "cut before the first word"],
)
async def test_a_call_that_failed_before_its_first_word_is_made_again(
    trouble: Answer, after_ms: float | None, cause: str
) -> None:
    async with faulty([trouble, BRIEF], ALONE) as (w, _):
        client = await w.attach()
        turn = await client.converse("Hello")
        (retry,) = payloads(client, turn, "model.retry")
        assert (retry["attempt"], retry["cause"]) == (2, cause)
        if after_ms is None:
            assert 25 <= retry["after_ms"] <= 50
        else:
            assert retry["after_ms"] == after_ms
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")
        assert outline(client.of_turn(turn))[4:7] == ["model.start", "model.retry", "model.token"]


async def test_an_interrupt_in_the_back_off_gives_the_same_ladder() -> None:
    patient = RetryPolicy(most_s=60.0)
    trouble = refusing(429, "rate_limit_error", retry_after="50")
    async with faulty([trouble, BRIEF], ALONE, policy=patient) as (w, api):
        client = await w.attach()
        turn = (await client.say("Hello"))["result"]["turn_id"]
        await client.until("model.retry", turn_id=turn)
        reply = await client.ask("interrupt")
        assert reply["result"]["interrupted"] is True
        assert_ladder(client.of_turn(turn))
        assert len(api.exchanges) == 1


async def test_where_a_model_fails_the_next_in_the_list_takes_over() -> None:
    def script(exchange: Exchange) -> Answer:
        broken = exchange.body["model"] == MODEL
        return refusing(529, "overloaded_error") if broken else BRIEF

    app = App("pair", (Agent("pair", fallbacks=(SMALLER,)),))
    async with faulty(script, app) as (w, api):
        client = await w.attach()
        turn = await client.converse("Hello")
        assert payloads(client, turn, "model.fallback") == [{"from": MODEL, "to": SMALLER}]
        kind = {"kind": "model_overloaded", "attempt": 1}
        assert payloads(client, turn, "recovery.start") == [kind]
        assert payloads(client, turn, "recovery.end") == [{**kind, "outcome": "tried again"}]
        assert [start["model"] for start in payloads(client, turn, "model.start")] == [
            MODEL,
            SMALLER,
        ]
        assert [body["model"] for body in api.bodies] == [MODEL, MODEL, MODEL, SMALLER]
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")


async def test_a_model_that_stays_silent_is_given_up_and_the_next_one_asked() -> None:
    app = App("pair", (Agent("pair", fallbacks=(SMALLER,)),))
    async with faulty([doing(Hang()), BRIEF], app) as (w, _):
        client = await w.attach()
        turn = await client.converse("Hello")
        (start,) = payloads(client, turn, "recovery.start")
        assert start["kind"] == "model_timeout"
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")


@pytest.mark.parametrize("how", ["drop", "summarise"])
async def test_a_conversation_that_is_too_long_is_shortened_by_policy(how: Any) -> None:
    def script(exchange: Exchange) -> Answer:
        if text_of(exchange.body["messages"][-1]).startswith("Summarise the conversation"):
            return saying("They counted to three.")
        return TOO_LONG if len(exchange.body["messages"]) > 6 else BRIEF

    app = App("long", (Agent("long", overflow=how),))
    async with faulty(script, app) as (w, api):
        client = await w.attach()
        for words in ("one", "two", "three"):
            await client.converse(words)
        turn = await client.converse("four")
        (told,) = payloads(client, turn, "status")
        assert "too long" in told["text"] or "is long" in told["text"]
        assert ("summarised" in told["text"]) == (how == "summarise")
        (start,) = payloads(client, turn, "recovery.start")
        assert start == {"kind": "context_overflow", "attempt": 1}
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")
        texts = [text_of(message) for message in api.bodies[-1]["messages"]]
        assert texts[-1] == "four"
        assert "one" not in texts
        assert ("They counted to three." in texts) == (how == "summarise")
        roles = [message["role"] for message in api.bodies[-1]["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


async def test_a_model_that_declines_ends_the_turn_as_refused() -> None:
    async with world([doing(Say("I'd rather not"), Stop("refusal")), BRIEF]) as w:
        client = await w.attach()
        turn = await client.converse("Do something bad")
        (fault,) = payloads(client, turn, "error")
        assert (fault["code"], fault["retryable"]) == ("model_refused", False)
        assert "resume_token" not in fault["recover"]
        assert status(client, turn) == "refused"
        after = await client.converse("Then something good")
        assert status(client, after) == "completed"


async def test_a_model_that_pauses_its_turn_is_asked_to_go_on() -> None:
    answers = [doing(Say("Let me "), Stop("pause_turn")), saying("go on.")]
    async with world(answers) as w:
        client = await w.attach()
        turn = await client.converse("Take your time")
        assert status(client, turn) == "completed"
        ends = [end["stop_reason"] for end in payloads(client, turn, "model.end")]
        assert ends == ["pause_turn", "end_turn"]
        said = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert said == ["Take your time", "Let me "]


# --- tools -------------------------------------------------------------------------------


async def test_a_tool_that_fails_or_is_late_is_told_to_the_model_which_goes_on() -> None:
    @tool(effect="read")
    async def weigh(item: str) -> str:
        """Weigh an item."""
        raise ToolFailed(f"There is no {item} here.")

    @tool(effect="read", timeout_s=0.05)
    async def ponder() -> str:
        """Think for ever."""
        await trio.sleep_forever()
        raise AssertionError

    app = App("tools", (Agent("tools", tools=(weigh, ponder)),))
    answers = [calling(("t1", "weigh", {"item": "anvil"}), ("t2", "ponder", {})), BRIEF]
    async with faulty(answers, app) as (w, api):
        client = await w.attach()
        turn = await client.converse("Weigh the anvil")
        results = {r["call_id"]: r["status"] for r in payloads(client, turn, "tool.result")}
        assert results == {"t1": "error", "t2": "timeout"}
        faults = {fault["code"]: fault for fault in payloads(client, turn, "error")}
        assert set(faults) == {"tool_error", "tool_timeout"}
        assert {fault["layer"] for fault in faults.values()} == {"pipeline"}
        told = {part["tool_use_id"]: part for part in api.bodies[-1]["messages"][-1]["content"]}
        assert all(part["is_error"] for part in told.values())
        assert told["t1"]["content"] == "There is no anvil here."
        assert "0.05 s" in told["t2"]["content"]
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "Very well.")


SIXTY = [f"item{number}" for number in range(60)]


def fetching(at_once: int) -> Script:
    """Return a script that calls `fetch` for what the conversation does not hold yet."""

    def script(exchange: Exchange) -> Answer:
        known = set(outcomes_in(exchange.body))
        missing = [item for item in SIXTY if item not in known]
        if not missing:
            return saying("All ", "sixty.")
        asked = len(exchange.body["messages"])
        return calling(*((f"{i}.{asked}", "fetch", {"item": i}) for i in missing[:at_once]))

    return script


def outcomes_in(body: dict[str, Any]) -> list[str]:
    blocks = [
        block
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    return [
        block["content"].removeprefix("got ")
        for block in blocks
        if block["type"] == "tool_result" and not block.get("is_error")
    ]


@pytest.mark.parametrize("at_once", [1, 7])
async def test_an_app_that_needs_60_calls_with_a_limit_of_25_loses_nothing(at_once: int) -> None:
    ran: list[str] = []

    @tool(effect="read")
    async def fetch(item: str) -> str:
        """Fetch an item."""
        ran.append(item)
        return f"got {item}"

    app = App("fetcher", (Agent("fetcher", tools=(fetch,), tool_limit=25),))
    async with faulty(fetching(at_once), app) as (w, api):
        client = await w.attach()
        turn = await client.converse("Fetch everything")
        assert (status(client, turn), client.answer_of(turn)) == ("completed", "All sixty.")
        assert sorted(ran) == sorted(SIXTY)
        assert sorted(outcomes_in(api.bodies[-1])) == sorted(SIXTY)
        calls = [call["call_id"] for call in payloads(client, turn, "tool.call")]
        results = payloads(client, turn, "tool.result")
        assert sorted(result["call_id"] for result in results) == sorted(calls)
        assert {result["status"] for result in results} == {"ok"}
        kinds = [(r["kind"], r["attempt"]) for r in payloads(client, turn, "recovery.start")]
        assert kinds == [("tool_limit", 1), ("tool_limit", 2)]
        told = json.dumps(api.bodies[-1]["messages"])
        assert told.count(json.dumps(GO_ON)[1:-1]) == 2


async def test_an_app_that_never_has_enough_calls_fails_and_can_be_resumed() -> None:
    @tool(effect="read")
    async def again() -> str:
        """Do it again."""
        return "again"

    def script(exchange: Exchange) -> Answer:
        asked = len(exchange.body["messages"])
        return calling((f"a{asked}", "again", {}))

    app = App("endless", (Agent("endless", tools=(again,), tool_limit=2),))
    async with faulty(script, app) as (w, _):
        client = await w.attach()
        turn = await client.converse("For ever")
        (fault,) = payloads(client, turn, "error")
        assert (fault["code"], fault["retryable"]) == ("tool_limit", True)
        assert fault["recover"]["resume_token"]
        assert status(client, turn) == "failed"
        assert len(payloads(client, turn, "tool.call")) == 8
