"""A thousand clients that read nothing: what the others notice, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.evidence import check_timeline
from tests.network.crowd import (
    NEVER_S,
    Crowd,
    Stalled,
    gathered,
    percentile,
    resumed,
    talking_server,
)
from tests.network.traveller import check_seen
from tests.network.vitals import MIB, PROC, vitals
from tests.scale import scaled

STALLED = scaled(1000)
ROUNDS = 3
TALK_S = 2.0

SLOWER = 3.0
"""The target is 1.2, printed below.  Asserted is what no busy machine makes of it by itself."""

NOISE_MS = 20.0
"""A p99 below this is good enough, whatever it is compared with."""

COSTS_BYTES = 150 * 1024
"""Of a stalled client: 64 KiB of frames, its connection, and room for the allocator."""

WARM_FLOODS = 12
"""So many fill the tails of the sessions, and what the store caches."""

SLACK_BYTES = 8 * MIB
"""What reading eight timelines back twice may leave in the allocator."""

pytestmark = pytest.mark.skipif(not PROC.exists(), reason="the kernel's counts are Linux's")


@pytest.mark.slow
async def test_many_stalled_clients_do_not_slow_down_the_others(tmp_path: Path):
    async with talking_server(
        tmp_path, BARGEIN_LIMITS_STALL_S=NEVER_S, BARGEIN_LIMITS_LAGGING_S=NEVER_S
    ) as server:
        crowd = await gathered(server)
        before = vitals(server.process.pid).descriptors
        await crowd.talk(TALK_S)  # warm
        ratios: list[float] = []
        for _ in range(ROUNDS):
            alone_ms = await crowd.talk(TALK_S)
            await crowd.come(STALLED)
            await crowd.flood()
            among_ms = await crowd.talk(TALK_S)
            assert vitals(server.process.pid).descriptors >= before + STALLED
            await crowd.leave()
            await crowd.until_descriptors(before, within_s=60)
            ratios.append(told(alone_ms, among_ms))
    assert median(ratios) < SLOWER


def told(alone_ms: list[float], among_ms: list[float]) -> float:
    """Print what two measurements came to; return how many times slower the second is."""
    for name, late_ms in (("alone", alone_ms), (f"among {STALLED} stalled", among_ms)):
        print(  # noqa: T201
            f"{name}: {len(late_ms)} tokens, p50 {percentile(late_ms, 0.5):.1f} ms, "
            f"p99 {percentile(late_ms, 0.99):.1f} ms"
        )
    alone, among = (percentile(late_ms, 0.99) for late_ms in (alone_ms, among_ms))
    print(f"ratio of p99: {among / alone:.2f}")  # noqa: T201
    return among / max(alone, NOISE_MS)


@pytest.mark.slow
async def test_a_stalled_client_costs_little_is_freed_and_misses_nothing(tmp_path: Path):
    async with talking_server(
        tmp_path, BARGEIN_LIMITS_STALL_S="3", BARGEIN_LIMITS_LAGGING_S=NEVER_S
    ) as server:
        crowd = await gathered(server)
        for _ in range(WARM_FLOODS):
            await crowd.flood()
        warm = vitals(server.process.pid)
        await crowd.flood()  # what the talk itself leaves behind
        before = vitals(server.process.pid)
        talk_bytes = max(0, before.rss_bytes - warm.rss_bytes)
        peaks = [await stall(crowd, before.descriptors, back=batch == 0) for batch in range(3)]
        left = vitals(server.process.pid)
        costs = (peaks[0] - before.rss_bytes - talk_bytes) / STALLED
        print(  # noqa: T201
            f"{STALLED} stalled clients: {costs / 1024:.0f} KiB each; RSS in MiB: "
            f"{before.rss_bytes / MIB:.0f}, {talk_bytes / MIB:.1f} more by the talk alone, "
            f"{' then '.join(f'{peak / MIB:.0f}' for peak in peaks)} with as many each time, "
            f"{left.rss_bytes / MIB:.0f} after"
        )
        assert costs < COSTS_BYTES
        # What the earlier ones held was given back: the third crowd lives in it.  The second does
        # only in part, as the collector and the allocator have not come round to all of it.
        assert peaks[2] - peaks[1] < STALLED * COSTS_BYTES / 2 + 2 * talk_bytes + SLACK_BYTES
        # Waited for: the server opens a file for a moment now and then, to look at it.
        await crowd.until_descriptors(before.descriptors, within_s=60)


async def stall(crowd: Crowd, descriptors: int, *, back: bool) -> int:
    """Let a crowd stall, be cut off and come *back*; return the RSS at its height, in bytes."""
    await crowd.come(STALLED)
    await crowd.flood()
    peak_bytes = vitals(crowd.server.process.pid).rss_bytes
    await crowd.until_descriptors(descriptors, within_s=60)
    if not back:
        await crowd.leave()
        return peak_bytes
    everyone, crowd.stalled = crowd.stalled, []
    whole = {
        driver.session_id: await crowd.server.whole(driver.session_id) for driver in crowd.drivers
    }
    for stored in whole.values():
        check_timeline(stored)
    for one in everyone:
        await come_back(crowd, one, whole[one.session_id])
    await crowd.until_descriptors(descriptors, within_s=60)
    return peak_bytes


async def come_back(crowd: Crowd, one: Stalled, stored: list[bytes]) -> None:
    """Read what the kernel had, resume behind it, and check that nothing is missing."""
    frames = await one.what_it_has()
    hello = json.loads(frames[0])
    events = [frame for frame in frames if b'"event_id"' in frame]
    last_seq = json.loads(events[-1])["seq"]
    rest = await resumed(crowd.server, one, last_seq)
    earlier = stored[: hello["replay_from"] - 1]
    assert len(rest) > 0
    seen = [*earlier, *events, *rest][: len(stored)]
    assert len(seen) == len(stored)
    check_seen(seen, stored)
