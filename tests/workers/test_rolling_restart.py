"""All workers are replaced while clients talk: each comes back to another one, and goes on."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.e2e.client import Client, NeverCame
from tests.e2e.evidence import check_client, check_timeline
from tests.scale import scaled
from tests.timeline.redis_server import RedisServer, redis_server
from tests.workers.crew_process import CrewProcess, crew_process

CLIENTS = scaled(60)
ATTEMPTS_S = 30.0
PAUSE_S = 0.05


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.mark.slow
async def test_all_are_replaced_under_load_and_nobody_misses_an_event(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(tmp_path, redis, "--workers", "2", BARGEIN_DRAIN_S="0.5") as crew:
        before = {row.pid for row in await crew.until_ready(2)}
        users = [User(crew) for _ in range(CLIENTS)]
        async with trio.open_nursery() as tasks:
            for user in users:
                await tasks.start(user.talk)
            crew.process.send_signal(signal.SIGUSR2)
            await crew.says('"event": "workers.restarted"')
            after = {row.pid for row in await crew.until_ready(2)}
            for user in users:
                user.enough.set()
        assert before.isdisjoint(after)
        assert sum(len(user.connections) for user in users) > CLIENTS
        for user in users:
            stored = await crew.whole(user.session_id)
            check_timeline(stored)
            for client in user.connections:
                check_client(client, stored)
            assert user.seen() == list(range(1, user.connections[-1].last_seq + 1))


class User:
    """Talks all the time, and comes back where it was whenever it is sent away."""

    def __init__(self, crew: CrewProcess) -> None:
        self.crew = crew
        self.connections: list[Client] = []
        self.enough = trio.Event()

    @property
    def session_id(self) -> str:
        return self.connections[0].session_id

    def seen(self) -> list[int]:
        """Return the seqs of all events, as they came over all connections."""
        seqs: list[int] = []
        for client in self.connections:
            for event in client.events:
                seqs.extend(range(event.body.get("first_seq", event.seq), event.seq + 1))
        return seqs

    async def talk(self, *, task_status: trio.TaskStatus[None]) -> None:
        client = await self.crew.attach()
        self.connections.append(client)
        task_status.started()
        while not self.enough.is_set():
            try:
                answer = await client.say("Brief, please")
                if answer.type == "reply":
                    await client.until("turn.trace", turn_id=answer["result"]["turn_id"])
                    continue
            except (NeverCame, ConnectionClosed):
                pass
            client = await self.come_back(client)
            self.connections.append(client)

    async def come_back(self, client: Client) -> Client:
        """Attach again, as often as it takes."""
        code = await client.until_closed()
        assert code in (4000, 4003), client.close_reason
        refused: list[str] = []
        with trio.move_on_after(ATTEMPTS_S):
            while True:
                try:
                    return await self.crew.attach(
                        client.session_id, after=client.last_seq, epoch=client.epoch
                    )
                except (OSError, NeverCame) as error:
                    refused.append(str(error)[-300:])
                    await trio.sleep(PAUSE_S)
        raise AssertionError("\n".join([*refused[-3:], self.crew.log[-6000:]]))
