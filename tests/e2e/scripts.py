"""What the fake vendor says in these tests, by what it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from tests.e2e.client import Frame
from tests.e2e.harness import last_words
from tests.fakes.anthropic_answers import Answer, Hang, Say, Stream, saying
from tests.fakes.anthropic_api import Exchange, Script

PACE_S = 0.02
"""50 tokens a second."""

FOR_EVER = Stream((Say("I "), Say("go "), Say("on "), Hang()))
"""An answer that begins at once and has no end but an interrupt."""

BRIEF = saying("Very ", "well.")


def by_words(answers: Mapping[str, Answer], otherwise: Answer = BRIEF) -> Script:
    """Return a script that answers by the user's words: the first of *answers* they start with."""

    def script(exchange: Exchange) -> Answer:
        words = last_words(exchange)
        return next((answers[key] for key in answers if words.startswith(key)), otherwise)

    return script


def words(count: int) -> tuple[str, ...]:
    """Return *count* different tokens."""
    return tuple(f"w{number} " for number in range(count))


def outline(frames: list[Frame]) -> list[str]:
    """Return the types of *frames* in order, neighbours of one type taken together."""
    return [name for name, _ in groupby(frame.type for frame in frames)]


def ladder_of(frames: list[Frame]) -> list[str]:
    """Return the rungs of the one ladder in the events of a turn, by their names."""
    types = [frame.type for frame in frames]
    rungs = frames[types.index("cancel.requested") :]
    return [
        f"{rung.type} {rung.payload['target']}" if rung.type == "cancel.stage" else rung.type
        for rung in rungs
    ]


RUNGS_ALWAYS = [
    "cancel.requested",
    "cancel.stage transcript",
    "cancel.stage model",
    "response.end",
    "turn.trace",
    "cancel.ack",
]


def assert_ladder(frames: list[Frame]) -> None:
    """Check the rungs of a turn without tools, each in its place."""
    rungs = ladder_of(frames)
    assert [rung for rung in rungs if rung in RUNGS_ALWAYS] == RUNGS_ALWAYS
    rest = [rung for rung in rungs if rung not in RUNGS_ALWAYS]
    assert rest in ([], ["playback.stop"], ["model.end"], ["playback.stop", "model.end"]), rungs
    if "playback.stop" in rungs:
        assert rungs[1] == "playback.stop"
    if "model.end" in rungs:
        assert rungs.index("model.end") == rungs.index("cancel.stage model") - 1
