"""TLS on the port: what holds without it holds with it, and what goes wrong is counted."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from bargein.gateway.connection import WireConnection
from bargein.gateway.egress import ClientStalled, WireLimits
from bargein.gateway.handshakes import HandshakeLimits
from bargein.gateway.listener import Edge
from bargein.gateway.tls import Certificate, CertificateInvalid
from tests.e2e.harness import eventually
from tests.fakes.certificates import Pair, make_pair
from tests.gateway.raw_client import (
    CLOSE,
    DEADLINE_S,
    Listening,
    close_payload,
    dial,
    edge_of,
    frame,
    opened,
    request,
    stall,
    status,
)
from tests.gateway.secure_client import attached, secured


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def encrypted(pair: Pair, served: Listening, **options: Any) -> AsyncGenerator[Edge]:
    certificate = Certificate(pair.certificate, pair.key)
    async with edge_of(served, certificate=certificate, **options) as edge:
        yield edge


def failures(reason: str) -> float:
    name = "bargein_tls_handshakes_failed_total"
    return REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0


# --- what is served -------------------------------------------------------------------------


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_messages_pass_both_ways_and_the_close_is_clean(
    pair: Pair, newest: ssl.TLSVersion
) -> None:
    served = Listening()

    def answer(wire: WireConnection, _: object) -> None:
        wire.put_many([b"a", b"b" * 70_000])

    served.hear = answer
    async with encrypted(pair, served) as edge, attached(edge.port, pair.trusting(newest)) as raw:
        await raw.say(b"hi")
        assert await raw.read_text() == b"a"
        assert await raw.read_text() == b"b" * 70_000
        await raw.send(frame(CLOSE, close_payload(1000)))
        assert await raw.read_frame() == (CLOSE, close_payload(1000))
        assert await raw.read_to_end() == b""


async def test_pages_and_refusals_arrive_whole(pair: Pair) -> None:
    async with encrypted(pair, Listening()) as edge:
        for sent, expected in (
            (b"GET /healthz HTTP/1.1\r\n\r\n", 200),
            (request(Host="evil.example"), 421),
            (b"garbage\r\n\r\n", 400),
        ):
            client = await secured(edge.port, pair.trusting())
            await client.send(sent)
            answer = await client.read_to_end()
            assert status(answer) == expected
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"Content-Length: %d" % len(body) in head
            await trio.aclose_forcefully(client.stream)


async def test_a_message_put_first_overtakes_others_but_never_an_earlier_first(pair: Pair) -> None:
    served = Listening()
    async with encrypted(pair, served) as edge, attached(edge.port, pair.trusting()) as raw:
        wire = await served.wire()
        wire.put_first(b"hello")  # all in one step, so that nothing is on the wire in between
        wire.put_many([b"event"] * 3)
        wire.put_first(b"flush")
        received = [await raw.read_text() for _ in range(5)]
        assert received == [b"hello", b"flush", b"event", b"event", b"event"]


async def test_a_stalled_client_is_heard_at_once_and_cut_in_time(pair: Pair) -> None:
    served = Listening()
    limits = WireLimits(stall_limit_s=0.5, kernel_bytes=4096)
    async with (
        encrypted(pair, served, limits=limits) as edge,
        attached(edge.port, pair.trusting(), window_bytes=4096) as raw,
    ):
        wire = await served.wire()
        positions = stall(wire)
        stalled_at_s = trio.current_time()
        await raw.say(b"stop")
        await served.until_heard(1)
        assert served.heard_at_s[0] - stalled_at_s < 0.25
        assert wire.taken_bytes < positions[-1]
        await served.until_gone()
        assert 0.4 < trio.current_time() - stalled_at_s < 2
        assert isinstance(wire.connection_exc, ClientStalled)


async def test_the_kernel_takes_no_more_ahead_than_without_tls(pair: Pair) -> None:
    served = Listening()
    async with (
        encrypted(pair, served) as edge,
        attached(edge.port, pair.trusting(), window_bytes=4096) as raw,
    ):
        wire = await served.wire()
        stall(wire)
        await trio.testing.wait_all_tasks_blocked(0.01)
        # SO_SNDBUF, doubled, and the client's small window; the rest is still here.
        assert wire.taken_bytes <= 2 * WireLimits().kernel_bytes + 16 * 1024
        assert wire.buffered_bytes > 0
        assert raw.received == b""


async def test_draining_says_goodbye_to_everybody_and_waits_for_no_handshake(pair: Pair) -> None:
    served = Listening()
    async with (
        encrypted(pair, served) as edge,
        attached(edge.port, pair.trusting()) as raw,
    ):
        await served.wire()
        silent = await dial(edge.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(edge.drain, "restart", 0, deadline_s=0.5))
            assert await raw.read_frame() == (CLOSE, close_payload(4000, b"restart"))
            await raw.send(frame(CLOSE, close_payload(4000)))
            assert await raw.read_to_end() == b""
            assert await silent.is_cut()
        await trio.aclose_forcefully(silent.stream)


# --- what goes wrong ------------------------------------------------------------------------


async def test_a_stalled_handshake_is_dropped_in_time(pair: Pair) -> None:
    before = failures("stalled")
    async with encrypted(pair, Listening(), open_limit_s=0.3) as edge:
        with capture_logs() as lines:
            for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):  # nothing at all, half a hello
                client = await dial(edge.port)
                started_at_s = trio.current_time()
                await client.send(begun)
                assert await client.is_cut()
                assert 0.25 < trio.current_time() - started_at_s < 1.5
                await trio.aclose_forcefully(client.stream)
    assert [line["event"] for line in lines] == ["tls.failed"] * 2
    assert {line["reason"] for line in lines} == {"stalled"}
    assert failures("stalled") == before + 2


async def test_plain_http_to_the_port_is_closed_with_one_line(pair: Pair) -> None:
    before = failures("plain_http")
    async with encrypted(pair, Listening()) as edge:
        with capture_logs() as lines:
            client = await dial(edge.port)
            await client.send(request())
            assert await client.is_cut()
            assert not client.received.startswith(b"HTTP")
            await trio.aclose_forcefully(client.stream)
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert [(line["event"], line["reason"]) for line in lines] == [("tls.failed", "plain_http")]
    assert failures("plain_http") == before + 1


async def test_a_client_that_does_not_trust_the_certificate_is_counted(tmp_path: Path) -> None:
    expired = make_pair(tmp_path, "expired", days_left=-1)
    stranger = make_pair(tmp_path, "stranger")
    before = failures("certificate_refused")
    for pair, trusted in ((expired, expired), (stranger, make_pair(tmp_path, "other"))):
        async with encrypted(pair, Listening()) as edge:
            with capture_logs() as lines:
                ask = partial(complain, edge.port, trusted.trusting())
                await trio.to_thread.run_sync(ask)
                await eventually(lambda: lines)
        assert [line["event"] for line in lines] == ["tls.failed"]
    assert failures("certificate_refused") == before + 2


def complain(port: int, context: ssl.SSLContext) -> None:
    """Refuse the certificate and say so, which trio's streams do not."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


