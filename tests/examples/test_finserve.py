"""The mini-case of the bank's assistant, against a real server, as a person would see it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bargein.agents.loading import load_app
from bargein.models.screenplay import screenplay_at
from tests.e2e.client import Client, Frame
from tests.e2e.evidence import check_timeline
from tests.e2e.harness import world
from tests.e2e.process import ServerProcess, server_process
from tests.examples.vendor import acting
from tests.project.tree import ROOT

APP = ROOT / "examples" / "finserve.py"
DATA = ROOT / "examples" / "finserve"

FIRST = "Can you list the top-performing ETFs in my portfolio?"
SECOND = "Actually, just show me the ones with expense ratios below 0.2%."

HELD = "SELECT ticker, name, kind, expense_ratio_bp FROM positions JOIN instruments USING (ticker)"


def held(condition: str) -> set[str]:
    """Return the names of what the client holds, from the data itself."""
    connection = sqlite3.connect(":memory:")
    connection.executescript((DATA / "bank.sql").read_text(encoding="utf-8"))
    rows = connection.execute(f"{HELD} WHERE login = 'anonymous' AND {condition}").fetchall()
    connection.close()
    return {name for _, name, *_ in rows}


CHEAP = held("kind = 'etf' AND expense_ratio_bp < 20")
ALL = held("1")


def named_in(answer: str) -> set[str]:
    return {name for name in ALL if name in answer}


@asynccontextmanager
async def bank(directory: Path, **settings: str) -> AsyncGenerator[tuple[ServerProcess, Client]]:
    """Serve the example as its first lines say, and attach a client."""
    chosen: dict[str, Any] = {"BARGEIN_APP": f"{APP}:app", "BARGEIN_SCREENPLAY": "", **settings}
    async with server_process(directory, **chosen) as server:
        client = await server.attach()
        yield server, client
        whole = await server.whole(client.session_id)
        check_timeline(whole)


def of_type(frames: list[Frame], type_: str) -> list[Frame]:
    return [frame for frame in frames if frame.type == type_]


def ticks(frames: list[Frame], step: str) -> list[str]:
    """Return the states that a step went through, in order."""
    ready = of_type(frames, "plan.ready")[0].payload["steps"]
    first = [item["state"] for item in ready if item["id"] == step]
    later = [tick.payload["state"] for tick in of_type(frames, "plan.step") if tick.has(id=step)]
    return first + later


async def cut_in(client: Client) -> tuple[str, str]:
    """Ask, cut in after two seconds' worth of the custodian's work; return both turns."""
    first = (await client.say(FIRST))["result"]["turn_id"]
    await client.until(
        lambda frame: frame.type == "tool.progress" and frame.payload["fraction"] > 0.5,
        turn_id=first,
    )
    second = (await client.say(SECOND))["result"]
    assert second["interrupted"] == first
    await client.until("turn.trace", turn_id=second["turn_id"])
    return first, second["turn_id"]


def check_mini_case(client: Client, first: str, second: str) -> None:
    asked, answered = client.of_turn(first), client.of_turn(second)
    plan = of_type(asked, "plan.ready")[0].payload["steps"]
    assert [step["agent"] for step in plan] == [
        "supervisor", "caller", "researcher", "analyst", "writer",
    ]  # fmt: skip
    assert ticks(asked, "step_1") == ["pending", "active", "done"]
    assert ticks(asked, "step_2") == ["pending", "active"]
    assert client.answer_of(first).startswith("Sure, let me fetch your portfolio")

    calls = {
        frame.payload["call_id"]: frame.payload["tool"] for frame in of_type(asked, "tool.call")
    }
    results = [(r.payload["call_id"], r.payload["status"]) for r in of_type(asked, "tool.result")]
    assert sorted(call_id for call_id, _ in results) == sorted(calls)
    assert {calls[call_id]: status for call_id, status in results} == {
        "performance": "cancelled",
        "knowledge": "ok",
    }
    requested = next(f for f in asked if f.type == "cancel.requested")
    (running,) = requested.payload["in_flight"]["tools"]
    assert calls[running] == "performance"
    (ack,) = of_type(asked, "cancel.ack")
    assert f"tool:{running}" in ack.payload["stopped"]
    assert of_type(asked, "response.end")[0].payload["status"] == "cancelled"

    steps = [step["id"] for step in of_type(answered, "plan.ready")[0].payload["steps"]]
    for step in steps:
        assert ticks(answered, step) == ["pending", "active", "done"]
    assert of_type(answered, "response.end")[0].payload["status"] == "completed"
    assert named_in(client.answer_of(second)) == CHEAP


def test_the_data_has_funds_on_both_sides_of_the_question() -> None:
    assert len(CHEAP) == 4
    assert held("kind = 'fund' AND expense_ratio_bp < 20")
    assert held("kind = 'etf' AND expense_ratio_bp = 20")


async def test_an_interrupt_narrows_the_question_down_and_the_right_funds_come(
    tmp_path: Path,
) -> None:
    async with bank(tmp_path) as (_, client):
        first, second = await cut_in(client)
        check_mini_case(client, first, second)

        plan = (await client.ask("projection", name="plan"))["result"]
        assert plan["turn_id"] == second
        assert {step["state"] for step in plan["steps"]} == {"done"}
        said = (await client.ask("projection", name="transcript"))["result"]
        assert [(t["user"], t["status"]) for t in said["turns"]] == [
            (FIRST, "cancelled"),
            (SECOND, "completed"),
        ]
        assert said["title"] == "How the portfolio performs"


async def test_the_screenplay_may_be_named_and_is_then_the_one_that_is_played(
    tmp_path: Path,
) -> None:
    async with bank(tmp_path, BARGEIN_SCREENPLAY=str(DATA / "screenplay.toml")) as (_, client):
        turn = await client.converse(SECOND)
        assert named_in(client.answer_of(turn)) == CHEAP


async def test_who_waits_gets_the_best_etfs_ranked_by_the_tool(tmp_path: Path) -> None:
    async with bank(tmp_path) as (_, client):
        turn = await client.converse(FIRST)
        answer = client.answer_of(turn)
        best = held(
            "ticker IN (SELECT ticker FROM positions JOIN instruments USING (ticker) WHERE login = "
            "'anonymous' AND kind = 'etf' ORDER BY return_1y_bp DESC LIMIT 5)"
        )
        assert named_in(answer) == best
        citations = [e for e in of_type(client.of_turn(turn), "object") if e.has(kind="citations")]
        assert citations[0].payload["data"][0]["source"] == "performance.md"


async def test_a_question_on_the_clients_taxes_is_refused_before_anything_expensive(
    tmp_path: Path,
) -> None:
    async with bank(tmp_path) as (_, client):
        turn = await client.converse("How do I pay less tax on my ETFs?")
        events = client.of_turn(turn)
        assert of_type(events, "response.end")[0].payload["status"] == "refused"
        (tripped,) = of_type(events, "guardrail.tripped")
        assert "tax" in tripped.payload["reason"]
        assert not {"stage.start", "tool.call", "model.token"} & {e.type for e in events}


async def test_other_limits_funds_and_questions_are_looked_up_too(tmp_path: Path) -> None:
    async with bank(tmp_path) as (_, client):
        said: dict[str, str] = {}
        for words in (
            "Which ones are under 0.1 %?",
            "Tell me more about NGWE",
            "Who am I?",
            "What is an expense ratio?",
            "Hello!",
        ):
            turn = await client.converse(words)
            said[words] = client.answer_of(turn)
        below, fund, client_known, term, hello = said.values()
        assert named_in(below) == held("kind = 'etf' AND expense_ratio_bp < 10")
        assert "Northgate World Equity ETF" in fund
        assert "0.12 %" in fund
        assert "Rosalind Achterberg" in client_known
        assert "expense-ratios.md" in term
        assert "portfolio" in hello
        plan = (await client.ask("projection", name="plan"))["result"]
        assert plan["steps"] == []


async def test_a_given_database_is_built_once_and_then_read(tmp_path: Path) -> None:
    database = tmp_path / "bank.sqlite3"
    async with bank(tmp_path, FINSERVE_DATABASE=str(database)) as (server, client):
        await client.converse(SECOND)
        connection = sqlite3.connect(database)
        connection.execute("UPDATE instruments SET expense_ratio_bp = 20 WHERE ticker = 'LFUS'")
        connection.commit()
        connection.close()
        server.terminate()
        await server.exit_code()
        await server.start()
        back = await server.back(client)
        turn = await back.converse("And now those below 0.2%?")
        assert named_in(back.answer_of(turn)) == CHEAP - {"Larkfield US 500 ETF"}


async def test_the_mini_case_works_with_anthropics_sdk() -> None:
    app = load_app(f"{APP}:app")
    async with world(acting(screenplay_at(DATA / "screenplay.toml")), app=app) as w:
        client = await w.attach()
        first, second = await cut_in(client)
        check_mini_case(client, first, second)
        asked = w.exchange_about(SECOND)
        assert asked is not None
        history = asked.body["messages"]
        assert history[0]["content"] == FIRST
        assert history[1]["content"].startswith("Sure, let me fetch")
        assert history[1]["content"].endswith("[interrupted by the user]")
