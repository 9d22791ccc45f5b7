"""What the connections under a model do when the network, the vendor or the listener misbehave."""

from __future__ import annotations

import gc
import json
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest
import trio

from bargein.models import transport
from bargein.models.anthropic import AnthropicModel, Deadlines
from bargein.models.client import (
    ContextOverflow,
    Message,
    ModelRequest,
    ModelTimeout,
    ModelUnreachable,
    StreamTruncated,
)
from bargein.models.wire import Wire, WireBroken
from tests.fakes.anthropic_answers import Hang, Say, doing, saying
from tests.fakes.anthropic_api import serving
from tests.fakes.anthropic_format import LAST_CHUNK, chunk, event, head, text_event
from tests.fakes.certificates import make_pair
from tests.models.ears import KEY, LIMIT_S, Ears, asking, talking
from tests.scale import scaled

FILES = Path("/proc/self/fd")
OPENING = head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
STOP = {"stop_reason": "end_turn", "stop_sequence": None}
ENDING = event({"type": "message_delta", "delta": STOP}) + event({"type": "message_stop"})
RESET = struct.pack("ii", 1, 0)

Play = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def playing(play: Play) -> AsyncGenerator[tuple[AnthropicModel, list[trio.SocketStream]]]:
    """Let *play* answer each connection, after its request's head, and open a model on it."""
    connections: list[trio.SocketStream] = []

    async def connected(stream: trio.SocketStream) -> None:
        connections.append(stream)
        read = b""
        while b"\r\n\r\n" not in read:
            read += await stream.receive_some()
        await play(stream)
        await trio.aclose_forcefully(stream)

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, connected, listeners)
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            async with AnthropicModel(KEY, "claude-test", url=url) as model:
                await model.warm()
                yield model, connections
            nursery.cancel_scope.cancel()


def words(count: int) -> list[str]:
    return [f"w\N{LATIN SMALL LETTER E WITH ACUTE}{number} " for number in range(count)]


@pytest.mark.parametrize("step", [1, 2, 7, 61])
async def test_an_answer_in_the_smallest_parcels_is_heard_whole(step: int) -> None:
    said = words(2)
    whole = OPENING + b"".join(chunk(text_event(0, word)) for word in said)
    whole += chunk(ENDING) + LAST_CHUNK
    ears = Ears()

    async def drip(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(whole), step):
            await stream.send_all(whole[at : at + step])
            await trio.lowlevel.checkpoint()
        await stream.receive_some()

    async with playing(drip) as (model, _):
        completion = await model.stream(asking(), ears)
    assert ears.text == "".join(said)
    assert completion.stop_reason == "end_turn"


@pytest.mark.parametrize("kept_bytes", [1, 20, 90])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_ends_within_a_chunk_has_truncated_the_answer(
    kept_bytes: int, *, reset: bool
) -> None:
    ears = Ears()

    async def break_off(stream: trio.SocketStream) -> None:
        await stream.send_all(OPENING + chunk(text_event(0, "kept ")))
        await ears.hears(1)
        await stream.send_all(chunk(text_event(0, "lost"))[:kept_bytes])
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async with playing(break_off) as (model, _):
        with pytest.raises(StreamTruncated) as caught:
            await model.stream(asking(), ears)
    assert caught.value.began
    assert ears.text == "kept "


async def test_words_that_came_with_the_head_are_heard_at_once() -> None:
    ears = Ears()

    async def all_at_once(stream: trio.SocketStream) -> None:
        await stream.send_all(OPENING + chunk(text_event(0, "early ")))
        await trio.sleep_forever()

    async with playing(all_at_once) as (model, _), trio.open_nursery() as nursery:
        nursery.start_soon(model.stream, asking(), ears)
        await ears.hears(1)
        nursery.cancel_scope.cancel()
    assert ears.text == "early "


async def test_a_vendor_that_refuses_before_it_has_read_everything_is_understood() -> None:
    failure = {"type": "error", "error": {"type": "request_too_large", "message": "no"}}
    body = json.dumps(failure).encode()
    refusal = head(413, {"content-length": str(len(body)), "connection": "close"}) + body

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.send_all(refusal)

    request = ModelRequest(None, "", (Message("user", "x" * 20_000_000),))
    async with playing(refuse) as (model, _):
        with pytest.raises(ContextOverflow):
            await model.stream(request, Ears())


async def test_a_key_with_a_line_end_in_it_never_leaves() -> None:
    with trio.fail_after(LIMIT_S):
        async with (
            serving([saying("x")]) as api,
            AnthropicModel(f"{KEY}\n", "claude-test", url=api.url) as model,
        ):
            with pytest.raises(ModelUnreachable) as caught:
                await model.stream(asking(), Ears())
        assert KEY not in str(caught.value)
        assert not api.exchanges