async def test_tls_before_1_2_is_refused(pair: Pair) -> None:
    old = pair.trusting()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    before = failures("old_version")
    async with encrypted(pair, Listening()) as edge:
        with pytest.raises(trio.BrokenResourceError):
            await secured(edge.port, old)
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert failures("old_version") == before + 1


async def test_failed_handshakes_use_up_no_places(pair: Pair) -> None:
    few = HandshakeLimits(2)
    async with encrypted(pair, Listening(), open_limit_s=0.5, handshake_limits=few) as edge:
        for _ in range(3):
            for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
                client = await dial(edge.port)
                await client.send(sent)
                await trio.aclose_forcefully(client.stream)
            silent = await dial(edge.port)
            assert await silent.is_cut()
            await trio.aclose_forcefully(silent.stream)
        async with attached(edge.port, pair.trusting()):
            pass


async def test_a_plain_port_does_not_mind_a_client_that_speaks_tls(pair: Pair) -> None:
    async with edge_of(Listening()) as edge:
        with pytest.raises(trio.BrokenResourceError):
            await secured(edge.port, pair.trusting())
        async with opened(edge.port):
            pass


# --- a new certificate ------------------------------------------------------------------------


async def test_a_renewed_certificate_is_for_new_clients_and_drops_nobody(tmp_path: Path) -> None:
    first, second = make_pair(tmp_path, "first"), make_pair(tmp_path, "second")
    used = Pair(tmp_path / "used.pem", tmp_path / "used.key")

    def use(pair: Pair) -> None:
        shutil.copy(pair.certificate, used.certificate)
        shutil.copy(pair.key, used.key)

    use(first)
    certificate = Certificate(used.certificate, used.key)
    served = Listening()

    def answer(wire: WireConnection, _: object) -> None:
        wire.put(b"heard")

    served.hear = answer
    async with (
        edge_of(served, certificate=certificate) as edge,
        attached(edge.port, first.trusting()) as early,
    ):
        use(second)
        await certificate.renew()
        await early.say(b"hi")
        assert await early.read_text() == b"heard"
        async with attached(edge.port, second.trusting()) as late:
            await late.say(b"hi")
            assert await late.read_text() == b"heard"
        with pytest.raises(trio.BrokenResourceError):
            await secured(edge.port, first.trusting())

        shutil.copy(first.key, used.key)  # which does not fit the second certificate
        with pytest.raises(CertificateInvalid, match="the key is not the certificate's"):
            await certificate.renew()
        async with attached(edge.port, second.trusting()):
            pass


async def test_files_on_a_disk_that_hangs_are_given_up_and_the_old_certificate_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bargein.gateway.tls.READ_LIMIT_S", 0.05)
    pair, pipe = make_pair(tmp_path), tmp_path / "pipe"
    certificate = Certificate(pair.certificate, pair.key)
    before, text = certificate.context, pair.certificate.read_bytes()
    os.mkfifo(pipe)
    pair.certificate.unlink()
    os.link(pipe, pair.certificate)  # who opens it waits for somebody to write
    try:
        with trio.fail_after(10), pytest.raises(CertificateInvalid, match="too long"):
            await certificate.renew()
        assert certificate.context is before
    finally:
        pair.certificate.unlink()
        pair.certificate.write_bytes(text)
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # the thread goes on, and ends


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("none.pem", "server.key", "none.pem can't be read: No such file"),
        ("server.pem", "none.key", "none.key can't be read: No such file"),
        ("server.key", "server.key", "not a usable pair in PEM"),
        ("server.pem", "other.key", "the key is not the certificate's"),
        ("server.pem", "locked.key", "not a usable pair in PEM"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, certificate: str, key: str, reason: str
) -> None:
    make_pair(tmp_path, "server")
    make_pair(tmp_path, "other")
    locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(CertificateInvalid) as refused:
        Certificate(tmp_path / certificate, tmp_path / key)
    assert reason in str(refused.value)
    assert str(tmp_path / certificate) in str(refused.value)
