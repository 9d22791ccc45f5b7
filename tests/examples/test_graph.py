from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bargein.server import BAD_CONFIGURATION, main
from tests.project.tree import ROOT

APP = f"{ROOT / 'examples' / 'finserve.py'}:app"


def graph(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["graph", *arguments], input=stdin)


def plan(*steps: tuple[str, str, int | None]) -> str:
    drafted: list[dict[str, Any]] = [
        {"title": title, "agent": agent, "group": group} for title, agent, group in steps
    ]
    return json.dumps({"steps": drafted})


def test_a_plan_is_drawn_as_the_app_builds_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(
        plan(
            ("Announce", "supervisor", 1), ("Look up", "caller", 1), ('Say "it"', "writer", None)
        ),
        encoding="utf-8",
    )  # fmt: skip
    drawn = graph(APP, "--plan", str(path))
    assert drawn.exit_code == 0
    assert drawn.stdout.splitlines() == [
        "flowchart LR",
        "    start((turn))",
        '    step_1["Announce<br/><i>supervisor</i>"]',
        "    start --> step_1",
        '    step_2["Look up<br/><i>caller</i>"]',
        "    start --> step_2",
        "    step_3[\"Say 'it'<br/><i>writer</i>\"]",
        "    step_1 --> step_3",
        "    step_2 --> step_3",
        "    done((answer))",
        "    step_3 --> done",
    ]


def test_without_a_plan_each_agent_has_a_step() -> None:
    drawn = graph(APP)
    assert drawn.exit_code == 0
    for agent in ("supervisor", "caller", "researcher", "analyst", "writer"):
        assert f"<i>{agent}</i>" in drawn.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is not JSON"),
        ("[]", "reply with"),
        ('{"steps": []}', "it has no steps"),
        (plan(("Do it", "nobody", None)), "step 1 needs an agent"),
    ],
)
def test_a_plan_that_no_planner_could_get_through_is_told_in_one_line(
    text: str, reason: str
) -> None:
    drawn = graph(APP, "--plan", "-", stdin=text)
    assert drawn.exit_code == BAD_CONFIGURATION
    assert reason in drawn.stderr
    assert len(drawn.stderr.splitlines()) == 1
    assert drawn.stdout == ""


def test_an_app_that_is_not_there_is_told_in_one_line() -> None:
    drawn = graph("nowhere.py:app")
    assert drawn.exit_code == BAD_CONFIGURATION
    assert "there is no such file" in drawn.stderr
