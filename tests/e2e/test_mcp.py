"""Tools of an MCP server in an app that is served: called, cancelled, and named at the start."""

from __future__ import annotations

import sys
from functools import partial

import trio

from bargein.agents.app import Agent, App
from bargein.agents.sources import opened
from bargein.tools.mcp import StdioServer, mcp_tools
from tests.e2e.harness import world
from tests.e2e.scripts import ladder_of
from tests.fakes.anthropic_answers import Call, Stop, doing, saying
from tests.project.tree import ROOT

PROGRAM = str(ROOT / "tests" / "tools" / "mcp_server.py")
SERVER = StdioServer(sys.executable, (PROGRAM, "stdio", "-"))
APP = App("mcp", (Agent("caller", "You call.", sources=(partial(mcp_tools, SERVER),)),))


async def test_a_source_adds_its_tools_to_the_agent():
    with trio.fail_after(30):
        async with opened(APP) as ready:
            (agent,) = ready.agents
            assert {"echo", "put", "hang"} <= {tool.name for tool in agent.tools}
            assert agent.sources == ()


async def test_an_interrupt_in_an_mcp_tool_is_a_ladder_like_any_other():
    script = [
        doing(Call("toolu_1", "hang", ("{}",)), Stop("tool_use")),
        saying("Right, something else."),
    ]
    with trio.fail_after(60):
        async with opened(APP) as ready, world(script, app=ready) as w:
            client = await w.attach()
            await client.say("Hang, please.")
            await client.until("tool.call")
            reply = await client.ask("interrupt")
            assert reply["result"]["interrupted"]
            turn = reply["result"]["turn_id"]
            events = client.of_turn(turn)
            results = [event for event in events if event.type == "tool.result"]
            assert [result.payload["status"] for result in results] == ["cancelled"]
            (call,) = (event for event in events if event.type == "tool.call")
            target = f"tool:{call.payload['call_id']}"
            assert ladder_of(events)[-4:] == [
                f"cancel.stage {target}",
                "response.end",
                "turn.trace",
                "cancel.ack",
            ]
            assert events[-1].payload["stopped"] == [target]
