"""How a server is asked to end."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import structlog

_log = structlog.get_logger()


async def asked_to_stop(signals: AsyncIterator[int]) -> None:
    """Wait for SIGTERM or SIGINT; a second one ends the process at once."""
    async for _ in signals:
        break
    _log.info("server.stopping")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
