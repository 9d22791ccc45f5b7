"""A server that is asked to stop while things are being done, and while others only read."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import trio
from attrs import asdict

from bargein.actors.limits import Limits
from tests.e2e.apps import patient
from tests.e2e.apps.ledgered import Pace
from tests.e2e.apps.obedient import order
from tests.e2e.client import Client, Frame, path_of
from tests.e2e.effects import World, outside
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.test_commit_kills import settings_for
from tests.gateway.raw_client import CLOSE, TEXT, RawClient, dial, request

GRACE_S = 0.3
AT_ONCE_S = 5.0
"""Far less than any grace here, far more than an end at once takes."""

FLUSH_S = Limits().flush_s
"""So long what was begun may take besides, when everybody has been sent away."""

OUTLASTS_MS = round((GRACE_S + FLUSH_S + AT_ONCE_S) * 1000)
LONG_S = 120.0
WINDOW_BYTES = 8 * 1024
FLOOD = f"""\
model = "scripted"

[[scenes]]
name = "flood"
steps = [{{ say = "{" ".join(["x" * 2000] * 240)}", per_second = 1000 }}]
"""
"""480 kB: far more than all buffers on the way hold."""


async def under_way(client: Client, world: World, tool: str, pace: Pace) -> Frame:
    """Have something proposed and confirmed; return its proposal once it has reached the world."""
    words = order(tool, number=1, do=asdict(pace), undo=asdict(Pace()))
    turn_id = await client.converse(words)
    proposed = await client.until("action.proposed", turn_id=turn_id)
    decided = await client.ask("confirm", confirmation_id=proposed.payload["confirmation_id"])
    assert decided["result"]["state"] == "confirmed"
    await world.until(lambda line: line["what"] == "started")
    return proposed


def outcomes(events: list[Frame]) -> list[str]:
    return [e.type.removeprefix("action.") for e in events if e.type.startswith("action.")]


def effects(world: World) -> list[str]:
    return [line["what"] for line in world.written() if line["what"] in ("started", "applied")]


async def test_what_is_being_done_gets_the_grace_and_its_outcome_is_kept(tmp_path: Path):
    async with (
        outside(tmp_path) as world,
        server_process(tmp_path, deadline_s=LONG_S, **settings_for(world)) as server,
    ):
        ann = await server.attach()
        watcher = await server.attach(ann.session_id, role="watch")
        await under_way(ann, world, "charge", Pace(work_ms=600))
        server.terminate()
        for client in (ann, watcher):
            await client.until("go_away")
            assert client.find("action.committed") is None  # told at the start of the grace
        for client in (ann, watcher):
            assert await client.until_closed() == 4000
            assert outcomes(client.events)[-1] == "committed"
        assert await server.exit_code() == 0
        assert effects(world) == ["started", "applied"]


async def test_what_outlasts_the_grace_is_in_doubt_at_the_next_start_and_not_done_twice(
    tmp_path: Path,
):
    async with outside(tmp_path) as world:
        app = f"{patient.__file__}:app"
        settings = settings_for(world) | {"BARGEIN_DRAIN_S": str(GRACE_S), "BARGEIN_APP": app}
        async with server_process(tmp_path, deadline_s=LONG_S, **settings) as server:
            ann = await server.attach()
            await under_way(ann, world, "charge", Pace(work_ms=OUTLASTS_MS))
            asked_s = trio.current_time()
            server.terminate()
            assert await ann.until_closed() == 4000
            assert await server.exit_code() == 0
            assert trio.current_time() - asked_s < GRACE_S + FLUSH_S + AT_ONCE_S
            assert outcomes(ann.events)[-1] == "committing"
            await world.until(lambda line: line["what"] == "applied")

            await server.start()
            back = await server.back(ann)
            settled = await back.until("action.committed")
            assert settled.payload["result"] == "done 1 times"
            assert outcomes(back.events) == ["in_doubt", "committed"]
            assert effects(world) == ["started", "applied"]
            stored = await server.whole(ann.session_id)
            check_timeline(stored, finished=True)
            for client in (ann, back):
                check_client(client, stored)


async def test_a_second_signal_does_not_wait_for_what_is_being_done(tmp_path: Path):
    async with outside(tmp_path) as world:
        settings = settings_for(world) | {"BARGEIN_DRAIN_S": "600"}
        async with server_process(tmp_path, deadline_s=LONG_S, **settings) as server:
            ann = await server.attach()
            await under_way(ann, world, "ship", Pace(work_ms=900))
            server.terminate()
            await ann.until("go_away")
            asked_s = trio.current_time()
            server.terminate()
            assert await server.exit_code() == -signal.SIGTERM
            assert trio.current_time() - asked_s < AT_ONCE_S
            await server.start()
            back = await server.back(ann)
            await back.until("action.in_doubt")
            assert effects(world).count("started") == 1


async def test_a_proposal_that_nobody_has_decided_does_not_hold_the_server(tmp_path: Path):
    async with outside(tmp_path) as world:
        settings = settings_for(world) | {"BARGEIN_DRAIN_S": "600"}
        async with server_process(tmp_path, deadline_s=LONG_S, **settings) as server:
            ann = await server.attach()
            words = order("charge", number=1, do=asdict(Pace()), undo=asdict(Pace()))
            await ann.converse(words)
            proposed = await ann.until("action.proposed")
            server.terminate()
            assert await ann.until_closed() == 4000
            assert await server.exit_code() == 0
            await server.start()
            back = await server.back(ann)  # and it is open still
            conf = proposed.payload["confirmation_id"]
            decided = await back.ask("confirm", confirmation_id=conf)
            assert decided["result"]["state"] == "confirmed"
            await back.until("action.committed")


async def test_who_reads_a_closed_session_is_sent_away_too(tmp_path: Path):
    play = tmp_path / "flood.toml"
    play.write_text(FLOOD, encoding="ascii")
    async with server_process(tmp_path, BARGEIN_SCREENPLAY=str(play)) as server:
        ann = await server.attach()
        await ann.converse("Flood")
        await ann.ask("close")
        assert await ann.until_closed() == 4102
        reader = await dial(server.port, window_bytes=WINDOW_BYTES)
        path = path_of(ann.session_id, {})
        await reader.send(request(path, Sec_WebSocket_Protocol="bargein.v1"))
        await reader.read_head()
        hello = json.loads(await reader.read_text())
        assert hello["session_id"] == ann.session_id  # and no more is read for now
        server.terminate()
        frames, code = await rest_of(reader)
        assert code == 4000
        assert [frame["type"] for frame in frames if "event_id" not in frame] == ["go_away"]
        assert await server.exit_code() == 0
        await reader.stream.aclose()
        await resumes_closed(server, ann, frames)


async def rest_of(reader: RawClient) -> tuple[list[dict[str, Any]], int]:
    """Read on until the server closes; return the frames, and the close code."""
    frames: list[dict[str, Any]] = []
    while True:
        opcode, payload = await reader.read_frame()
        if opcode == CLOSE:
            return frames, int.from_bytes(payload[:2])
        if opcode == TEXT:
            frames.append(json.loads(payload))


async def resumes_closed(server: ServerProcess, ann: Client, frames: list[dict[str, Any]]) -> None:
    """Check that the rest of a closed session is there for who comes back."""
    # None at all where the server was asked to stop before it had read the first of them.
    last_seq = max((frame["seq"] for frame in frames if "event_id" in frame), default=0)
    await server.start()
    back = await server.dial(ann.session_id, after=last_seq, epoch=ann.epoch)
    assert await back.until_closed() == 4102
    assert [event.seq for event in back.events] == list(range(last_seq + 1, ann.last_seq + 1))
