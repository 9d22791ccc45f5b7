from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from bargein.actors.answers import Answer
from bargein.actors.clock import SystemChance, SystemClock, Timestamps, utc_ms_of, utc_text
from bargein.actors.turn import Ladder, Phases, Turn
from bargein.protocol.ids import NOTHING, Seq, TurnId
from tests.actors.stage import Viewer


@define(eq=False)
class HandClock:
    """A clock that a test turns by hand."""

    s: float = 0.0

    def now_s(self) -> float:
        return self.s

    def utc_ms(self) -> int:
        return round(self.s * 1000)


@given(
    start_s=st.floats(0, 1e6),
    parts=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 100, allow_nan=False)), max_size=12
    ),
    last_s=st.floats(0, 100),
)
def test_phases_follow_each_other_and_add_up_to_the_total(
    start_s: float, parts: list[tuple[str, float]], last_s: float
) -> None:
    clock = HandClock(start_s)
    phases = Phases(clock, start_s, "a")
    for name, duration_s in parts:
        clock.s += duration_s
        phases.enter(name)
    clock.s += last_s
    spans, total_ms = phases.end()
    assert abs(sum(span.ms for span in spans) - total_ms) < 0.5
    for before, after in pairwise(spans):
        assert before.start_ms + before.ms == pytest.approx(after.start_ms, abs=0.002)
        assert before.name != after.name
    assert total_ms == pytest.approx((clock.s - start_s) * 1000, abs=0.001)


def test_to_enter_the_present_phase_again_changes_nothing() -> None:
    clock = HandClock()
    phases = Phases(clock, 0.0, "a")
    clock.s = 1.0
    phases.enter("a")
    clock.s = 2.0
    spans, total_ms = phases.end()
    assert [(span.name, span.start_ms, span.ms) for span in spans] == [("a", 0.0, 2000.0)]
    assert total_ms == 2000.0


def _answer(viewer: Viewer) -> Answer:
    return Answer(None, True, b"", [viewer])


def test_who_asks_a_ladder_after_its_ack_is_answered_at_once(viewer: Viewer) -> None:
    ladder = Ladder(TurnId("turn_1"), "user", "say", 0.0, NOTHING)
    ladder.finish(Seq(0))
    ladder.answer(_answer(viewer))
    [reply] = viewer.frames
    assert reply["result"]["interrupted"] is True
    assert reply["result"]["ack_seq"] == 0


def test_everybody_who_waits_for_a_ladder_is_answered_with_its_ack(viewer: Viewer) -> None:
    ladder = Ladder(TurnId("turn_1"), "user", "say", 0.0, NOTHING)
    for _ in range(3):
        ladder.answer(_answer(viewer))
    assert viewer.frames == []
    ladder.finish(Seq(0))
    assert [frame["result"]["turn_id"] for frame in viewer.frames] == ["turn_1"] * 3


def test_a_turn_knows_its_number_and_when_its_gate_is_shut() -> None:
    turn: Any = Turn(TurnId("turn_7"), "hi", Phases(HandClock(), 0.0, "a"))
    assert turn.number == 7
    assert not turn.interrupted
    turn.ladder = Ladder(turn.id, "user", "say", 0.0, NOTHING)
    assert turn.interrupted


# --- time and chance ---------------------------------------------------------------------


def test_timestamps_never_run_backwards_whatever_the_wall_clock_does() -> None:
    clock = HandClock(1000.0)
    times = Timestamps(clock)
    told = [times.next()]
    for s in (1000.5, 900.0, 1000.2, 1001.0):
        clock.s = s
        told.append(times.next())
    assert told == sorted(told)
    assert told[2] == told[1]
    assert told[-1] == b"1970-01-01T00:16:41.000Z"


def test_timestamps_go_on_after_the_last_stored_event() -> None:
    clock = HandClock(0.0)
    after = Timestamps.after(clock, "2026-11-21T10:12:33.120Z")
    assert after.next() == b"2026-11-21T10:12:33.120Z"
    assert Timestamps.after(clock, "").next() == b"1970-01-01T00:00:00.000Z"


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_is_read_as_it_was_written(utc_ms: int) -> None:
    assert utc_ms_of(utc_text(utc_ms)) == utc_ms


async def test_the_system_has_time_and_ids_of_128_bits() -> None:
    clock, chance = SystemClock(), SystemChance()
    assert clock.now_s() <= clock.now_s()
    assert clock.utc_ms() > 1_700_000_000_000
    assert len({chance.session_id() for _ in range(100)}) == 100
    assert len(chance.session_id()) == len("sess_") + 32
    assert len(chance.epoch()) == 8
