"""Callers against the real server: what they measure of speech over the agent."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from examples.bench.contenders import BARGEIN
from examples.bench.ground import Ground
from examples.bench.processes import Cores
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
    }
    assert 0 < figures["pause_many_p50"] <= figures["pause_many_p99"]
    # A cough is over after 0.35 s of silence, words interrupt when they come.
    assert figures["decided_p50"] > 50
