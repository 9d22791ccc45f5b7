from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.gateway.rates import Bucket, Rates, Slowed, Strikes, Throttle, stream_of
from bargein.protocol.commands import (
    Ack,
    Command,
    Confirm,
    Interrupt,
    Ping,
    Reject,
    ReportPlayback,
    ReviseFinal,
    Say,
)
from bargein.protocol.ids import ConfirmationId, TurnId, UtteranceId

START_S = 1_234_567.8
"""Where trio's clock begins is anywhere."""

per_s = st.integers(1, 100_000)
bursts = st.integers(1, 300)
gaps = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 10)), max_size=300)

SAY = Say("hello")
STOP = Interrupt()
YES = Confirm(ConfirmationId("conf_1"))
NO = Reject(ConfirmationId("conf_1"))
REPORT = ReportPlayback(TurnId("turn_1"), chars=3)
HEARD = ReviseFinal(UtteranceId("u1"), 1, "so")


def times(gaps_s: Iterable[float]) -> list[float]:
    return list(accumulate(gaps_s, initial=START_S))


# --- a bucket ----------------------------------------------------------------------------------


@given(per_s, bursts, gaps)
def test_in_no_span_does_more_pass_than_the_burst_and_the_rate_allow(
    rate: int, burst: int, gaps_s: list[float]
):
    bucket = Bucket(rate, burst)
    passed = [at_s for at_s in times(gaps_s) if bucket.take(at_s) == 0]
    for first, since_s in enumerate(passed):
        for count, until_s in enumerate(passed[first:], 1):
            assert count <= burst + rate * (until_s - since_s) * (1 + 1e-9) + rate * 1e-5 + 1e-6


@given(per_s, bursts, gaps)
def test_who_waits_as_long_as_it_is_told_passes_and_who_waits_less_does_not(
    rate: int, burst: int, gaps_s: list[float]
):
    bucket = Bucket(rate, burst)
    for at_s in times(gaps_s):
        wait_s = bucket.take(at_s)
        if wait_s:
            assert 0 < wait_s <= 1 / rate + 1e-6
            early_s = at_s + wait_s / 2
            if wait_s > 1e-5:
                assert bucket.take(early_s) > 0
            assert bucket.take(at_s + wait_s) == 0
            return


@given(per_s, bursts, st.lists(st.floats(0.0, 5.0), max_size=100))
def test_who_keeps_to_the_rate_is_never_refused(rate: int, burst: int, later_s: list[float]):
    bucket = Bucket(rate, burst)
    now_s = START_S
    for extra_s in later_s:
        now_s += 1 / rate + extra_s
        assert bucket.take(now_s) == 0


@given(per_s, bursts)
def test_after_a_silence_the_whole_burst_passes_and_no_more(rate: int, burst: int):
    bucket = Bucket(rate, burst)
    for now_s in (START_S, START_S + burst / rate + 1):
        assert [bucket.take(now_s) for _ in range(burst)] == [0] * burst
        assert bucket.take(now_s) > 0


def passing(bucket: Bucket, now_s: float) -> int:
    """Take as many as there are at one moment; return how many that were."""
    count = 0
    while not bucket.take(now_s):
        count += 1
    return count


@pytest.mark.parametrize(
    ("per_s", "burst", "left"), [(100, 10, 4), (1, 10, 4), (1, 8, 2), (1, 4, 0)]
)
def test_a_bucket_held_to_another_rate_keeps_count_of_what_was_taken(
    per_s: int, burst: int, left: int
):
    bucket = Bucket(5, 10)
    assert not any(bucket.take(START_S) for _ in range(6))
    bucket.hold_to(per_s, burst, START_S)
    assert passing(bucket, START_S) == left


def test_who_had_to_wait_long_at_a_slow_rate_waits_shortly_at_a_fast_one():
    bucket = Bucket(1, 60)
    assert passing(bucket, START_S) == 60
    bucket.hold_to(100, 60, START_S)
    assert bucket.take(START_S) == pytest.approx(0.01)
    assert passing(bucket, START_S + 0.6) == 60


def test_a_bucket_that_nobody_has_used_is_full_whatever_it_is_held_to():
    bucket = Bucket(1, 2)
    bucket.hold_to(3, 7, START_S)
    assert passing(bucket, START_S) == 7


def test_a_throttle_held_to_other_rates_is_held_to_all_of_them():
    throttle = Throttle(Rates())
    throttle.hold_to(Rates(1, 2, 1, 3, 4), START_S)
    kinds = (SAY, 2), (REPORT, 3), (STOP, 4)
    assert [50 - len(sent(throttle, kind, 50)) for kind, _ in kinds] == [most for _, most in kinds]


def test_what_is_refused_takes_nothing():
    bucket = Bucket(10, 1)
    assert bucket.take(START_S) == 0
    assert all(bucket.take(START_S + 0.05) > 0 for _ in range(1000))
    assert bucket.take(START_S + 0.1) == 0


