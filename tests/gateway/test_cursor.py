"""A replay over a real socket: what the kernel is given ahead of the client."""

from __future__ import annotations

import json
from socket import SO_SNDBUF, SOL_SOCKET

import pytest
import trio

from bargein.gateway.connection import WireConnection
from bargein.gateway.cursor import LONG_PAST_EVENTS, Cursor
from bargein.gateway.egress import WireLimits
from bargein.gateway.manners import Manners
from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from bargein.timeline.store import NewSession
from tests.gateway.raw_client import DEADLINE_S, Listening, RawClient, edge_of, opened

USUAL = 2 * WireLimits().kernel_bytes
"""Linux doubles it."""

EVENT = b'{"seq":%d,"text":"' + b"x" * 400 + b'"}'
SMALL_WINDOW = 4096
STEP = 250


def kernel_bytes(wire: WireConnection) -> int:
    assert isinstance(wire.stream, trio.SocketStream)
    return wire.stream.socket.getsockopt(SOL_SOCKET, SO_SNDBUF)


async def written(timeline: Timeline, events: int) -> None:
    opened = NewSession(timeline.session_id, "p", None, Epoch("e0"), "2026-01-01T00:00:00.000Z")
    for first in range(1, events + 1, STEP):
        frames = [EVENT % seq for seq in range(first, first + STEP)]
        timeline.append(frames, urgent=True, unsettled=False, closed=False, opened=opened, audit=())
        opened = None
        await timeline.until_durable(timeline.head)


async def read_to_live(client: RawClient) -> list[int]:
    seqs: list[int] = []
    while (frame := json.loads(await client.read_text())).get("type") != "live":
        seqs.append(frame["seq"])
    return seqs


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("past", [LONG_PAST_EVENTS - STEP // 2, 4 * LONG_PAST_EVENTS])
async def test_the_kernel_is_given_more_only_of_what_is_long_past(
    past: int, *, in_memory: bool
) -> None:
    events = past - past % STEP
    served, store = Listening(), MemoryStore()
    timeline = Timeline(SessionId("sess_00"), Epoch("e0"), store)
    timeline.most_tail_events = events if in_memory else 2 * STEP
    seen: list[int] = []
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            await written(timeline, events)
            async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as to:
                wire = await served.wire()
                manners = Manners("bargein", {})
                cursor = Cursor(
                    wire, timeline, None, nursery, NOTHING, Seq(events), lambda: manners
                )
                cursor.advance()
                while cursor.seq == NOTHING:
                    await trio.lowlevel.checkpoint()
                seen.append(kernel_bytes(wire))
                assert await read_to_live(to) == list(range(1, events + 1))
                seen.append(kernel_bytes(wire))
            nursery.cancel_scope.cancel()
    assert seen[1] <= USUAL
    assert (seen[0] > USUAL) == (events > LONG_PAST_EVENTS)
