"""What a silent session costs a server in memory, with its connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.bench.link import Link, connect
from tests.e2e.process import ServerProcess, server_process
from tests.network.vitals import PROC, vitals

FIRST = 50
"""What the server makes once, and the allocator's first room, is theirs."""

SESSIONS = 300

IDLE_BYTES = 60 * 1024
"""The goal; it takes 54 KiB."""

pytestmark = pytest.mark.skipif(not PROC.exists(), reason="the kernel's counts are Linux's")


async def come(server: ServerProcess, count: int) -> list[Link]:
    """Open sessions, one after the other; return when all are attached."""
    url = f"ws://127.0.0.1:{server.port}/v1/session"
    links: list[Link] = []
    for _ in range(count):
        link = await connect(url)
        messages = link.early()
        while not any(b'"session.attached"' in message for message in messages):
            messages = await link.read()
        links.append(link)
    return links


async def test_an_idle_session_takes_less_than_60_kib_with_its_connection(tmp_path: Path):
    async with server_process(tmp_path) as server:
        links = await come(server, FIRST)
        before = vitals(server.process.pid)
        links += await come(server, SESSIONS)
        costs = (vitals(server.process.pid).rss_bytes - before.rss_bytes) / SESSIONS
        print(f"an idle session: {costs / 1024:.1f} KiB")  # noqa: T201
        assert costs < IDLE_BYTES
        for link in links:
            await link.aclose()
