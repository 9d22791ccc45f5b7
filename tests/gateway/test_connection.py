"""Each trap of the library, over real sockets, and what was built against it."""

import random
from contextlib import suppress
from socket import SO_SNDBUF, SOL_SOCKET

import pytest
import trio
import trio.testing

from bargein.gateway.connection import WireConnection
from bargein.gateway.egress import BufferOverrun, ClientStalled, WireLimits
from bargein.gateway.handshake import Upgrade
from bargein.gateway.inbox import TextFrame
from tests.gateway.raw_client import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Listening,
    RawClient,
    close_payload,
    edge_of,
    frame,
    opened,
    stall,
)

INTERRUPT = b'{"type":"interrupt"}'
SMALL_WINDOW = 4096


async def all_texts(client: RawClient) -> tuple[list[bytes], int]:
    texts: list[bytes] = []
    while True:
        opcode, payload = await client.read_frame()
        if opcode == CLOSE:
            return texts, int.from_bytes(payload[:2])
        if opcode == TEXT:
            texts.append(payload)


async def test_an_interrupt_of_a_stalled_client_is_read_within_50_ms() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        for _ in range(20):
            stall(wire)
            assert wire.buffered_bytes > 0
            sent_at_s = trio.current_time()
            before = len(served.heard)
            await client.say(INTERRUPT)
            await served.until_heard(before + 1)
            assert served.heard[-1] == TextFrame(INTERRUPT.decode())
            assert served.heard_at_s[-1] - sent_at_s < 0.05
        assert wire.buffered_bytes > 0


async def test_a_client_that_does_not_read_is_given_up() -> None:
    served = Listening()
    limits = WireLimits(stall_limit_s=0.3)
    async with (
        edge_of(served, limits=limits) as edge,
        opened(edge.port, window_bytes=SMALL_WINDOW) as client,
    ):
        wire = await served.wire()
        stall(wire)
        stalled_at_s = trio.current_time()
        await served.until_gone()
        assert 0.25 < trio.current_time() - stalled_at_s < 1.5
        assert isinstance(wire.connection_exc, ClientStalled)
        assert wire.connection_exc.limit_s == 0.3
        assert await client.is_cut()


async def test_a_slow_client_that_takes_a_flush_in_time_is_not_given_up() -> None:
    served = Listening()
    limits = WireLimits(stall_limit_s=1.0)
    async with (
        edge_of(served, limits=limits) as edge,
        opened(edge.port, window_bytes=SMALL_WINDOW) as client,
    ):
        wire = await served.wire()
        positions = stall(wire)
        while wire.taken_bytes < positions[-1]:  # in many small reads
            await client.read_text()
        assert wire.connection_exc is None
        assert wire.is_open


async def test_a_flood_of_pings_nobody_reads_the_pongs_of_is_bounded() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        flood = frame(PING, b"x" * 125) * 100
        most_bytes = 0
        with suppress(trio.BrokenResourceError):
            while not served.gone.is_set():
                await client.send(flood)
                most_bytes = max(most_bytes, wire.buffered_bytes)
        await served.until_gone()
        assert isinstance(wire.connection_exc, BufferOverrun)
        assert most_bytes <= 1024 * 1024


async def test_a_frame_of_any_size_may_wait_and_as_much_as_ever_beside_it() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        large, sent = b"y" * 3 * 1024 * 1024, list[bytes]()
        while wire.buffered_bytes < 32 * 1024:
            sent.append(b"x" * 1000)
            wire.put(sent[-1])
        assert wire.has_room
        wire.put(large)
        for _ in range(900):  # nobody waits for room with these
            wire.put(b"z" * 1000)
        assert wire.connection_exc is None
        expected = [*sent, large, *[b"z" * 1000] * 900]
        assert [await client.read_text() for _ in expected] == expected
        # Once it has gone, the limit is what it was: a flood is no larger for it.
        most_bytes = 0
        for _ in range(1200):
            wire.put(b"z" * 1000)
            most_bytes = max(most_bytes, wire.buffered_bytes)
        assert isinstance(wire.connection_exc, BufferOverrun)
        assert 1000 * 1024 < most_bytes <= 1024 * 1024


