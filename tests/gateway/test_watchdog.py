"""A loop that stands still is told of once, with its stack; one that works is not."""

from __future__ import annotations

import threading
from typing import Any

import trio
import trio.lowlevel
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from bargein.gateway.watchdog import Watchdog

LIMIT_S = 0.2


def blocked() -> float:
    return REGISTRY.get_sample_value("bargein_event_loop_blocked_total") or 0.0


def stand_still(for_s: float) -> None:
    threading.Event().wait(for_s)


async def watched(*pauses_s: float) -> list[dict[str, Any]]:
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Watchdog(LIMIT_S).run)
            for pause_s in pauses_s:
                await trio.sleep(2 * LIMIT_S)
                stand_still(pause_s)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    return [dict(line) for line in lines]


async def test_a_blocked_loop_is_logged_once_with_where_it_stands() -> None:
    before = blocked()
    lines = await watched(5 * LIMIT_S)
    assert [line["event"] for line in lines] == ["loop.blocked"]
    assert LIMIT_S <= lines[0]["since_s"] < 5 * LIMIT_S
    assert any(" stand_still" in call for call in lines[0]["stack"])
    assert any("test_watchdog.py:" in call for call in lines[0]["stack"])
    assert blocked() == before + 1


async def test_each_block_is_logged() -> None:
    assert len(await watched(3 * LIMIT_S, 3 * LIMIT_S)) == 2


async def test_a_loop_that_works_is_left_in_peace() -> None:
    assert await watched(0.0, LIMIT_S / 10) == []


async def test_its_thread_ends_with_it() -> None:
    before = threading.active_count()
    await watched(0.0)
    assert threading.active_count() == before
