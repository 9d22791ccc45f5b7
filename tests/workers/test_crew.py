"""A crew of real processes that serve nobody, and behave as a file says."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from attrs import define
from prometheus_client.parser import text_string_to_metric_families

from bargein.gateway.workers import crew as crew_module
from bargein.gateway.workers.crew import DRAIN_MORE_S, Crew
from bargein.gateway.workers.supervisor import rows_of
from bargein.gateway.workers.worker import SILENCE_MOST_S, Worker
from tests.workers.stubs import stub_launch

LIMIT_S = 60.0
LOOK_S = 0.02


@define(eq=False)
class Shift:
    """A crew at work, with what it says."""

    crew: Crew
    file: Path
    log: list[Any]

    def behave(self, how: str) -> None:
        """Say how those behave that are started from now on."""
        self.file.write_text(how, encoding="utf-8")

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.move_on_after(LIMIT_S):
            while not holds():  # noqa: ASYNC110 - what is looked at are processes
                await trio.sleep(LOOK_S)
            return
        raise AssertionError(f"never so: {rows_of(self.crew)}\n{self.log}")

    async def until_ready(self, count: int) -> list[Worker]:
        await self.until(lambda: len(self.crew.pulses) == count == len(self.crew.workers))
        return sorted(self.crew.workers, key=lambda worker: worker.number)

    def waits_s(self) -> list[float]:
        return [entry["again_in_s"] for entry in self.log if entry["event"] == "worker.lost"]


@asynccontextmanager
async def shift(
    directory: Path, count: int, *, drain_s: float = 5.0, silence_most_s: float = SILENCE_MOST_S
) -> AsyncGenerator[Shift]:
    file = directory / "how"
    file.write_text("serve", encoding="utf-8")
    crew = Crew(stub_launch(file, silence_most_s), drain_s)
    with structlog.testing.capture_logs() as log:
        async with trio.open_nursery() as tasks:
            await tasks.start(crew.run)
            for _ in range(count):
                crew.add()
            with trio.fail_after(2 * LIMIT_S):
                yield Shift(crew, file, log)
            tasks.cancel_scope.cancel()


def buried(s: Shift) -> set[tuple[str, str]]:
    """Return who was told of whose end."""
    book = s.file.with_name("buried")
    lines = book.read_text(encoding="utf-8").splitlines() if book.exists() else []
    return {(line.split()[0], line.split()[1]) for line in lines}


async def test_all_others_are_told_of_one_that_said_no_goodbye(tmp_path: Path):
    async with shift(tmp_path, 3) as s:
        dies, *others = await s.until_ready(3)
        dies.kill()
        await s.until(lambda: len(buried(s)) >= 2)
        again = await s.until_ready(3)
        # Its successor as well, which may have started before everybody else was told.
        everybody = {(str(w.pid), f"stub.{dies.pid}") for w in (again[0], *others)}
        await s.until(lambda: buried(s) == everybody)
        others[0].drain()
        await s.until_ready(3)
        assert others[0].code == 0
        assert {node for _, node in buried(s)} == {f"stub.{dies.pid}"}


async def test_one_that_drains_is_told_of_nobodys_end(tmp_path: Path):
    async with shift(tmp_path, 2) as s:
        dies, stays = await s.until_ready(2)
        s.behave("slow 60")
        drains = s.crew.add().worker
        assert drains is not None
        await s.until_ready(3)
        drains.drain()
        dies.kill()
        await s.until(lambda: len(buried(s)) >= 2)
        successor = next(w for w in s.crew.workers if w not in (drains, stays))
        told = {(str(w.pid), f"stub.{dies.pid}") for w in (successor, stays)}
        await s.until(lambda: buried(s) == told)
        assert not drains.ended.is_set()


async def test_nobody_is_told_of_the_end_of_one_that_could_not_be_killed(tmp_path: Path):
    async with shift(tmp_path, 2) as s:
        hangs, _ = await s.until_ready(2)
        assert hangs.code is None
        s.crew._announce_end(hangs)  # pyright: ignore[reportPrivateUsage]
        assert s.crew._ended == {}  # pyright: ignore[reportPrivateUsage]
        hangs.kill()
        await hangs.ended.wait()
        await s.until(lambda: len(buried(s)) >= 1)
        assert [*s.crew._ended] == [f"stub.{hangs.pid}"]  # pyright: ignore[reportPrivateUsage]


async def test_numbers_are_those_that_nobody_else_has(tmp_path: Path):
    async with shift(tmp_path, 3) as s:
        workers = await s.until_ready(3)
        assert [worker.number for worker in workers] == [1, 2, 3]
        workers[1].kill()
        await workers[1].ended.wait()
        again = await s.until_ready(3)
        assert [worker.number for worker in again] == [1, 2, 3]
        assert again[1] is not workers[1]


async def test_one_that_dies_at_each_start_waits_twice_as_long_each_time(tmp_path: Path):
    async with shift(tmp_path, 1) as s:
        (first,) = await s.until_ready(1)
        s.behave("exit 70")
        first.kill()
        await s.until(lambda: len(s.waits_s()) == 3)
        assert s.waits_s() == [0.5, 1.0, 2.0]
        assert [row.restarts for row in rows_of(s.crew)] in ([], [3])
        s.behave("serve")
        await s.until_ready(1)


async def test_a_configuration_with_which_none_serves_ends_all(tmp_path: Path):
    async with shift(tmp_path, 0) as s:
        s.behave("exit 78")
        s.crew.add()
        assert await s.crew.given_up() == 78
        assert s.crew.workers == ()
        assert s.waits_s() == []


async def test_a_configuration_that_is_wrong_later_ends_nobody_who_serves(tmp_path: Path):
    async with shift(tmp_path, 2) as s:
        first, second = await s.until_ready(2)
        s.behave("exit 78")
        first.kill()
        await s.until(lambda: len(s.waits_s()) == 2)
        assert s.crew.workers == (second,)
        s.behave("serve")
        assert second in await s.until_ready(2)


async def test_the_one_with_the_fewest_connections_is_taken_away(tmp_path: Path):
    async with shift(tmp_path, 3) as s:
        first, second, third = await s.until_ready(3)
        s.crew.remove()
        assert first.state == "draining"
        assert await s.until_ready(2) == [second, third]
        assert first.code == 0
        assert s.waits_s() == []  # nobody misses it


async def test_one_that_does_not_end_in_time_is_killed(tmp_path: Path):
    async with shift(tmp_path, 0, drain_s=0.5 - DRAIN_MORE_S) as s:
        s.behave("stubborn")
        worker = s.crew.add().worker
        assert worker is not None
        await s.until_ready(1)
        await s.crew.close()
        assert worker.code == -signal.SIGKILL
        assert s.crew.workers == ()


@pytest.mark.parametrize("how", ["serve", "stubborn"])
async def test_one_whose_process_is_just_being_made_is_told_to_end(tmp_path: Path, how: str):
    async with shift(tmp_path, 0, drain_s=2 * LIMIT_S) as s:
        s.behave(how)
        worker = s.crew.add().worker
        assert worker is not None
        assert worker.pid == 0
        with trio.fail_after(LIMIT_S):
            await s.crew.close()
        assert worker.code in (-signal.SIGTERM, 0)


async def test_of_two_signals_to_a_process_that_is_being_made_the_harder_one_counts(tmp_path: Path):
    async with shift(tmp_path, 1) as s:
        (worker,) = s.crew.workers
        assert worker.pid == 0
        s.crew.kill()
        worker.drain()
        await s.until(lambda: s.crew.workers == ())
        assert worker.code == -signal.SIGKILL


async def test_a_crew_that_is_closed_starts_nobody(tmp_path: Path):
    async with shift(tmp_path, 1) as s:
        await s.until_ready(1)
        s.behave("exit 70")
        await s.crew.close()
        assert s.crew.add().worker is None
        assert (s.crew.places, s.crew.workers) == ([], ())
        assert not await s.crew.first()


async def test_a_new_one_that_dies_is_followed_while_the_one_before_it_drains(tmp_path: Path):
    async with shift(tmp_path, 0, drain_s=2 * LIMIT_S) as s:
        s.behave("stubborn")
        s.crew.add()
        (old,) = await s.until_ready(1)
        s.behave("serve")
        async with trio.open_nursery() as tasks:
            tasks.start_soon(s.crew.replace_all)
            await s.until(lambda: old.draining)
            new = s.crew.places[0].worker
            assert new not in (None, old)
            assert new is not None
            new.kill()
            await s.until(lambda: len(s.crew.pulses) == 1)
            assert s.crew.places[0].worker not in (None, old, new)
            assert old.state == "draining"
            assert s.waits_s() == [0.5]
            old.kill()


async def test_how_long_one_may_take_to_end_is_what_it_said_itself(tmp_path: Path):
    async with shift(tmp_path, 0, drain_s=0.5 - DRAIN_MORE_S) as s:
        s.behave("slow 2.5 allows 60")
        worker = s.crew.add().worker
        assert worker is not None
        await s.until_ready(1)
        await s.crew.close()
        assert worker.code == 0


async def test_all_are_replaced_one_after_the_other_and_always_enough_serve(tmp_path: Path):
    async with shift(tmp_path, 3) as s:
        before = await s.until_ready(3)
        fewest = len(before)

        async def watch() -> None:
            nonlocal fewest
            while True:
                fewest = min(fewest, len(s.crew.pulses))
                await trio.sleep(LOOK_S)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(watch)
            assert await s.crew.replace_all()
            tasks.cancel_scope.cancel()
        after = await s.until_ready(3)
        assert fewest == 3
        assert set(before).isdisjoint(after)
        assert {worker.code for worker in before} == {0}
        assert s.waits_s() == []


async def test_where_a_new_one_ends_the_old_ones_stay(tmp_path: Path):
    async with shift(tmp_path, 2) as s:
        before = await s.until_ready(2)
        s.behave("exit 70")
        assert not await s.crew.replace_all()
        assert await s.until_ready(2) == before


async def test_one_that_dies_while_it_is_replaced_is_replaced_once(tmp_path: Path):
    async with shift(tmp_path, 1) as s:
        (old,) = await s.until_ready(1)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(s.crew.replace_all)
            await s.until(lambda: len(s.crew.workers) == 2)
            old.kill()
        await s.until(lambda: len(s.crew.workers) == 1)
        (new,) = await s.until_ready(1)
        assert new is not old
        assert len(s.crew.places) == 1


async def test_a_worker_that_was_stopped_is_silent_and_holds_up_nobodys_figures(tmp_path: Path):
    async with shift(tmp_path, 2) as s:
        first, second = await s.until_ready(2)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            page = await s.crew.figures()
            told = {
                sample.labels["worker"]
                for family in text_string_to_metric_families(page.decode())
                for sample in family.samples
                if sample.name == "process_start_time_seconds"
            }
            assert told == {"2"}
            await s.until(lambda: first.state == "silent")
            assert second.state == "ready"
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert await s.until_ready(2) == [first, second]


async def test_one_that_says_nothing_for_long_is_killed_and_followed(tmp_path: Path):
    async with shift(tmp_path, 2, silence_most_s=6.0) as s:
        first, second = await s.until_ready(2)
        os.kill(first.pid, signal.SIGSTOP)
        await first.ended.wait()
        assert first.code == -signal.SIGKILL
        killed = [entry for entry in s.log if entry["event"] == "worker.killed"]
        assert [entry["number"] for entry in killed] == [1]
        again, same = await s.until_ready(2)
        assert again is not first
        assert same is second


async def test_one_that_is_not_ready_is_taken_away_before_those_who_are(tmp_path: Path):
    async with shift(tmp_path, 2) as s:
        first, second = await s.until_ready(2)
        os.kill(second.pid, signal.SIGSTOP)
        try:
            await s.until(lambda: second.state == "silent")
            s.crew.remove()
            assert (first.state, second.state) == ("ready", "draining")
        finally:
            os.kill(second.pid, signal.SIGCONT)
        assert await s.until_ready(1) == [first]


async def test_one_is_awaited_until_it_is_ready_or_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with shift(tmp_path, 1) as s:
        assert s.crew.awaited == 1
        monkeypatch.setattr(crew_module, "START_LIMIT_S", 0.0)
        assert s.crew.awaited == 0
        monkeypatch.undo()
        await s.until_ready(1)
        assert s.crew.awaited == 0
