"""What a turn that broke off came to, for the turn that takes it up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from attrs import frozen

from bargein.agents.planning import Plan, PlannedStep
from bargein.agents.stages import Done, Stage
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState

MOST_FOUND_CHARS: Final = 40_000
"""Of what was read before, in what a model is told."""

FOUND: Final = "These tools were called for it already, with these results; don't call them again:"


@frozen
class Progress:
    """How far a plan got, over all turns that have worked at it.

    Attributes:
        results: What finished stages told later ones.
        finished: Steps that were done, also those that told the user, or nobody.
        spoken: What the user was told.
        steered: Words that were taken in on the way.
    """

    plan: Plan
    results: Mapping[str, str]
    finished: frozenset[str]
    spoken: str
    steered: tuple[str, ...]

    def of(self, stage: Stage) -> Done | None:
        """Return how *stage* ended; None if it is still to be done."""
        if (text := self.results.get(stage.id)) is not None:
            return Done(stage, "ok", text)
        if stage.id in self.finished:
            return Done(stage, "ok", self.spoken if stage.speaks else "")
        return None


def progress_of(state: SessionState, continues: TurnId | None) -> Progress | None:
    """Return the progress that the turn *continues* left behind; None if it had no plan."""
    turns = tuple(_chain(state, continues))
    steps = next((turn.steps for turn in reversed(turns) if turn.steps), ())
    if not steps:
        return None
    results: dict[str, str] = {}
    for turn in turns:
        results |= turn.results
    return Progress(
        Plan(tuple(map(PlannedStep.of, steps))),
        results,
        frozenset(step.id for turn in turns for step in turn.steps if step.state == "done"),
        "\n\n".join(turn.text for turn in turns if turn.text),
        tuple(words for turn in turns for words in turn.steered),
    )


def found_before(state: SessionState, continues: TurnId | None) -> tuple[str, ...]:
    """Return what a model is told of what tools have read for turns that were pre-empted."""
    found = [found for turn in _chain(state, continues) for found in turn.found]
    lines: list[str] = []
    left_chars = MOST_FOUND_CHARS
    for read in reversed(found):  # the latest are what the answer was about to be made of
        line = f"- {read.tool}({_text(read.args)}) returned {_text(read.result)}"
        left_chars -= len(line)
        if left_chars < 0:
            break
        lines.append(line)
    return ("\n".join((FOUND, *reversed(lines))),) if lines else ()


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _chain(state: SessionState, continues: TurnId | None) -> Iterator[TurnState]:
    """Yield the turn *continues* and those before it that it took up itself, oldest first."""
    turn = state.turns.get(continues) if continues is not None else None
    if turn is not None:
        yield from _chain(state, turn.continues)
        yield turn