async def test_a_second_frame_that_is_too_large_to_wait_is_one_too_many() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        wire.put(b"y" * 3 * 1024 * 1024)
        assert wire.connection_exc is None
        wire.put(b"y" * 3 * 1024 * 1024)
        assert isinstance(wire.connection_exc, BufferOverrun)
        assert await client.is_cut()


async def test_put_first_overtakes_and_no_frame_is_torn() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        positions = stall(wire)
        gone = sum(position <= wire.taken_bytes for position in positions)
        wire.put_first(b"first")
        wire.put_first(b"second")
        wire.close_soon(4000)
        texts, code = await all_texts(client)
        assert code == 4000
        # At most the frame that had begun, and nothing else, stands before it.
        assert texts.index(b"first") - gone in (0, 1)
        assert texts.index(b"second") == texts.index(b"first") + 1
        ordinary = [text for text in texts if text not in (b"first", b"second")]
        assert ordinary == [b"x" * 1000] * len(positions)


async def test_random_sizes_put_by_any_means_arrive_whole_and_in_order() -> None:
    chance = random.Random(8710)  # noqa: S311 - chance, not a secret
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        sent: list[bytes] = []
        got: list[bytes] = []

        async def read() -> None:
            while len(got) < 600:
                got.append(await client.read_text())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            while len(sent) < 600:
                texts = [
                    b"%d:" % (len(sent) + n) + b"x" * chance.choice([0, 120, 300, 5000, 70_000])
                    for n in range(chance.choice([1, 1, 2, 8]))
                ][: 600 - len(sent)]
                sent += texts
                if len(texts) == 1:
                    wire.put(texts[0])
                else:
                    wire.put_many(texts)
                assert await wire.room()
        assert got == sent
        assert wire.taken_bytes == wire.put_bytes


async def test_taken_bytes_tell_which_frames_have_gone() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        assert (wire.put_bytes, wire.taken_bytes) == (0, 0)  # the handshake does not count
        position = wire.put(b"hello")
        assert wire.taken_bytes == position == wire.put_bytes == 7
        assert wire.put_many([b"a", b"b" * 200]) == [10, 214]
        positions = stall(wire)
        assert positions[0] <= wire.taken_bytes < positions[-1]
        before = wire.taken_bytes
        for _ in range(50):
            wire.put_first(b"y" * 1000)
        wire.ping_soon()
        assert wire.taken_bytes == before
        assert wire.put_bytes == positions[-1]
        # The client reads a little: what has gone is never less than what it has got.
        got = 0
        for _ in range(3):
            opcode, payload = await client.read_frame()
            got += len(payload) + 2
            assert opcode == TEXT
        assert wire.taken_bytes >= got
        wire.close_soon()
        await all_texts(client)
        assert wire.taken_bytes == wire.put_bytes


async def test_bytes_that_a_client_never_got_are_never_called_taken() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW):
        wire = await served.wire()
        last = stall(wire)[-1]
        taken = wire.taken_bytes
        wire.abort()
        assert wire.put(b"late") > last
        assert wire.put_many([b"late"] * 2)[0] > last
        wire.put_first(b"late")
        wire.ping_soon()
        wire.close_soon()
        assert wire.taken_bytes == taken < last
        assert wire.buffered_bytes == 0
        assert not wire.has_room
        assert not await wire.room()


async def test_one_stalled_client_holds_up_no_other() -> None:
    wires: list[WireConnection] = []

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        wires.append(connection)
        await connection.receive()

    async with (
        edge_of(serve) as edge,
        opened(edge.port, window_bytes=SMALL_WINDOW),
        opened(edge.port) as other,
    ):
        while len(wires) < 2:
            await trio.testing.wait_all_tasks_blocked(0.001)
        stall(wires[0])
        started_at_s = trio.current_time()
        for number in range(50):
            for wire in wires:
                wire.put(b"%d" % number)
            assert await other.read_text() == b"%d" % number
        assert trio.current_time() - started_at_s < 1.0
        assert wires[0].buffered_bytes > 0


