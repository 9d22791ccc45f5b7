"""Limits of connections, changed while these are open."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client import REGISTRY

from bargein.gateway.egress import ClientStalled
from bargein.gateway.settings import Limits
from bargein.gateway.settings_groups import Tls
from tests.e2e.client import Client
from tests.e2e.harness import FREE_LIMITS, World, eventually, world
from tests.e2e.renewals import shows
from tests.e2e.scripts import by_words
from tests.e2e.test_stalled_reader import ANSWER, WINDOW_BYTES, stalled
from tests.e2e.test_tls import tls_of
from tests.fakes.certificates import make_pair
from tests.faults.frames import command
from tests.gateway.raw_client import (
    CLOSE,
    DEADLINE_S,
    PING,
    TEXT,
    RawClient,
    ask,
    close_payload,
    dial,
    frame,
    opened,
    request,
    status,
)
from tests.gateway.secure_client import attached

STRICT: dict[str, Any] = {"Sec_WebSocket_Protocol": "bargein.v1"}
SCRIPT = by_words({"Flood": ANSWER})
SLOWLY: dict[str, Any] = {
    "commands_per_s": 1,
    "commands_burst": 2,
    "speech_per_s": 1,
    "speech_burst": 2,
    "interrupts_per_s": 1,
}
FREELY: dict[str, Any] = {name: getattr(FREE_LIMITS, name) for name in SLOWLY}


async def outcomes(client: Client, type_: str, count: int, **fields: Any) -> list[str]:
    """Send a command so often; return what each came to, and of the last refusal the wait."""
    answers = [await client.ask(type_, **fields) for _ in range(count)]
    return ["done" if a.type in ("reply", "pong") else a["error"]["code"] for a in answers]


def wait_in(client: Client) -> float:
    """Return for how many seconds the latest refusal says to wait."""
    refused = next(frame for frame in reversed(client.frames) if frame.type == "error")
    return float(refused["error"]["message"].rpartition(" in ")[2].removesuffix(" s."))


@shows(
    "limits.commands_per_s",
    "limits.commands_burst",
    "limits.speech_per_s",
    "limits.speech_burst",
    "limits.interrupts_per_s",
)
async def test_rates_hold_for_who_is_connected_at_once_and_let_go_at_once():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        commands: tuple[tuple[str, dict[str, Any], int], ...] = (
            ("ping", {}, 2),
            ("ack", {"seq": 1}, 2),
            ("interrupt", {}, 1),
        )
        for type_, fields, _ in commands:
            assert set(await outcomes(alice, type_, 5, **fields)) == {"done"}
        await w.renew(limits=SLOWLY)
        for type_, fields, burst in commands:
            told = await outcomes(alice, type_, burst + 1, **fields)
            assert told == ["done"] * burst + ["rate_limited"]
            assert 0.3 < wait_in(alice) <= 1.01
        await w.renew(limits=FREELY)
        for type_, fields, _ in commands:
            assert set(await outcomes(alice, type_, 5, **fields)) == {"done"}


@shows("limits.strikes_most")
async def test_fewer_strikes_close_a_connection_that_had_some_before():
    async with world(SCRIPT) as w:
        alice, bob = await w.attach(), await w.attach()
        for client in (alice, bob):
            assert (await client.ask("dance"))["error"]["code"] == "unknown_command"
        await w.renew(limits={"strikes_most": 2})
        await alice.send("dance")
        assert await alice.until_closed() == 4101
        await w.renew(limits={"strikes_most": 10})
        for _ in range(3):
            assert (await bob.ask("dance"))["error"]["code"] == "unknown_command"
        assert (await bob.ask("ping")).type == "reply"


@shows("limits.strikes_window_s")
async def test_strikes_are_forgotten_as_soon_as_is_said_last():
    async with world(SCRIPT, limits=Limits(strikes_most=2)) as w:
        alice = await w.attach()
        first = await alice.ask("dance")
        await w.renew(limits={"strikes_window_s": 0.01})
        await eventually(lambda: trio.current_time() > first.at_s + 0.02)
        assert (await alice.ask("dance"))["error"]["code"] == "unknown_command"
        assert (await alice.ask("ping")).type == "reply"


def lagging() -> float:
    return REGISTRY.get_sample_value("bargein_clients_lagging") or 0.0


@shows("limits.lagging_events", "limits.lagging_s")
async def test_a_connected_client_that_reads_slowly_lags_sooner_and_is_closed_sooner():
    patient = Limits(lagging_events=4000, lagging_s=600)
    before = lagging()
    async with (
        world(SCRIPT, limits=patient, deadline_s=60) as w,
        opened(w.port, window_bytes=WINDOW_BYTES, **STRICT) as raw,
    ):
        await stalled(w, raw)
        assert lagging() == before
        await w.renew(limits={"lagging_events": 8})
        await eventually(lambda: lagging() == before + 1)
        (wire,) = w.edge.connections
        assert wire.is_open
        await w.renew(limits={"lagging_s": 0.05})
        await eventually(lambda: not wire.is_open)
        with trio.fail_after(DEADLINE_S):
            assert await raw.read_close() == 4001
            await raw.send(frame(CLOSE, close_payload(4001)))
        await eventually(lambda: lagging() == before)


async def test_a_client_lags_at_the_end_of_what_its_session_keeps_in_memory():
    short = Limits(lagging_events=300, tail_events=300, lagging_s=600)
    before = lagging()
    async with (
        world(SCRIPT, limits=short, deadline_s=60) as w,
        opened(w.port, window_bytes=WINDOW_BYTES, **STRICT) as raw,
    ):
        while json.loads(await raw.read_text())["type"] != "live":
            pass
        await w.renew(limits={"lagging_events": 100_000, "tail_events": 100_000})
        await stalled(w, raw)
        await eventually(lambda: lagging() == before + 1)
        assert len(w.edge.connections) == 1


@shows("limits.stall_s")
async def test_a_connected_client_that_takes_nothing_is_given_less_time():
    async with world(SCRIPT, limits=Limits(stall_s=600)) as w:
        alice = await w.attach()
        path = f"/v1/session/{alice.session_id}?role=watch"
        async with opened(w.port, path, window_bytes=WINDOW_BYTES, **STRICT):
            await w.renew(limits={"stall_s": 0.2})
            await alice.say("Flood me")
            await alice.until("session.detached", role="watch")
            await alice.ask("interrupt")


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_client_that_takes_nothing_already_is_given_less_time(
    encrypted: bool, tmp_path: Path
):
    pair = make_pair(tmp_path)
    tls = tls_of(pair) if encrypted else Tls()
    async with world(SCRIPT, limits=Limits(stall_s=600), tls=tls, deadline_s=60) as w:
        trust = pair.trusting() if encrypted else None
        async with client_of(w, trust) as raw:
            await stalled(w, raw)
            (wire,) = w.edge.connections
            await w.renew(limits={"stall_s": 300})
            assert wire.is_open
            await w.renew(limits={"stall_s": 0.05})
            await eventually(lambda: not w.edge.connections)
            assert isinstance(wire.connection_exc, ClientStalled)


@asynccontextmanager
async def client_of(w: World, trust: ssl.SSLContext | None) -> AsyncGenerator[RawClient]:
    if trust is None:
        async with opened(w.port, window_bytes=WINDOW_BYTES, **STRICT) as raw:
            yield raw
    else:
        async with attached(w.port, trust, window_bytes=WINDOW_BYTES, **STRICT) as raw:
            yield raw


@shows("heartbeat_s")
async def test_who_is_connected_is_asked_more_often_and_not_taken_for_gone_meanwhile():
    async with world(SCRIPT, heartbeat_s=3600.0) as w:
        alice = await w.attach()
        async with opened(w.port, **STRICT) as raw:
            await w.renew(heartbeat_s=0.3)
            assert await first_of(raw, PING)  # and not a close: it was silent unasked
        asked_s = trio.current_time()
        await eventually(lambda: trio.current_time() > asked_s + 1)
        assert (await alice.ask("ping")).type == "reply"  # it has answered all along
        bob = await w.attach()
        assert bob.hello["heartbeat_s"] == 0.3


async def first_of(raw: RawClient, wanted: int) -> bool:
    """Read what comes until a frame is no text; say whether that is *wanted*."""
    while True:
        opcode, _ = await raw.read_frame()
        if opcode != TEXT:
            return opcode == wanted


@shows("limits.command_bytes", "limits.frame_bytes")
async def test_sizes_of_messages_hold_for_who_comes_later_and_are_told():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await w.renew(limits={"command_bytes": 2048, "frame_bytes": 4096})
        bob = await w.attach()
        assert alice.hello["limits"]["command_bytes"] == 64 * 1024
        assert bob.hello["limits"]["command_bytes"] == 2048
        assert bob.hello["limits"]["frame_bytes"] == 4096
        assert (await alice.say("x" * 3000)).type == "reply"  # as it was told
        await bob.send("say", text="x" * 3000)
        assert (await bob.until("error"))["error"]["code"] == "frame_too_large"
        await bob.send("say", text="x" * 5000)
        assert await bob.until_closed() == 1009
        assert (await alice.say("x" * 5000)).type == "reply"


async def test_a_client_that_came_before_the_sizes_changed_is_told_those_that_it_is_held_to():
    async with world(SCRIPT) as w:
        early = await dial(w.port)
        await eventually(lambda: REGISTRY.get_sample_value("bargein_handshakes") == 1)
        await w.renew(limits={"command_bytes": 2048, "frame_bytes": 4096})
        await early.send(request(**STRICT))
        assert status(await early.read_head()) == 101
        told = json.loads(await early.read_text())["limits"]
        assert (told["command_bytes"], told["frame_bytes"]) == (64 * 1024, 256 * 1024)
        await early.send(command(type="say", id="long", text="x" * 3000))
        while (answer := json.loads(await early.read_text()))["type"] not in ("reply", "error"):
            pass
        assert answer["type"] == "reply"
        await trio.aclose_forcefully(early.stream)


# --- who comes -----------------------------------------------------------------------------------


async def comes(w: World, path: str = "/v1/session", **headers: Any) -> int:
    """Ask to be upgraded; return the status of the answer."""
    client = await dial(w.port)
    try:
        await client.send(request(path, **headers))
        return status(await client.read_head())
    finally:
        await trio.aclose_forcefully(client.stream)


@shows("limits.connections_most", "limits.sessions_most")
async def test_there_is_room_for_fewer_and_for_more_again():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        for name in ("connections_most", "sessions_most"):
            await w.renew(limits={name: 1})
            assert status(await ask(w.port, request())) == 503
            assert (await alice.ask("ping")).type == "reply"
            await w.renew(limits={name: 1000})
            assert await comes(w) == 101


@shows("limits.memory_bytes")
async def test_memory_that_is_short_by_what_is_said_now_lets_in_nobody_new():
    async with world(SCRIPT) as w:
        await w.renew(limits={"memory_bytes": 16 * 1024 * 1024})
        assert status(await ask(w.port, request())) == 503
        assert REGISTRY.get_sample_value("bargein_memory_limit_bytes") == 16 * 1024 * 1024
        await w.renew(limits={"memory_bytes": None})
        assert await comes(w) == 101


@shows("limits.handshakes_most")
async def test_who_waits_for_a_handshake_to_end_is_let_in_when_there_may_be_more():
    async with world(SCRIPT, limits=Limits(handshakes_most=1)) as w:
        idle, waits = await dial(w.port), await dial(w.port)
        await waits.send(request())
        await eventually(lambda: REGISTRY.get_sample_value("bargein_handshakes") == 1)
        await w.renew(limits={"handshakes_most": 2})
        assert status(await waits.read_head()) == 101
        for client in (idle, waits):
            await trio.aclose_forcefully(client.stream)


@shows("limits.handshakes_per_address_most", "limits.uncounted_networks")
async def test_an_address_may_have_fewer_handshakes_or_as_many_as_it_likes():
    async with world(SCRIPT, limits=Limits(uncounted_networks=())) as w:
        idle = [await dial(w.port), await dial(w.port)]
        handshakes = "bargein_handshakes"
        await eventually(lambda: REGISTRY.get_sample_value(handshakes) == 2)
        await w.renew(limits={"handshakes_per_address_most": 2})
        assert await is_dropped(w)
        await w.renew(limits={"uncounted_networks": ("127.0.0.0/8",)})
        assert await comes(w) == 101
        for client in idle:
            await trio.aclose_forcefully(client.stream)


async def is_dropped(w: World) -> bool:
    """Connect, and wait until the server hangs up."""
    client = await dial(w.port)
    try:
        return await client.is_cut()
    finally:
        await trio.aclose_forcefully(client.stream)


@shows("limits.handshake_s")
async def test_who_connects_and_says_nothing_is_dropped_sooner():
    async with world(SCRIPT, limits=Limits(handshake_s=600)) as w:
        await w.renew(limits={"handshake_s": 0.1})
        assert await is_dropped(w)


@shows("origins", "hosts")
async def test_pages_and_names_are_let_in_and_kept_out_by_what_is_said_now():
    async with world(SCRIPT) as w:
        page, name = {"Origin": "https://a.example"}, {"Host": "chat.example"}
        assert (await comes(w, **page), await comes(w, **name)) == (403, 421)
        await w.renew(origins=("https://a.example",), hosts=("chat.example",))
        assert (await comes(w, **page), await comes(w, **name)) == (101, 101)
        await w.renew(origins=(), hosts=())
        assert (await comes(w, **page), await comes(w, **name)) == (403, 421)


@shows("trusted_proxies")
async def test_a_proxy_is_believed_from_then_on():
    forwarded: dict[str, Any] = {"X_Forwarded_For": "203.0.113.9", **STRICT}

    async def address(w: World) -> str:
        async with opened(w.port, **forwarded) as raw:
            assert json.loads(await raw.read_text())["type"] == "hello"
            return next(wire.address for wire in w.edge.connections if wire.is_open)

    async with world(SCRIPT) as w:
        assert await address(w) == "127.0.0.1"
        await eventually(lambda: not w.edge.connections)
        await w.renew(trusted_proxies=("127.0.0.0/8",))
        assert await address(w) == "203.0.113.9"