async def test_a_listener_without_room_stops_the_reading_of_its_own_stream_alone() -> None:
    # More than the kernel buffers, so that the vendor has to wait, too.
    count, word = 2000, "x" * 8000
    free = trio.Event()
    slow, quick = Ears(stuck=free, stuck_after=1), Ears()
    async with (
        talking([saying(*[word] * count), saying(*["y "] * 200)]) as (api, model),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(model.stream, asking(), slow)
        await slow.waiting.wait()
        heard = slow.deltas
        await model.stream(asking(), quick)
        assert quick.deltas == 200
        assert slow.deltas == heard
        assert api.exchanges[0].tokens_sent < count
        free.set()
    assert slow.deltas == count


async def test_a_stream_cancelled_with_much_left_to_read_closes_its_connection() -> None:
    ears = Ears(stuck=trio.Event(), stuck_after=1)
    async with talking([saying(*["x "] * 20_000)]) as (api, model):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.stream, asking(), ears)
            await ears.waiting.wait()
            nursery.cancel_scope.cancel()
        await (await api.exchange()).gone()
        await api.closed()
        again = Ears()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.stream, asking(), again)
            await again.hears(200)
            nursery.cancel_scope.cancel()
    assert again.deltas >= 200


async def test_streams_cancelled_all_at_once_leave_no_file_open() -> None:
    count, limit_s = scaled(2000), 600.0
    limits = Deadlines(connect_s=limit_s, first_token_s=limit_s, gap_s=limit_s)
    with trio.fail_after(limit_s):
        async with (
            serving([doing(Say("a "), Hang())]) as api,
            AnthropicModel(KEY, "claude-test", url=api.url, deadlines=limits) as model,
        ):
            await model.warm()
            before = len(list(FILES.iterdir()))
            everyone = [Ears() for _ in range(count)]
            async with trio.open_nursery() as nursery:
                for ears in everyone:
                    nursery.start_soon(model.stream, asking(), ears)
                for ears in everyone:
                    await ears.hears(1)
                nursery.cancel_scope.cancel()
            await api.closed()
            assert len(list(FILES.iterdir())) <= before
    gc.collect()


async def test_a_model_that_is_closed_ends_the_streams_that_are_open() -> None:
    ears = Ears()
    failures: list[BaseException] = []
    with trio.fail_after(LIMIT_S):
        async with serving([doing(Say("a "), Hang())]) as api, trio.open_nursery() as nursery:
            async with AnthropicModel(KEY, "claude-test", url=api.url) as model:

                async def asks() -> None:
                    try:
                        await model.stream(asking(), ears)
                    except StreamTruncated as error:
                        failures.append(error)

                nursery.start_soon(asks)
                await ears.hears(1)
            await api.closed()
    assert len(failures) == 1


# --- connections that are kept -----------------------------------------------------


async def test_a_connection_that_idled_too_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_S", 0.0)
    async with talking([saying("a ")]) as (api, model):
        for _ in range(3):
            await model.stream(asking(), Ears())
        assert api.connections == 3


async def test_two_streams_at_a_time_leave_two_connections_to_those_that_follow() -> None:
    async with talking([saying("a ", first_s=0.05)]) as (api, model):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(model.stream, asking(), Ears())
                nursery.start_soon(model.stream, asking(), Ears())
        assert api.connections == 2


# --- TLS ---------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return what a vendor serves with that the model trusts, on loopback."""
    made = make_pair(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    return context


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_over_tls_records_of_any_size_come_whole(
    newest: ssl.TLSVersion, tls: ssl.SSLContext
) -> None:
    tls.maximum_version = newest
    long = "x" * 300_000
    said = [*words(300), long, *words(300)]
    answer = saying(*said)
    async with talking([answer], tls=tls) as (api, model):
        for _ in range(2):
            ears = Ears()
            await model.stream(asking(), ears)
            assert ears.text == "".join(said)
            assert ears.deltas == len(said)
        assert api.connections == 1


async def test_over_tls_a_listener_without_room_loses_nothing(tls: ssl.SSLContext) -> None:
    free = trio.Event()
    ears = Ears(stuck=free, stuck_after=1)
    async with (
        talking([saying(*["x "] * 1000)], tls=tls) as (_, model),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(model.stream, asking(), ears)
        await ears.waiting.wait()
        free.set()
    assert ears.deltas == 1000


async def test_over_tls_only_the_name_in_the_certificate_will_do(
    tls: ssl.SSLContext,
) -> None:
    with trio.fail_after(LIMIT_S):
        async with serving([saying("x")], tls=tls) as api:
            trusting = ssl.create_default_context()  # the fixture's, by the environment
            for host, good in (("localhost", True), ("elsewhere.test", False)):
                wire = await Wire.connected("127.0.0.1", api.port, LIMIT_S)
                try:
                    with nullcontext() if good else pytest.raises(WireBroken):
                        await wire.encrypt(trusting, host, LIMIT_S)
                finally:
                    wire.close()
            await api.closed()


async def test_a_server_that_does_not_shake_hands_is_given_up_after_the_connect_deadline() -> None:
    with trio.fail_after(LIMIT_S):
        async with serving([saying("x")]) as api:
            url, limits = api.url.replace("http:", "https:"), Deadlines(connect_s=0.2)
            async with AnthropicModel(KEY, "claude-test", url=url, deadlines=limits) as model:
                with pytest.raises(ModelTimeout) as caught:
                    await model.stream(asking(), Ears())
                assert caught.value.phase == "connect"
            await api.closed()