async def test_the_kernel_holds_at_most_64_kib() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        assert isinstance(wire.stream, trio.SocketStream)
        assert wire.stream.socket.getsockopt(SOL_SOCKET, SO_SNDBUF) <= 64 * 1024
        stall(wire)
        assert wire.taken_bytes < 100_000  # with what the client's own buffer holds
        assert wire.buffered_bytes < 64 * 1024 + 1100
        await client.say(b"still here")


async def test_there_is_room_again_at_low_water_and_one_call_tells_of_it() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        told: list[int] = []
        wire.on_room = lambda: told.append(wire.buffered_bytes)
        stall(wire)
        assert not wire.has_room
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.room)
            while not told:
                assert not wire.has_room
                await client.read_text()
        assert told[0] <= 16 * 1024
        assert len(told) == 1
        assert wire.has_room


async def test_a_sender_without_a_task_goes_on_whenever_there_is_room() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        left = [b"%d" % number + b"x" * 2000 for number in range(400)]
        expected = list(left)

        def go_on() -> None:
            while left and wire.has_room:
                wire.put(left.pop(0))

        wire.on_room = go_on
        assert wire.on_room is go_on
        go_on()
        assert left
        assert [await client.read_text() for _ in expected] == expected


async def test_a_callback_that_raises_cuts_its_own_client_only() -> None:
    def fail() -> None:
        raise RuntimeError("a bug in the sender")

    async def serve(connection: WireConnection, upgrade: Upgrade) -> None:
        if upgrade.role == "drive":
            connection.on_room = fail
            stall(connection)
        while (message := await connection.receive()) is not None:
            assert isinstance(message, TextFrame)
            connection.put(message.text.encode())

    async with (
        edge_of(serve) as edge,
        opened(edge.port, "/v1/session?role=watch") as other,
        opened(edge.port, window_bytes=SMALL_WINDOW) as client,
    ):
        assert await client.is_cut()
        await other.say(b"hi")
        assert await other.read_text() == b"hi"


async def test_closing_soon_sends_all_that_was_put_before() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        count = len(stall(wire))
        wire.put(b"goodbye")
        wire.close_soon(4001, "slow")
        assert not wire.is_open
        wire.put(b"too late")
        texts, code = await all_texts(client)
        assert code == 4001
        assert texts == [b"x" * 1000] * count + [b"goodbye"]
        await client.send(frame(CLOSE, close_payload(4001)))
        assert await client.read_to_end() == b""
        await served.until_gone()


async def test_what_arrives_after_a_close_was_begun_is_dropped() -> None:
    served = Listening()
    served.hear = lambda wire, _: wire.close_soon(4101)
    async with edge_of(served) as edge, opened(edge.port) as client:
        await client.send(*[frame(TEXT, b"%d" % number) for number in range(3)])
        assert await client.read_frame() == (CLOSE, close_payload(4101))
        await client.say(b"more")
        await client.send(frame(CLOSE, close_payload(4101)))
        assert await client.read_to_end() == b""
        await served.until_gone()
        assert served.heard == [TextFrame("0")]
    wires: list[WireConnection] = []

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        wires.append(connection)
        connection.close_soon(4101)
        assert await connection.receive() is None
        await connection.wait_closed()

    async with edge_of(serve) as edge, opened(edge.port) as client:
        await client.say(b"more")
        await client.send(frame(CLOSE, close_payload(4101)))
        assert await client.read_close() == 4101
        await client.is_cut()
        assert wires[0].unread == 0


