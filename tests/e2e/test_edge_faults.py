"""What the machine may lack: descriptors, a log that anybody takes, a loop that turns."""

from __future__ import annotations

import os
import re
from pathlib import Path

import trio

from tests.e2e.client import attached
from tests.e2e.edge_process import EdgeProcess, running
from tests.gateway.raw_client import RawClient, ask, dial, status


async def figure(server: EdgeProcess, name: str) -> float:
    answer = await ask(server.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status(answer) == 200
    found = re.search(rf"^{name} (\S+)$", answer.decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def converse_and_end(server: EdgeProcess) -> None:
    async with trio.open_nursery() as nursery:
        alice = await attached(nursery, server.port)
        await alice.converse("Hello")
        dropped = await figure(server, "bargein_log_lines_dropped_total")
        server.process.terminate()
        assert await alice.until_closed() == 4000
        nursery.cancel_scope.cancel()
    assert await server.process.wait() == 0
    assert dropped > 0


async def test_a_full_log_disk_costs_lines_and_nothing_else(tmp_path: Path):
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with running(tmp_path, stderr=full) as server:
            await converse_and_end(server)
    finally:
        os.close(full)


async def test_a_stderr_that_nobody_reads_any_more_costs_lines_and_nothing_else(tmp_path: Path):
    reader, writer = os.pipe()
    try:
        async with running(tmp_path, stderr=writer) as server:
            os.close(reader)
            await attach_and_leave(server)
            await converse_and_end(server)
    finally:
        os.close(writer)


async def attach_and_leave(server: EdgeProcess) -> None:
    for _ in range(3):  # each of which is worth a line
        assert status(await ask(server.port, b"garbage\r\n\r\n")) == 400


async def test_without_descriptors_those_who_are_in_are_served_and_others_wait(tmp_path: Path):
    async with running(tmp_path, descriptors_most=48) as server, trio.open_nursery() as nursery:
        alice = await attached(nursery, server.port)
        crowd: list[RawClient] = [await dial(server.port) for _ in range(60)]
        late = trio.Event()

        async def come_late() -> None:
            await attached(nursery, server.port)
            late.set()

        nursery.start_soon(come_late)
        while "accept.paused" not in server.log:  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.02)
        await alice.send("ping")
        await alice.until("pong")
        assert not late.is_set()
        for client in crowd:
            await trio.aclose_forcefully(client.stream)
        await late.wait()
        assert await figure(server, "bargein_accept_paused_total") >= 1
        assert server.log.count("accept.paused") < 5
        nursery.cancel_scope.cancel()
