"""One sweep over all connections instead of a task for each."""

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

import structlog
import trio

from bargein.gateway.connection import WireConnection
from bargein.protocol.codes import CloseCode

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

# Connections are pinged when their own time comes, so that not all answer at once.
_SWEEPS_PER_HEARTBEAT: Final = 20

# How soon another heartbeat is noticed.
_LOOK_S: Final = 1.0


async def keep_heartbeats(
    connections: Callable[[], Collection[WireConnection]], heartbeat: Callable[[], float]
) -> None:
    """Ping each connection every heartbeat, and close the silent ones with 4004.

    A client is silent that has sent no whole frame, pongs included, for two heartbeats, less one
    sweep, so that it is found before they are over.  Time in which the process stood still is
    nobody's silence: what clients sent meanwhile has not been read.  On a server that stands
    still at each sweep, a dead client is found only after 39 times a sweep and its lateness (with
    heartbeats up to 20 s).  Never returns.

    Args:
        connections: Lists the ones that are open now.
        heartbeat: Returns the time between two pings, in seconds; it may change.
    """
    heartbeat_s, since_s = heartbeat(), float("-inf")
    stood_still: deque[tuple[float, float]] = deque(maxlen=2 * _SWEEPS_PER_HEARTBEAT)
    while True:
        sweep_s = min(heartbeat_s / _SWEEPS_PER_HEARTBEAT, _LOOK_S)
        due_s = trio.current_time() + sweep_s
        await trio.sleep_until(due_s)
        now_s = trio.current_time()
        if now_s - due_s > sweep_s:
            stood_still.append((now_s, now_s - due_s))
        if heartbeat_s != (heartbeat_s := heartbeat()):
            since_s = now_s  # nobody was silent for as long as nobody has asked
            continue
        for connection in list(connections()):
            if not connection.is_open:
                continue
            heard_s = max(connection.last_heard_s, since_s)
            silent_s = now_s - heard_s
            if silent_s > 2 * heartbeat_s - 2 * sweep_s:
                silent_s -= sum(
                    min(late_s, until_s - heard_s)
                    for until_s, late_s in stood_still
                    if until_s > heard_s
                )
            if silent_s > 2 * heartbeat_s - 2 * sweep_s:
                log.info("heartbeat.lost", silent_s=round(silent_s, 1))
                connection.close_soon(CloseCode.HEARTBEAT_LOST, "no sign of life")
            elif now_s - connection.pinged_s >= heartbeat_s - sweep_s / 2:
                connection.ping_soon()
