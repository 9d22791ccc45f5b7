"""Bots against the real server, in a process of its own: each of their bad habits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from examples.bench.bot import Habits
from examples.bench.crowd import Crowd, gathered
from examples.bench.figures import Tally
from examples.bench.ground import until
from tests.e2e.process import server_process
from tests.project.tree import ROOT

LOOK_S = 0.02
LIMIT_S = 240.0
FREE = {
    "BARGEIN_LIMITS_COMMANDS_PER_S": "100000",
    "BARGEIN_LIMITS_COMMANDS_BURST": "100000",
    "BARGEIN_LIMITS_INTERRUPTS_PER_S": "100000",
    "BARGEIN_QUEUE_MOST": "10000",
}
PLAY = """\
model = "scripted"
pace_ms = {pace_ms}
first_token_ms = 5

[[scenes]]
name = "any"
steps = [{{ say = "{words}" }}]
"""


@asynccontextmanager
async def talking(
    directory: Path,
    users: int,
    habits: Habits,
    *,
    pace_ms: int,
    words: int,
    settings: dict[str, str] = FREE,
) -> AsyncGenerator[Crowd]:
    """Let *users* talk to a server whose every answer has so many words."""
    play = directory / "pace.toml"
    said = " ".join(["word"] * words)
    play.write_text(PLAY.format(pace_ms=pace_ms, words=said), encoding="utf-8")
    chosen = {"BARGEIN_SCREENPLAY": str(play), **settings}
    with trio.fail_after(LIMIT_S):
        async with server_process(directory, deadline_s=LIMIT_S, **chosen) as server:
            url = f"ws://127.0.0.1:{server.port}/v1/session"
            async with gathered(url, users, habits, seed=1, spread_s=0.1) as crowd:
                crowd.begin.set()
                yield crowd


async def see(crowd: Crowd, enough: Callable[[Tally], bool]) -> Tally:
    """Wait until *enough* was counted, and see that nothing went wrong until then."""
    await until(lambda: enough(crowd.tally) or bool(crowd.tally.errors), LOOK_S)
    tally = crowd.tally
    assert dict(tally.errors) == {}
    assert (tally.ghosts, tally.seq_gaps, tally.unasked) == (0, 0, 0)
    assert enough(tally)
    return tally


async def test_storms_of_interrupts_cancel_every_turn_once_and_leave_no_ghost(tmp_path: Path):
    habits = Habits(interrupt_share=1.0, moments_s=(0.0, 0.2), storm_share=1.0, storm_length=6)
    async with talking(tmp_path, 4, habits, pace_ms=5, words=200) as crowd:
        tally = await see(crowd, lambda tally: tally.interrupts >= 60)
    assert tally.limited == 0
    assert len(tally.flush) > 0
    assert len(tally.ack) == tally.interrupts


async def test_storms_over_the_rate_are_held_back_and_hurt_nothing_else(tmp_path: Path):
    habits = Habits(interrupt_share=1.0, moments_s=(0.0, 0.1), storm_share=1.0, storm_length=20)
    limited = {**FREE, "BARGEIN_LIMITS_COMMANDS_PER_S": "5", "BARGEIN_LIMITS_COMMANDS_BURST": "5"}
    async with talking(tmp_path, 2, habits, pace_ms=5, words=50, settings=limited) as crowd:
        tally = await see(crowd, lambda tally: tally.limited > 0 and tally.interrupts > 5)
    assert tally.turns > 0


async def test_everybody_drops_and_comes_back_to_what_they_missed(tmp_path: Path):
    habits = Habits(interrupt_share=0.3, moments_s=(0.1, 0.4))
    async with talking(tmp_path, 6, habits, pace_ms=5, words=100) as crowd:
        for storm in range(1, 4):
            await until(lambda: crowd.connected == 6, LOOK_S)
            begun = crowd.tally.turns
            crowd.drop()
            await until(lambda: crowd.connected == 0, 0)
            await see_back(crowd, 6 * storm)
            await until(lambda begun=begun: crowd.tally.turns > begun + 6, LOOK_S)
        tally = await see(crowd, lambda tally: tally.completed > 3)
    assert tally.drops == 18
    assert len(tally.back) == 18


async def see_back(crowd: Crowd, times: int) -> None:
    await until(lambda: len(crowd.tally.back) >= times, LOOK_S)


async def test_slow_readers_are_cut_off_come_back_and_lose_nothing(tmp_path: Path):
    habits = Habits(interrupt_share=0.0, slow_share=1.0, slow_bytes_per_s=4000)
    limits = {"BARGEIN_LIMITS_LAGGING_EVENTS": "20", "BARGEIN_LIMITS_LAGGING_S": "1"}
    async with talking(tmp_path, 2, habits, pace_ms=2, words=5000, settings=limits) as crowd:
        await until(lambda: crowd.tally.slow_cuts > 0, LOOK_S)
        heard = crowd.tally.tokens
        tally = await see(crowd, lambda tally: tally.tokens > heard + 10)
    assert len(tally.gap) == 0


async def test_confirmers_decide_and_nothing_is_done_without_their_yes(tmp_path: Path):
    habits = Habits(
        interrupt_share=0.1,
        moments_s=(0.1, 1.0),
        think_s=0.1,
        confirm_share=1.0,
        decide_s=0.05,
        texts=tuple(f"Book a table for {many} tonight at eight" for many in ("two", "three")),
    )
    booking = ROOT / "examples" / "booking.py"
    play = (booking.parent / "booking" / "screenplay.toml").read_text(encoding="utf-8")
    brisk = tmp_path / "brisk.toml"
    brisk.write_text(play.replace("per_second = 16", "per_second = 1000"), encoding="utf-8")
    app = {
        **FREE,
        "BARGEIN_APP": f"{booking}:app",
        "BOOKING_DATABASE": str(tmp_path / "book.sqlite3"),
        "BARGEIN_SCREENPLAY": str(brisk),
    }
    async with talking(tmp_path, 4, habits, pace_ms=1, words=1, settings=app) as crowd:
        tally = await see(
            crowd,
            lambda tally: (
                tally.actions["action.committed"] > 2 and tally.actions["action.rejected"] > 2
            ),
        )
    assert len(tally.committed) == tally.actions["action.committed"]
    assert tally.actions["action.confirmed"] >= tally.actions["action.committed"]


async def test_the_headlines_are_told_of_a_run(tmp_path: Path):
    habits = Habits(interrupt_share=0.5, moments_s=(0.05, 0.2))
    async with talking(tmp_path, 4, habits, pace_ms=5, words=60) as crowd:
        await see(crowd, lambda tally: tally.interrupts > 4 and tally.completed > 4)
        report = crowd.report(0.005)
    told = dict(report.headlines())
    assert told["concurrent sessions"] == "4 of 4"
    assert told["response latency"].startswith("p50 ")
    assert 0 < report.tokens_saved < 60 * report.interrupts
    assert told["tokens saved by cancelling"].startswith(f"{report.tokens_saved}, ")
    assert report.success == 1.0
    assert told["interrupts that succeed"].startswith("100.00% of ")
