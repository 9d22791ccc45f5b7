"""Several workers on one port: killed, replaced, drained, and left alone by their supervisor."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from bargein.gateway.workers.status import Row
from bargein.protocol.codec import decode_event
from bargein.server import main
from tests.timeline.redis_server import RedisServer, redis_server
from tests.workers.crew_process import crew_process


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


def pids_of(rows: list[Row]) -> set[int]:
    return {row.pid for row in rows}


@pytest.mark.slow
async def test_a_worker_that_is_killed_is_followed_while_the_other_serves(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(tmp_path, redis, "--workers", "2") as crew:
        first, second = await crew.until_ready(2)
        os.kill(first.pid, signal.SIGKILL)
        # It is away for half a second: a test that looks seldom may see its successor at once.
        rows = await crew.until(lambda rows: bool(rows) and first.pid not in pids_of(rows))
        assert second.pid in pids_of(rows)
        client = await crew.attach()  # there is one that listens
        await client.converse("Brief, please")
        again, same = await crew.until_ready(2)
        assert same.pid == second.pid
        assert again.pid != first.pid
        assert (again.restarts, same.restarts) == (1, 0)
        assert '"code": -9' in crew.log


@pytest.mark.slow
async def test_what_a_killed_worker_left_is_settled_before_its_lease_has_run_out(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(tmp_path, redis, "--workers", "2") as crew:
        await crew.until_ready(2)
        client = await crew.attach()
        turn_id = (await client.say("Long story"))["result"]["turn_id"]
        await client.until("model.token", turn_id=turn_id)
        rows = await crew.until(lambda rows: any(row.connections for row in rows))
        (owner,) = [row for row in rows if row.connections]
        (lease,) = [
            key.decode()
            for key in redis.say("KEYS", f"bargein:{{index}}:node:*.{owner.pid}.*").split(b"\r\n")
            if b"node:" in key
        ]
        os.kill(owner.pid, signal.SIGKILL)
        redis.say("PEXPIRE", lease, 600_000)  # else it would be gone by itself
        await crew.says('"event": "sessions.taken_over"')
        closing = decode_event((await crew.whole(client.session_id))[-1])
        assert (closing.turn_id, closing.type) == (turn_id, "turn.trace")


@pytest.mark.slow
async def test_asked_to_stop_all_workers_drain_and_nothing_is_left(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(tmp_path, redis, "--workers", "2", BARGEIN_DRAIN_S="0.5") as crew:
        await crew.until_ready(2)
        clients = [await crew.attach() for _ in range(6)]
        crew.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert await client.until_closed() == 4000
            assert client.find("go_away") is not None
        assert await crew.exit_code() == 0
        await crew.until_gone()
        assert len(crew.pids) == 2
        assert list((tmp_path / f"bargein-{os.getuid()}").iterdir()) == []
        assert '"level": "error"' not in crew.log


@pytest.mark.slow
async def test_a_second_signal_ends_all_at_once(tmp_path: Path, redis: RedisServer):
    async with crew_process(tmp_path, redis, "--workers", "2", BARGEIN_DRAIN_S="600") as crew:
        await crew.until_ready(2)
        client = await crew.attach()
        turn_id = (await client.say("Long story"))["result"]["turn_id"]
        await client.until("model.token", turn_id=turn_id)
        crew.process.send_signal(signal.SIGINT)
        await client.until("go_away")
        crew.process.send_signal(signal.SIGINT)
        await crew.exit_code()
        await crew.until_gone()


@pytest.mark.slow
async def test_when_the_supervisor_is_killed_the_workers_end_in_order(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(tmp_path, redis, "--workers", "2", BARGEIN_DRAIN_S="0.5") as crew:
        await crew.until_ready(2)
        client = await crew.attach()
        os.kill(crew.process.pid, signal.SIGKILL)
        assert await client.until_closed() == 4000
        await crew.until_gone()
        assert crew.log.count('"event": "supervisor.gone"') == 2
        assert crew.log.count('"event": "edge.drained"') == 2


@pytest.mark.slow
async def test_a_hangup_reaches_all_and_each_answers_for_the_figures_of_all(
    tmp_path: Path, redis: RedisServer
):
    file = tmp_path / "bargein.toml"
    file.write_text("[bargein]\nqueue_most = 5\n", encoding="utf-8")
    async with crew_process(tmp_path, redis, "--config", str(file), BARGEIN_WORKERS="2") as crew:
        await crew.until_ready(2)
        file.write_text("[bargein]\nqueue_most = 6\n", encoding="utf-8")
        crew.process.send_signal(signal.SIGHUP)
        await crew.says('"keys": ["queue_most"], "event": "settings.renewed"', times=2)
        lines = [line for line in crew.log.splitlines() if "settings.renewed" in line]
        assert {re.findall(r'"worker": (\d)', line)[0] for line in lines} == {"1", "2"}
        for _ in range(5):
            await crew.attach()
        for _ in range(4):  # whichever worker is asked
            page = await crew.get("/metrics")
            told = {
                sample.labels.get("worker"): sample.value
                for family in text_string_to_metric_families(page)
                for sample in family.samples
                if sample.name == "bargein_connections"
            }
            assert set(told) == {"1", "2"}
            assert sum(told.values()) == 5
            assert 'bargein_workers{state="ready"} 2.0' in page


@pytest.mark.slow
async def test_a_wrong_app_stops_all_with_one_line_and_78(tmp_path: Path, redis: RedisServer):
    async with crew_process(
        tmp_path, redis, "--workers", "3", "--", "missing.py:app", opened=False
    ) as crew:
        assert await crew.exit_code() == 78
        assert crew.log.count("bargein: ") == 1
        assert "missing.py" in crew.log


@pytest.mark.slow
async def test_a_wrong_app_replaces_nobody_who_serves(tmp_path: Path, redis: RedisServer):
    app = tmp_path / "mine.py"
    app.write_text(APP, encoding="utf-8")
    async with crew_process(tmp_path, redis, "--workers", "2", "--", "mine.py:app") as crew:
        before = {row.pid for row in await crew.until_ready(2)}
        app.write_text("app = 1", encoding="utf-8")
        crew.process.send_signal(signal.SIGUSR2)
        await crew.says('"event": "workers.not_restarted"')
        assert {row.pid for row in await crew.until_ready(2)} == before
        await (await crew.attach()).converse("Brief, please")


@pytest.mark.slow
async def test_a_file_that_is_named_as_a_module_of_pythons_own_breaks_no_worker(
    tmp_path: Path, redis: RedisServer
):
    (tmp_path / "mine.py").write_text(APP, encoding="utf-8")
    async with crew_process(tmp_path, redis, "--workers", "2", "--", "mine.py:app") as crew:
        first, second = await crew.until_ready(2)
        (tmp_path / "queue.py").write_text("raise SystemExit(9)", encoding="utf-8")
        os.kill(first.pid, signal.SIGKILL)
        await crew.until(lambda rows: bool(rows) and first.pid not in pids_of(rows))
        again, same = await crew.until_ready(2)
        assert (again.restarts, same.pid) == (1, second.pid)
        assert '"code": 9' not in crew.log


APP = """
from bargein.agents.app import Agent, App
app = App(name="mine", agents=(Agent(name="mine"),))
"""


@pytest.mark.slow
async def test_a_port_that_another_crew_has_is_taken(tmp_path: Path, redis: RedisServer):
    async with crew_process(tmp_path, redis, "--workers", "2") as crew:
        other = tmp_path / "other"
        other.mkdir()
        port = str(crew.port)
        async with crew_process(
            other, redis, "--workers", "2", "--port", port, opened=False
        ) as late:
            assert await late.exit_code() == 78
            assert f"port {port} of 127.0.0.1 is taken" in late.log


@pytest.mark.slow
async def test_workers_come_as_sessions_do(tmp_path: Path, redis: RedisServer):
    async with crew_process(
        tmp_path,
        redis,
        "--workers",
        "auto",
        "--workers-max",
        "2",
        BARGEIN_LIMITS_SESSIONS_MOST="4",
    ) as crew:
        await crew.until_ready(1)
        clients = [await crew.attach() for _ in range(3)]
        await crew.until_ready(2)
        assert '"before": 1, "after": 2' in crew.log
        assert not any(client.closed.is_set() for client in clients)


@pytest.mark.slow
async def test_all_servers_of_a_redis_are_listed(tmp_path: Path, redis: RedisServer):
    store = f"redis://127.0.0.1:{redis.port}/0"

    def listed(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["workers", "--store", store, *arguments])

    nobody = await trio.to_thread.run_sync(listed)
    assert (nobody.exit_code, "nobody serves from" in nobody.output) == (1, True)
    async with crew_process(tmp_path, redis, "--workers", "2") as crew:
        rows = await crew.until_ready(2)
        await crew.attach()
        done = await trio.to_thread.run_sync(listed)
        assert done.exit_code == 0, done.output
        head, *lines = (line.split() for line in done.output.splitlines())
        assert head == ["node", "state", "sessions", "guests"]
        assert {int(line[0].split(".")[-2]) for line in lines} == {row.pid for row in rows}
        assert {line[1] for line in lines} == {"ready"}
        said = await trio.to_thread.run_sync(listed, "--json")
        assert [json.loads(line)["id"] for line in said.output.splitlines()] == [
            line[0] for line in lines
        ]
