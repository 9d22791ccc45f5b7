"""The page on apps: what it shows can be served, and does what it says."""

from __future__ import annotations

from pathlib import Path

import trio

from bargein.agents.loading import load_app
from bargein.agents.planning import Plan, PlannedStep
from bargein.agents.stages import mermaid
from tests.docs import pages
from tests.docs.server_process import running
from tests.e2e.client import attached
from tests.project.tree import ROOT

ONE_AGENT, DOING, TEAM = pages.blocks(pages.read(ROOT / "docs" / "apps.md"), "python")
LIMIT_S = 60.0
PLAY = """
model = "scripted"
[[scenes]]
name = "told"
after_tool = true
steps = [{ say = "It says: {outcome}" }]
[[scenes]]
name = "asks"
steps = [{ call = "price", args = { symbol = "VTI" } }, { call = "price", args = { symbol = "X" } }]
"""


async def test_the_first_app_is_served_and_its_tool_is_called(tmp_path: Path):
    app, play = tmp_path / "my_app.py", tmp_path / "play.toml"
    app.write_text(ONE_AGENT)
    play.write_text(PLAY)
    with trio.fail_after(LIMIT_S):
        async with (
            running(f"{app}:app", "--screenplay", str(play)) as server,
            trio.open_nursery() as nursery,
        ):
            client = await attached(nursery, server.port)
            await client.say("What is VTI?")
            ended = await client.until("response.end")
            results = [f.payload for f in client.frames if f.type == "tool.result"]
            await client.leave()
    assert sorted(result["status"] for result in results) == ["error", "ok"]
    assert any(result["result"] == 312.4 for result in results)
    assert "There is no fund X." in ended.payload["text"]


BOOKS = """
model = "scripted"
[[scenes]]
name = "told"
after_tool = true
steps = [{ say = "{outcome}" }]
[[scenes]]
name = "asks"
steps = [{ call = "book_table", args = { guests = 2 } }]
"""


async def test_the_app_that_does_something_does_it_after_a_yes_and_undoes_it(tmp_path: Path):
    app, play = tmp_path / "my_app.py", tmp_path / "play.toml"
    app.write_text(DOING)
    play.write_text(BOOKS)
    with trio.fail_after(LIMIT_S):
        async with (
            running(f"{app}:app", "--screenplay", str(play)) as server,
            trio.open_nursery() as nursery,
        ):
            client = await attached(nursery, server.port)
            await client.converse("A table for two")
            proposed = await client.until("action.proposed")
            assert proposed.payload["summary"] == "Book a table for 2"
            assert client.find("action.committing") is None
            await client.ask("confirm", confirmation_id=proposed.payload["confirmation_id"])
            committed = await client.until("action.committed")
            assert committed.payload["result"] == 1
            await client.ask("revert", action_id=proposed.payload["action_id"])
            reverted = await client.until("action.reverted")
            await client.leave()
    assert reverted.payload["result"] == "table 1 is free again"


def test_the_team_is_an_app_and_its_pipeline_can_be_drawn(tmp_path: Path):
    path = tmp_path / "desk.py"
    path.write_text(TEAM)
    app = load_app(f"{path}:app")
    steps = (
        PlannedStep("step_1", "Find", "researcher", 1),
        PlannedStep("step_2", "Compare", "analyst", 1),
        PlannedStep("step_3", "Write", "writer"),
    )
    picture = mermaid(app.build(Plan(steps)))
    assert picture.count("--> step_3") == 2
    assert app.plans
