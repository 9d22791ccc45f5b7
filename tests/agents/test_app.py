from __future__ import annotations

from pathlib import Path

import pytest

from bargein.agents.app import Agent, App, AppInvalid, Apps
from bargein.agents.assistant import ASSISTANT
from bargein.agents.planning import Planning
from bargein.tools.tool import tool


@tool
async def look(what: str) -> str:
    """Look at something."""
    return what


def test_the_first_agent_serves_a_new_session() -> None:
    app = App("team", (Agent("a"), Agent("b")))
    assert app.default is app.agents[0]
    assert app.agent("b") is app.agents[1]
    assert app.agent("c") is None


def test_an_app_plans_only_where_it_says_so() -> None:
    agents = (Agent("a"),)
    assert not App("team", agents).plans
    assert App("team", agents, planning=Planning("auto")).plans
    assert App("team", agents, planning=Planning("always")).plans


def test_an_app_without_agents_is_refused() -> None:
    with pytest.raises(AppInvalid) as raised:
        App("empty", ())
    assert (raised.value.app, raised.value.reason) == ("empty", "it has no agent")
    assert str(raised.value) == "'empty': it has no agent"


def test_two_agents_of_one_name_are_refused() -> None:
    with pytest.raises(AppInvalid, match="two agents have one name: a, b, a"):
        App("team", (Agent("a"), Agent("b"), Agent("a")))


def test_two_tools_of_one_name_are_refused() -> None:
    assert Agent("a", tools=(look,)).tools == (look,)
    with pytest.raises(AppInvalid, match="'a': two tools have one name: look, look"):
        Agent("a", tools=(look, look))


def test_another_app_may_take_over() -> None:
    apps = Apps(ASSISTANT)
    assert apps.current.default.name == "assistant"
    apps.current = other = App("other", (Agent("a"),))
    assert apps.current is other


def test_a_page_needs_a_file_to_begin_with(tmp_path: Path):
    agents = (Agent("a"),)
    with pytest.raises(AppInvalid, match=r"there is no page index\.html"):
        App("bare", agents, page=tmp_path)
    (tmp_path / "index.html").write_text("<p>Hello")
    assert App("shown", agents, page=tmp_path).page == tmp_path
