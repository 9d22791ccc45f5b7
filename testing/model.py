"""What the model of a test says and does: scenes, told from each other by the user's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from bargein.models.client import Model, TimeoutPhase
from bargein.models.screenplay import (
    Call,
    Fail,
    FailureKind,
    Pause,
    Say,
    Scene,
    Screenplay,
    Step,
    Stop,
)
from bargein.models.scripted import ScriptedModel

PACE_MS: Final = 20.0
"""Between two tokens: two steps of the grid that everything else keeps to."""

Script: TypeAlias = Model | Screenplay | Sequence[Scene | str]
"""A model: a scene for each thing that a user may say, a screenplay, or one of your own."""


def scene(
    *steps: str | Step,
    said: str | re.Pattern[str] | None = None,
    after_tool: bool = False,
    interrupted: bool | None = None,
    instructions: str | None = None,
) -> Scene:
    """Return what the model does where the user's latest words hold *said*.

    Args:
        steps: Words to say, token by token, and what `calls`, `pauses`, `fails` and `stops` make.
        said: Words, in whatever case, or a pattern; None fits all.
        after_tool: It is the scene for when a tool has just answered.
        interrupted: Whether the answer before was interrupted; None: no matter.
        instructions: Words in the instructions of the agent that asks, where there are several.
    """
    when = re.compile(re.escape(said), re.IGNORECASE) if isinstance(said, str) else said
    return Scene(
        "after a tool" if after_tool else str(said),
        tuple(Say(step) if isinstance(step, str) else step for step in steps),
        when,
        None if instructions is None else re.compile(re.escape(instructions)),
        after_tool=after_tool,
        interrupted=interrupted,
    )


def calls(tool: str, /, **args: Any) -> Step:
    """Call *tool* with *args*."""
    return Call(tool, args)


def pauses(seconds: float) -> Step:
    """Say nothing for so many *seconds* of virtual time."""
    return Pause(round(seconds * 1000))


def fails(how: FailureKind, phase: TimeoutPhase = "first_token") -> Step:
    """Fail, and end with that.

    Args:
        how: `overloaded`, `failed`, `unreachable`, `timeout`, `cut` (in mid-stream),
            `unauthorized`, `refused` or `too_long`.
        phase: What took too long in a `timeout`.
    """
    return Fail(how, phase=phase)


def stops(reason: str) -> Step:
    """End with a stop reason, such as `max_tokens` or `refusal`."""
    return Stop(reason)


def model_of(script: Script) -> Model:
    """Return the model that plays *script*."""
    if isinstance(script, Screenplay):
        return ScriptedModel(script)
    if isinstance(script, Sequence):
        scenes = tuple(scene(part) if isinstance(part, str) else part for part in script)
        return ScriptedModel(Screenplay(scenes, pace_ms=PACE_MS))
    return script
