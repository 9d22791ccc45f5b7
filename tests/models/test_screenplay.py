from __future__ import annotations

from pathlib import Path

import pytest

from bargein.models.screenplay import (
    Call,
    Fail,
    Pause,
    Say,
    ScreenplayInvalid,
    Stop,
    default_screenplay,
    screenplay_at,
    screenplay_from,
)

WHOLE = """
model = "actor"
pace_ms = 10

[[scenes]]
name = "look up"
when = '(?i)^find'
interrupted = false
steps = [
  { say = "Looking.", per_second = 25 },
  { pause_ms = 100 },
  { call = "search", args = { q = "{user}", deep = [1, { x = true }] } },
]

[[scenes]]
name = "found"
after_tool = true
steps = [{ say = "{outcome}" }, { stop = "max_tokens" }]

[[scenes]]
name = "else"
steps = [{ error = "overloaded", retry_after_s = 2 }]
"""


def test_a_screenplay_is_what_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "play.toml"
    path.write_text(WHOLE, encoding="utf-8")
    play = screenplay_at(path)
    assert (play.model, play.pace_ms, play.first_token_ms) == ("actor", 10.0, 0.0)
    assert [scene.name for scene in play.scenes] == ["look up", "found", "else"]
    assert play.scenes[0].steps == (
        Say("Looking.", 25.0),
        Pause(100),
        Call("search", {"q": "{user}", "deep": [1, {"x": True}]}),
    )
    assert play.scenes[1].steps == (Say("{outcome}"), Stop("max_tokens"))
    assert play.scenes[2].steps == (Fail("overloaded", 2.0),)


ONE_OF_STEPS = "expected exactly one of say, pause_ms, call, error, stop, "
ONE_OF_ERRORS = (
    "expected one of overloaded, failed, unreachable, timeout, cut, unauthorized, refused, too_long"
)
SCENE = '[[scenes]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("pace_ms =", ("not TOML: Invalid value (at end of document)",)),
        ("", ("scenes: is missing",)),
        ("scenes = []", ("scenes: none",)),
        (SCENE + "steps = []", ("scene 'a': steps: none",)),
        (SCENE + "steps = [{say = 3}]", ("scene 'a': steps[0].say: expected str, found 3",)),
        (SCENE + 'steps = [{say = "x"}, 4]', ("scene 'a': steps[1]: expected a table, found 4",)),
        (
            SCENE + 'steps = [{sya = "x"}]',
            (f"scene 'a': steps[0]: {ONE_OF_STEPS}found ['sya']",),
        ),
        (
            SCENE + 'steps = [{say = "x", stop = "y"}]',
            (f"scene 'a': steps[0]: {ONE_OF_STEPS}found ['say', 'stop']",),
        ),
        (SCENE + 'steps = [{say = "x", pace = 3}]', ("scene 'a': steps[0]: unknown: pace",)),
        (
            SCENE + 'steps = [{say = "x", per_second = 0}]',
            ("scene 'a': steps[0]: per_second must be more than 0",),
        ),
        (
            SCENE + "steps = [{pause_ms = -1}]",
            ("scene 'a': steps[0]: 'pause_ms' must be >= 0: -1",),
        ),
        (
            SCENE + "steps = [{pause_ms = true}]",
            ("scene 'a': steps[0].pause_ms: expected int, found True",),
        ),
        (
            SCENE + 'steps = [{error = "boom"}]',
            (f"scene 'a': steps[0].error: {ONE_OF_ERRORS}",),
        ),
        (
            SCENE + 'steps = [{stop = "x"}, {say = "y"}]',
            ("scene 'a': steps: nothing can follow an error or a stop",),
        ),
        (
            SCENE + "when = '('\nsteps = [{say = 'x'}]",
            ("scene 'a': when: missing ), unterminated subpattern at position 0",),
        ),
        (
            SCENE + "system = '['\nsteps = [{say = 'x'}]",
            ("scene 'a': system: unterminated character set at position 0",),
        ),
        (
            SCENE + "system = 3\nsteps = [{say = 'x'}]",
            ("scene 'a': system: expected a regular expression, found 3",),
        ),
        (
            SCENE + "when = '(?P<user>.)'\nsteps = [{say = 'x'}]",
            ("scene 'a': a group can't be called 'user'",),
        ),
        (
            SCENE + "history = '(?P<outcome>.)'\nsteps = [{say = 'x'}]",
            ("scene 'a': a group can't be called 'outcome'",),
        ),
        (
            SCENE + "after_tool = 1\nsteps = [{say = 'x'}]",
            ("scene 'a': after_tool: expected bool, found 1",),
        ),
        (SCENE + "mood = 1\nsteps = [{say = 'x'}]", ("scene 'a': unknown: mood",)),
        (SCENE + SCENE.join(["steps = [{stop='x'}]\n"] * 2), ("scene 'a': the name is taken",)),
        ("[[scenes]]\nsteps = [{stop = 'x'}]", ("scene number 1: name: is missing",)),
        (
            "pace_ms = 0\n" + SCENE + "steps = [{stop = 'x'}]",
            ("screenplay: 'pace_ms' must be > 0: 0.0",),
        ),
    ],
)
def test_a_mistake_is_told_with_its_scene_and_key(text: str, problems: tuple[str, ...]) -> None:
    with pytest.raises(ScreenplayInvalid) as caught:
        screenplay_from(text, "play.toml")
    assert caught.value.problems == problems
    assert str(caught.value) == "play.toml: " + "; ".join(problems)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ScreenplayInvalid) as caught:
        screenplay_from("pace_ms = 'x'\n" + SCENE + "steps = [{say = 3}]")
    assert len(caught.value.problems) == 2


def test_the_default_screenplay_loads_and_has_a_scene_for_everything() -> None:
    play = default_screenplay()
    for after_tool in (False, True):
        for interrupted in (False, True):
            assert any(
                scene.when is None
                and scene.system is None
                and scene.fits("", after_tool=after_tool, interrupted=interrupted) is not None
                for scene in play.scenes
            )
