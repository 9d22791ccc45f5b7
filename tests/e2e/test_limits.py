"""What one client may take of the server: how long it may lag, and how many there may be."""

from __future__ import annotations

import trio

from bargein.gateway.settings import Limits
from tests.e2e.harness import eventually, world
from tests.e2e.scripts import by_words
from tests.e2e.test_stalled_reader import ANSWER, WINDOW_BYTES, stalled
from tests.gateway.raw_client import DEADLINE_S, ask, opened, request, status


async def test_a_client_that_lags_for_too_long_is_closed_with_4001_and_loses_nothing():
    offered = {"Sec_WebSocket_Protocol": "bargein.v1"}
    limits = Limits(lagging_events=8, lagging_s=0.3)
    async with (
        world(by_words({"Flood": ANSWER}), limits=limits, deadline_s=60) as w,
        opened(w.port, window_bytes=WINDOW_BYTES, **offered) as raw,
    ):
        await stalled(w, raw)
        await eventually(lambda: all(not wire.is_open for wire in w.edge.connections))
        with trio.fail_after(DEADLINE_S):  # it reads again: all that was on its way is there
            assert await raw.read_close() == 4001


async def test_one_connection_over_the_limit_is_refused_with_503():
    async with world(by_words({}), limits=Limits(connections_most=1)) as w:
        first = await w.attach()
        answer = await ask(w.port, request())
        assert status(answer) == 503
        assert b"Retry-After: 5" in answer
        await first.send("ping")
        await first.until("pong")
