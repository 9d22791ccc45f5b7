"""A crew of real processes that serve nobody, and behave as a file says."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import trio
from attrs import define
from prometheus_client.parser import text_string_to_metric_families

from bargein.gateway.workers.crew import DRAIN_MORE_S, Crew
from bargein.gateway.workers.supervisor import rows_of
from bargein.gateway.workers.worker import Launch, Worker
from tests.project.tree import ROOT

LIMIT_S = 60.0
LOOK_S = 0.02
STUB = Path(__file__).with_name("stub_worker.py")


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
async def shift(directory: Path, count: int, *, drain_s: float = 5.0) -> AsyncGenerator[Shift]:
    file = directory / "how"
    file.write_text("serve", encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    paths = os.pathsep.join((str(ROOT / ".dev"), str(ROOT)))
    launch = Launch((sys.executable, str(STUB), str(file)), {**kept, "PYTHONPATH": paths})
    crew = Crew(launch, lambda: drain_s)
    with structlog.testing.capture_logs() as log:
        async with trio.open_nursery() as tasks:
            await tasks.start(crew.run)
            for _ in range(count):
                crew.add()
            with trio.fail_after(2 * LIMIT_S):
                yield Shift(crew, file, log)
            tasks.cancel_scope.cancel()


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
