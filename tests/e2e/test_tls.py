"""The whole server over TLS: interrupts, slow clients, a new certificate, refused starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from bargein.gateway.settings import Limits
from bargein.gateway.settings_groups import Tls
from tests.e2e.edge_process import free_port, running
from tests.e2e.harness import eventually, world
from tests.e2e.scripts import by_words
from tests.e2e.test_stalled_reader import (
    ANSWER,
    EARLY,
    TAKES_EFFECT_S,
    WINDOW_BYTES,
    check_what_it_reads_later,
    read_until_ack,
    stalled,
)
from tests.fakes.certificates import Pair, make_pair
from tests.faults.frames import command
from tests.gateway.raw_client import RawClient
from tests.gateway.secure_client import attached, secured
from tests.scale import scaled

OFFERED: dict[str, Any] = {"Sec_WebSocket_Protocol": "bargein.v1"}
TRIES = scaled(50)


def tls_of(pair: Pair) -> Tls:
    return Tls(str(pair.certificate), str(pair.key))


async def test_an_interrupt_by_a_stalled_client_acts_at_once_over_tls(tmp_path: Path):
    pair = make_pair(tmp_path)
    took_s: list[float] = []
    script = by_words({"Flood": ANSWER})
    async with world(script, limits=EARLY, tls=tls_of(pair), deadline_s=300) as w:
        for _ in range(TRIES):
            async with attached(
                w.port, pair.trusting(), window_bytes=WINDOW_BYTES, **OFFERED
            ) as raw:
                await stalled(w, raw)
                exchange = w.api.exchanges[-1]
                sent_s = trio.current_time()
                await raw.send(command(type="interrupt", id="stop"))
                took_s.append(await exchange.gone() - sent_s)
                frames = await read_until_ack(raw)
                check_what_it_reads_later(frames)
                assert json.loads(frames[0])["type"] == "hello"
    took_s.sort()
    assert took_s[len(took_s) // 2] < TAKES_EFFECT_S
    assert took_s[-1] < 1.0


async def test_a_client_over_tls_that_takes_nothing_is_cut_and_resumes(tmp_path: Path):
    pair = make_pair(tmp_path)
    limits = Limits(stall_s=0.3)
    async with world(by_words({"Flood": ANSWER}), limits=limits, tls=tls_of(pair)) as w:
        async with attached(w.port, pair.trusting(), window_bytes=WINDOW_BYTES, **OFFERED) as raw:
            await stalled(w, raw)
            await eventually(lambda: not w.edge.connections)
        hello = await first_frame(raw)
        path = f"/v1/session/{hello['session_id']}?after=2"
        async with attached(w.port, pair.trusting(), path, **OFFERED) as back:
            hello = json.loads(await back.read_text())
            assert (hello["resumed"], hello["replay_from"]) == (True, 3)


async def first_frame(raw: RawClient) -> dict[str, Any]:
    return json.loads(await raw.read_text())


# --- the process ----------------------------------------------------------------------------------


async def test_a_hangup_renews_the_certificate_and_drops_nobody(tmp_path: Path):
    first, second = make_pair(tmp_path, "first"), make_pair(tmp_path, "second")
    used = Pair(tmp_path / "used.pem", tmp_path / "used.key")

    def use(pair: Pair) -> None:
        shutil.copy(pair.certificate, used.certificate)
        shutil.copy(pair.key, used.key)

    use(first)
    files = {"BARGEIN_TLS_CERTIFICATE": str(used.certificate), "BARGEIN_TLS_KEY": str(used.key)}
    async with running(tmp_path, settings=files) as server:
        # The port is open a moment before the server says so.
        await eventually(lambda: f"wss://127.0.0.1:{server.port}/v1/session" in server.log)
        async with attached(server.port, first.trusting(), **OFFERED) as early:
            use(second)
            server.process.send_signal(signal.SIGHUP)
            await eventually(lambda: "certificate.renewed" in server.log)
            async with attached(server.port, second.trusting(), **OFFERED) as late:
                assert (await first_frame(late))["type"] == "hello"
            with pytest.raises(trio.BrokenResourceError):
                await secured(server.port, first.trusting())

            used.key.write_bytes(first.key.read_bytes())
            server.process.send_signal(signal.SIGHUP)
            await eventually(lambda: "certificate.not_renewed" in server.log)
            assert "the key is not the certificate's" in server.log
            figures = await page("/metrics", server.port, second.trusting())
            assert b'bargein_tls_renewals_total{outcome="renewed"} 1.0' in figures
            assert b'bargein_tls_renewals_total{outcome="failed"} 1.0' in figures

            await early.send(command(type="ping", nonce="still here"))
            while (await first_frame(early))["type"] != "pong":
                pass
            server.process.terminate()
            assert await early.read_close() == 4000
        assert await server.process.wait() == 0


async def page(path: str, port: int, context: ssl.SSLContext) -> bytes:
    client = await secured(port, context)
    await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    try:
        return await client.read_to_end()
    finally:
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize("verb", ["serve", "check"])
@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("server.pem", None, "tls.key has to be given, too"),
        (None, "server.key", "tls.certificate has to be given, too"),
        ("none.pem", "server.key", "none.pem can't be read: No such file or directory"),
        ("server.pem", "other.key", "the key is not the certificate's"),
        ("server.key", "server.pem", "not a usable pair in PEM"),
    ],
)
def test_a_certificate_that_cannot_be_used_stops_the_start(
    tmp_path: Path, verb: str, certificate: str | None, key: str | None, says: str
):
    make_pair(tmp_path, "server")
    make_pair(tmp_path, "other")
    arguments = [f"--port={free_port()}", "--store=memory:"]
    arguments += [f"--tls-certificate={certificate}"] if certificate else []
    arguments += [f"--tls-key={key}"] if key else []
    run = subprocess.run(
        [sys.executable, "-m", "bargein.server", verb, *arguments],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 78
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    assert "edge.opened" not in run.stderr
