"""Callers: what they measure of speech over the agent, of the real server and of a bad one."""

# pyright: reportPrivateUsage=false
# A voice over an answer is a step of a conversation, which only the caller takes.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import cast

import msgspec
import pytest
import trio
import trio.testing
from attrs import define, evolve, field

from examples.bench.caller import ANSWER_LIMIT_S, Caller, Notes
from examples.bench.contenders import BARGEIN
from examples.bench.goals import GOALS, Figures, judged
from examples.bench.ground import Ground
from examples.bench.link import Link
from examples.bench.processes import Cores
from examples.bench.readers import Readers
from examples.bench.voice_scenario import ALONE, MANY, voice

LIMIT_S = 120.0


@pytest.mark.slow
async def test_each_voice_over_the_agent_is_timed_to_its_pause_and_to_what_was_decided(
    tmp_path: Path,
):
    ground = Ground(Cores(None, None), tmp_path)
    alone = evolve(ALONE, seconds=8, warm_s=1)
    many = evolve(MANY, sessions=3, seconds=4, warm_s=1)
    with trio.fail_after(LIMIT_S):
        measured = await voice(ground, BARGEIN, alone, many)
    assert measured.notes == ()
    figures = measured.figures
    assert figures.keys() == {
        *("pause_alone_p50", "pause_alone_p99", "pause_many_p50", "pause_many_p99"),
        *("decided_p50", "decided_p99"),
        *("voice_missed", "voice_errors"),
    }
    assert figures["voice_errors"] == 0
    assert 0 < figures["pause_many_p50"] <= figures["pause_many_p99"]
    # A cough is over after 0.35 s of silence, words interrupt when they come.
    assert figures["decided_p50"] > 50


@define(eq=False)
class Server:
    """Answers each `speech.start` with one frame, *after_s*; with none where that is None."""

    kind: str
    after_s: float | None
    hear: Callable[[list[bytes]], None]
    nursery: trio.Nursery

    async def send(self, text: bytes) -> None:
        if msgspec.json.decode(text)["type"] == "speech.start" and self.after_s is not None:
            self.nursery.start_soon(self.answer, self.after_s)

    async def answer(self, after_s: float) -> None:
        await trio.sleep(after_s)
        self.hear([b'{"seq":1,"type":"%b"}' % self.kind.encode()])


@define(eq=False)
class OneVoice:
    """A caller who speaks once over the answer of a server that answers so."""

    kind: str
    after_s: float | None
    notes: Notes = field(factory=Notes)

    async def speak(self, run_s: float = 100) -> None:
        caller = Caller("ws://nowhere", Random(1), self.notes, Readers())  # noqa: S311
        with trio.move_on_after(run_s):
            async with trio.open_nursery() as nursery:
                server = Server(self.kind, self.after_s, caller._take, nursery)
                await caller._speak_over(cast("Link", server))
        self.notes.end(trio.current_time())


async def test_a_voice_is_missed_only_where_the_answer_was_over_at_once(
    autojump_clock: trio.testing.MockClock,
):
    voice = OneVoice("turn.trace", 0.04)
    await voice.speak()
    assert (voice.notes.missed, list(voice.notes.pause)) == (1, [])
    assert voice.notes.missed_percent == 100


async def test_a_voice_that_an_answer_goes_on_over_has_waited_until_its_end(
    autojump_clock: trio.testing.MockClock,
):
    voice = OneVoice("turn.trace", 2.0)
    await voice.speak()
    assert (voice.notes.missed, list(voice.notes.pause)) == (0, [pytest.approx(2.0)])
    assert voice.notes.missed_percent == 0


async def test_a_voice_that_nothing_answers_is_an_error(
    autojump_clock: trio.testing.MockClock,
):
    voice = OneVoice("pause", None)
    await voice.speak()
    assert voice.notes.errors["no pause nor turn.trace came"] == 1
    assert voice.notes.missed == 0


async def test_a_voice_that_waits_when_the_run_ends_has_waited_until_then(
    autojump_clock: trio.testing.MockClock,
):
    voice = OneVoice("pause", None)
    await voice.speak(run_s=ANSWER_LIMIT_S / 2)
    assert list(voice.notes.pause) == [pytest.approx(ANSWER_LIMIT_S / 2)]


def test_voices_that_are_missed_or_fail_keep_the_goal_from_being_met():
    (goal,) = (goal for goal in GOALS if goal.name == "voice")
    fine: dict[str, Figures] = {bound.key: {"bargein": [0.0]} for bound in goal.bounds}
    assert judged(goal, fine) == "met"
    missed = judged(goal, {**fine, "voice_missed": {"bargein": [2.5]}})
    assert missed == "short: missed by 0.5 % (25%)"
    assert judged(goal, {**fine, "voice_errors": {"bargein": [1]}}) == "short: errors by 1"
