"""Provocations by tools, and by a session that crashes."""

from __future__ import annotations

import threading
from typing import Any, Final
from unittest.mock import patch

from bargein.actors.input import Input
from bargein.tools.tool import Tool, tool
from tests.e2e.apps.till import ask, kinds, propose, until
from tests.e2e.faults import calling, payloads, status
from tests.faults import canaries
from tests.faults.ground import Ground, Seen, Stage, clients_strike, failing, replying
from tests.faults.modelling import then_brief
from tests.faults.trials import provocation


class Bug(Exception):
    """A mistake in somebody's code, which says too much."""

    def __init__(self) -> None:
        super().__init__(f"{canaries.EXCEPTION} in {canaries.PATH}")


@tool(effect="read")
async def stumble() -> str:
    """Raise something."""
    raise Bug


@tool(effect="read")
async def stumble_often() -> str:
    """Raise several things at once."""
    raise ExceptionGroup("several", [Bug(), ExceptionGroup("inner", [Bug()])])


def endlessly(depth: int) -> int:
    return endlessly(depth + 1)


@tool(effect="read")
async def descend() -> int:
    """Go on until there is no stack left."""
    return endlessly(0)


FREED: Final = threading.Event()
"""Set when a test is over: until then the tools below sit in their threads."""


@tool(effect="read", timeout_s=0.05)
def hang() -> str:
    """Hang in a thread."""
    FREED.wait(30)
    return "too late"


@tool(effect="read")
def ignore() -> str:
    """Hear no cancellation."""
    FREED.wait(30)
    return "a ghost"


@tool(effect="read")
async def answer_bytes() -> Any:
    """Answer what is no JSON."""
    return {"bytes": b"\xff"}


@tool(effect="read")
async def answer_itself() -> Any:
    """Answer a list that holds itself."""
    itself: list[Any] = []
    itself.append(itself)
    return itself


@tool(effect="read")
async def answer_much() -> str:
    """Answer a megabyte."""
    return "x" * 1024 * 1024


def calls(*tools: Tool) -> Stage:
    """Return a stage on which `Trouble` calls *tools* and `count`, and the model goes on."""
    names = [made.name for made in tools]
    asked: list[tuple[str, str, Any]] = [
        (f"t{place}", name, {}) for place, name in enumerate([*names, "count"])
    ]
    return Stage(script=then_brief(calling(*asked)), tools=tools)


async def troubled_turn(here: Ground, *, ends: str) -> Seen:
    """Run a turn in which the first tool ends as *ends* says; the other one and the turn go on."""
    ann = await here.attach()
    turn_id = await ann.converse("Trouble")
    results = {r["call_id"]: r["status"] for r in payloads(ann, turn_id, "tool.result")}
    assert results == {"t0": ends, "t1": "ok"}
    assert (status(ann, turn_id), ann.answer_of(turn_id)) == ("completed", "Very well.")
    return failing(ann, turn_id)


@provocation("a tool that raises", calls(stumble))
async def tool_that_raises(here: Ground, _: None) -> Seen:
    seen = await troubled_turn(here, ends="error")
    lines = [line for line in here.world.logs if line["event"] == "tool.raised"]
    assert [line["error"] for line in lines] == ["Bug"]
    assert canaries.EXCEPTION in lines[0]["pii.message"]
    return seen


@provocation("a tool that raises a group", calls(stumble_often))
async def tool_that_raises_a_group(here: Ground, _: None) -> Seen:
    return await troubled_turn(here, ends="error")


@provocation("a tool that has no end", calls(descend))
async def tool_that_has_no_end(here: Ground, _: None) -> Seen:
    seen = await troubled_turn(here, ends="error")
    lines = [line for line in here.world.logs if line["event"] == "tool.raised"]
    assert [line["error"] for line in lines] == ["RecursionError"]
    return seen


@provocation("a tool that hangs", calls(hang))
async def tool_that_hangs(here: Ground, _: None) -> Seen:
    FREED.clear()
    here.open.callback(FREED.set)
    seen = await troubled_turn(here, ends="timeout")
    assert [line["tool"] for line in here.world.logs if line["event"] == "tool.thread_abandoned"]
    return seen


@provocation("a stubborn tool", calls(ignore))
async def stubborn_tool(here: Ground, _: None) -> Seen:
    FREED.clear()
    here.open.callback(FREED.set)
    ann = await here.attach()
    turn_id = (await ann.say("Trouble"))["result"]["turn_id"]
    await ann.until("tool.result", turn_id=turn_id, call_id="t1")
    answer = await ann.ask("interrupt")
    stage = await ann.until("cancel.stage", turn_id=turn_id, target="tool:t0")
    assert stage.payload["outcome"] == "abandoned"
    ack = await ann.until("cancel.ack", turn_id=turn_id)
    assert ack.payload["abandoned"] == ["tool:t0"]
    assert ack.payload["took_ms"] < 1000
    results = {r["call_id"]: r["status"] for r in payloads(ann, turn_id, "tool.result")}
    assert results == {"t0": "cancelled", "t1": "ok"}
    FREED.set()
    await ann.converse("And now?")
    assert not any("ghost" in frame.text for frame in ann.frames)
    return replying(ann, answer)


@provocation("bytes as a result", calls(answer_bytes))
async def bytes_as_a_result(here: Ground, _: None) -> Seen:
    return await troubled_turn(here, ends="error")


@provocation("a result that holds itself", calls(answer_itself))
async def result_that_holds_itself(here: Ground, _: None) -> Seen:
    return await troubled_turn(here, ends="error")


@provocation("a huge result", calls(answer_much))
async def huge_result(here: Ground, _: None) -> Seen:
    seen = await troubled_turn(here, ends="ok")
    (ann,) = here.world.clients
    result = await ann.until("tool.result", call_id="t0")
    assert len(result.text) < 300 * 1024
    assert result.payload["result"]["cut"] is True
    return seen


@provocation("a lost answer")
async def lost_answer(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "pay", to="lost")
    await ask(ann, "confirm", proposed)
    await until(ann, "committed", proposed)
    path = ["proposed", "confirmed", "committing", "in_doubt", "committed"]
    assert kinds(ann, "act_1") == path
    assert (here.till.entered, len(here.till.paid)) == (1, 1)
    return replying(ann)


@provocation("a session that crashes", Stage(forgiven=("session.crashed",)))
async def session_that_crashes(here: Ground, _: None) -> Seen:
    ann, bob = await here.attach(), await here.attach()

    def broken(*_: Any) -> None:
        raise Bug

    with patch.object(Input, "_configure", broken):
        await ann.send("configure", voice=False)
        code = await ann.until_closed()
    assert code is not None
    error = await ann.until("error")
    away = await ann.until("go_away")
    assert error.place < away.place
    assert away["reason"] == error["error"]["code"]
    assert not bob.closed.is_set()
    await bob.converse("Hello")
    return Seen(
        frozenset({error["error"]["code"]}),
        frozenset({code}),
        session_id=ann.session_id,
        striking=clients_strike(bob),
    )
