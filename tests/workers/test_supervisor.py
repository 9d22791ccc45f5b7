"""A supervisor above real processes that serve nobody, and signals as an operator sends them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from bargein.gateway.settings import Settings
from bargein.gateway.workers.scaling import Bounds
from bargein.gateway.workers.supervisor import Supervisor
from tests.workers.stubs import stub_launch

LIMIT_S = 60.0
LOOK_S = 0.02


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "how"


def supervisor(file: Path, bounds: Bounds) -> Supervisor:
    return Supervisor(Settings(port=0, drain_s=20.0), bounds, lambda _: stub_launch(file))


async def until(holds: Callable[[], bool], log: list[Any]) -> None:
    with trio.move_on_after(LIMIT_S):
        while not holds():  # noqa: ASYNC110 - what is looked at are processes
            await trio.sleep(LOOK_S)
        return
    raise AssertionError(log)


def times(log: list[Any], event: str) -> int:
    return [entry["event"] for entry in log].count(event)


async def test_while_all_drain_no_other_is_started(file: Path):
    file.write_text("slow 2.5", encoding="utf-8")
    with structlog.testing.capture_logs() as log, trio.fail_after(2 * LIMIT_S):
        async with trio.open_nursery() as tasks:

            async def stop() -> None:
                await until(lambda: times(log, "worker.ready") == 2, log)
                os.kill(os.getpid(), signal.SIGTERM)

            tasks.start_soon(stop)
            assert await supervisor(file, Bounds(2, 3)).run() == 0
    assert times(log, "worker.started") == 2
    assert times(log, "workers.scaled") == 0
    assert [entry["code"] for entry in log if entry["event"] == "worker.ended"] == [0, 0]


async def test_where_none_can_serve_nothing_is_said_to_serve(file: Path):
    file.write_text("exit 78", encoding="utf-8")
    with structlog.testing.capture_logs() as log, trio.fail_after(LIMIT_S):
        assert await supervisor(file, Bounds(3, 3)).run() == 78
    assert times(log, "worker.started") == 1
    assert times(log, "supervisor.started") == 0