async def test_a_client_that_never_answers_a_close_is_cut() -> None:
    served = Listening()
    limits = WireLimits(close_limit_s=0.2)
    async with edge_of(served, limits=limits) as edge, opened(edge.port) as client:
        wire = await served.wire()
        wire.close_soon(4000, "ä" * 100)
        opcode, payload = await client.read_frame()
        assert opcode == CLOSE
        assert payload[2:].decode() == "ä" * 61  # cut between two characters
        await served.until_gone(1.0)
        assert await client.is_cut()


async def test_a_close_to_a_client_that_does_not_read_is_bounded() -> None:
    served = Listening()
    limits = WireLimits(close_limit_s=0.1, stall_limit_s=0.3)
    async with (
        edge_of(served, limits=limits) as edge,
        opened(edge.port, window_bytes=SMALL_WINDOW),
    ):
        wire = await served.wire()
        stall(wire)
        with trio.fail_after(2):
            await wire.aclose()
        assert isinstance(wire.connection_exc, ClientStalled)


async def test_a_cancelled_close_cuts() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        stall(wire)
        with trio.move_on_after(0.05) as impatience:
            await wire.aclose()
        assert impatience.cancelled_caught
        assert wire.stream_closed.is_set()
        assert await client.is_cut()


async def test_a_cancelled_receive_loses_nothing() -> None:
    got: list[str] = []
    enough = trio.Event()

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        while True:
            message = None
            with trio.move_on_after(0.0001):
                message = await connection.receive()
                if message is None:
                    return
            if isinstance(message, TextFrame):
                got.append(message.text)
                if len(got) == 300:
                    enough.set()

    async with edge_of(serve) as edge, opened(edge.port) as client:
        for number in range(300):
            whole = frame(TEXT, b"%d" % number)
            await client.send(whole[:3])
            await client.send(whole[3:])
        with trio.fail_after(5):
            await enough.wait()
    assert got == [str(number) for number in range(300)]


async def test_a_sender_that_is_cancelled_at_any_moment_tears_no_frame() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port, window_bytes=SMALL_WINDOW) as client:
        wire = await served.wire()
        sent = 0

        async def speak() -> None:
            nonlocal sent
            while await wire.room():
                wire.put(b"x" * 3000)
                sent += 1

        for _ in range(5):
            with trio.move_on_after(0.02):  # an interrupt cancels the turn
                await speak()
            wire.put_first(b"flush")
            for _ in range(10):
                assert await client.read_text() in (b"x" * 3000, b"flush")
        wire.close_soon()
        texts, code = await all_texts(client)
        assert code == 1000
        assert set(texts) <= {b"x" * 3000, b"flush"}
        assert len(texts) + 50 == sent + 5


async def test_unread_messages_make_the_client_wait_and_not_the_memory_grow() -> None:
    came = trio.Event()
    go_on = trio.Event()
    heard: list[int] = []
    wires: list[WireConnection] = []

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        wires.append(connection)
        came.set()
        await go_on.wait()
        while isinstance(message := await connection.receive(), TextFrame):
            heard.append(len(message.text))

    async with edge_of(serve) as edge, opened(edge.port) as client:
        await came.wait()
        message = frame(TEXT, b"x" * 30_000)
        sent = 0
        with trio.move_on_after(0.5) as blocked:
            while sent < 2000:  # 60 MB, of which the kernel takes a few
                await client.send(message)
                sent += 1
        assert blocked.cancelled_caught
        assert wires[0].unread == 0
        assert len(wires[0].protocol.reader.buffer) == 0
        go_on.set()
        with trio.fail_after(5):
            while len(heard) < sent:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert set(heard) == {30_000}


async def test_one_read_bounds_what_is_parsed_ahead() -> None:
    served = Listening()
    waiting: list[int] = []
    served.hear = lambda wire, _: waiting.append(wire.unread)
    async with edge_of(served) as edge, opened(edge.port) as client:
        await client.send(frame(TEXT, b"") * 20_000)
        await served.until_heard(20_000)
    assert max(waiting) <= 16 * 1024 // 6