# --- strikes -----------------------------------------------------------------------------------


@given(st.integers(1, 12), st.lists(st.floats(0.001, 30), min_size=1, max_size=60))
def test_so_many_within_the_window_are_too_many(most: int, gaps_s: list[float]):
    strikes = Strikes(most, 60.0)
    at_s: list[float] = []
    for now_s in times(gaps_s):
        at_s.append(now_s)
        recent = [then_s for then_s in at_s if then_s > now_s - 60.0]
        assert strikes.add(now_s) == (len(recent) >= most)


# --- one connection ----------------------------------------------------------------------------


def sent(throttle: Throttle, command: Command, count: int, now_s: float = START_S) -> list[Slowed]:
    answers = [throttle.slow(command, now_s) for _ in range(count)]
    return [answer for answer in answers if answer is not None]


@pytest.mark.parametrize(
    ("command", "burst", "stream"),
    [
        (SAY, 60, "commands"),
        (Ping(), 60, "commands"),
        (REPORT, 200, "speech"),
        (HEARD, 200, "speech"),
        (Ack(3), 200, "speech"),
        (STOP, 10, "interrupts"),
        (YES, 10, "interrupts"),
        (NO, 10, "interrupts"),
    ],
    ids=lambda value: getattr(value, "type", value),
)
def test_each_kind_has_the_burst_of_the_contract(command: Command, burst: int, stream: str):
    refused = sent(Throttle(Rates()), command, 1000)
    assert len(refused) == 1000 - burst
    assert {slowed.stream for slowed in refused} == {stream}
    assert {slowed.problem.code for slowed in refused} == {"rate_limited"}
    assert all(slowed.problem.retryable for slowed in refused)


@pytest.mark.parametrize(("command", "per_s"), [(SAY, 20), (REPORT, 100), (STOP, 10)])
def test_in_the_long_run_each_kind_has_the_rate_of_the_contract(command: Command, per_s: int):
    throttle = Throttle(Rates())
    sent(throttle, command, 1000)
    passed = sum(throttle.slow(command, START_S + step / 1000) is None for step in range(1, 60_001))
    assert passed == 60 * per_s


def test_one_kind_never_uses_up_what_another_has():
    throttle = Throttle(Rates())
    for command in (SAY, REPORT):
        sent(throttle, command, 500)
    assert sent(throttle, STOP, 10) == []
    fresh = Throttle(Rates())
    sent(fresh, STOP, 500)
    assert sent(fresh, SAY, 60) == []
    assert sent(fresh, REPORT, 200) == []


def test_every_command_counts_against_one_of_the_three():
    counted = Counter(stream_of(object.__new__(kind)) for kind in get_args(Command))
    assert counted["interrupts"] == 3
    assert counted["speech"] == 7
    assert counted["commands"] == len(get_args(Command)) - 10


def test_a_line_that_is_no_command_counts_as_one():
    throttle = Throttle(Rates())
    assert [throttle.slow(None, START_S) for _ in range(60)] == [None] * 60
    slowed = throttle.slow(None, START_S)
    assert slowed is not None
    assert slowed.stream == "commands"


def test_the_message_says_when_again_and_that_is_true():
    throttle = Throttle(Rates())
    (slowed,) = sent(throttle, SAY, 61)
    told = re.fullmatch(r".* send this again in ([0-9.]+) s\.", slowed.problem.message)
    assert told is not None
    assert 0.05 <= float(told[1]) <= 0.06
    assert throttle.slow(SAY, START_S + float(told[1])) is None


def test_from_the_fourth_refusal_in_a_minute_on_each_is_a_strike():
    throttle = Throttle(Rates())
    refused = sent(throttle, SAY, 66)
    assert [slowed.strike for slowed in refused] == [False, False, False, True, True, True]
    later = sent(throttle, SAY, 61, START_S + 61)
    assert [slowed.strike for slowed in later] == [False]


def test_refusals_of_all_kinds_count_together_for_strikes():
    throttle = Throttle(Rates())
    refused = [*sent(throttle, SAY, 62), *sent(throttle, REPORT, 201), *sent(throttle, YES, 11)]
    assert [slowed.strike for slowed in refused] == [False, False, False, True]


def test_too_many_interrupts_are_never_a_strike_nor_bring_one_nearer():
    throttle = Throttle(Rates())
    assert not any(slowed.strike for slowed in sent(throttle, STOP, 1000))
    assert [slowed.strike for slowed in sent(throttle, SAY, 63)] == [False, False, False]


def test_an_interrupt_that_stops_a_turn_passes_however_many_came_before():
    throttle = Throttle(Rates())
    assert len(sent(throttle, STOP, 1000)) == 990
    assert throttle.slow(STOP, START_S, stops=True) is None
    assert throttle.slow(STOP, START_S) is not None