async def test_a_client_that_closes_right_after_the_handshake_is_served_and_answered() -> None:
    served = 0

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        nonlocal served
        message = await connection.receive()
        assert message == TextFrame("last words")
        assert await connection.receive() is None
        served += 1

    async with edge_of(serve) as edge:
        for _ in range(300):
            async with opened(edge.port) as client:
                await client.send(frame(TEXT, b"last words"), frame(CLOSE, close_payload(1000)))
                assert await client.read_close() == 1000
        assert served == 300


async def test_what_was_sent_before_a_reset_is_still_heard() -> None:
    came = trio.Event()
    has_gone = trio.Event()
    done = trio.Event()

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        came.set()
        await has_gone.wait()
        position = 0
        while connection.is_open:  # the second or third write finds out
            position = connection.put(b"x" * 1000)
            await trio.lowlevel.checkpoint()
        assert connection.taken_bytes < position
        assert not connection.has_room
        assert await connection.receive() == TextFrame("stop")
        assert await connection.receive() is None
        done.set()

    async with edge_of(serve) as edge:
        async with opened(edge.port) as client:
            await came.wait()
            await client.say(b"stop")
        has_gone.set()
        with trio.fail_after(2):
            await done.wait()


async def test_a_client_that_resets_while_much_waits_for_it_ends_its_connection() -> None:
    served = Listening()
    async with edge_of(served) as edge:
        async with opened(edge.port, window_bytes=SMALL_WINDOW):
            wire = await served.wire()
            last = stall(wire)[-1]
        await served.until_gone(1.0)
        assert wire.taken_bytes < last
        assert wire.buffered_bytes == 0


async def test_closing_a_client_that_is_known_to_be_gone_ends_at_once() -> None:
    came = trio.Event()
    has_gone = trio.Event()
    ended = trio.Event()

    async def serve(connection: WireConnection, _: Upgrade) -> None:
        came.set()
        await has_gone.wait()
        while connection.is_open:
            connection.put(b"x" * 1000)
            await trio.lowlevel.checkpoint()
        connection.put_first(b"nothing")
        connection.ping_soon()
        connection.close_soon(4000)
        assert connection.stream_closed.is_set()
        ended.set()

    async with edge_of(serve) as edge:
        async with opened(edge.port):
            await came.wait()
        has_gone.set()
        with trio.fail_after(2):
            await ended.wait()


async def test_a_client_that_just_goes_ends_its_connection() -> None:
    served = Listening()
    async with edge_of(served) as edge:
        async with opened(edge.port) as client:
            wire = await served.wire()
            await client.send(frame(TEXT, b"half a mess", fin=False))
        await served.until_gone()
        assert served.heard == []
        assert wire.close_code == 1006


async def test_a_ping_is_answered_before_what_waits_and_a_pong_is_noted() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port) as client:
        wire = await served.wire()
        await client.send(frame(PING, b"are you there"))
        assert await client.read_frame() == (PONG, b"are you there")
        heard_s = wire.last_heard_s
        wire.ping_soon()
        assert await client.read_frame() == (PING, b"")
        assert wire.last_heard_s == heard_s
        await client.send(frame(PONG))
        with trio.fail_after(2):
            while wire.last_heard_s == heard_s:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert served.heard == []


async def test_an_idle_connection_has_one_task() -> None:
    served = Listening()
    async with edge_of(served) as edge:
        await trio.testing.wait_all_tasks_blocked(0.01)
        before = trio.lowlevel.current_statistics().tasks_living
        async with opened(edge.port):
            wire = await served.wire()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert trio.lowlevel.current_statistics().tasks_living == before + 1
            stall(wire)  # into a window that takes it all, sooner or later, or into the buffer
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert trio.lowlevel.current_statistics().tasks_living <= before + 2
        await served.until_gone()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("code", [999, 1005, 1006, 1015, 5000])
async def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port) as client:
        wire = await served.wire()
        with pytest.raises(Exception, match="invalid"):
            wire.close_soon(code)
        wire.put(b"still open")
        assert await client.read_text() == b"still open"
        await client.say(b"still heard")
        await served.until_heard(1)
