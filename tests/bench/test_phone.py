"""A phone against a server of another make, which says what it is told to."""

# pyright: reportPrivateUsage=false
# That a connection stands is for the phone alone to know.

from __future__ import annotations

from random import Random

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from examples.bench.diary import Diary
from examples.bench.ear import BargeinEar
from examples.bench.figures import Tally
from examples.bench.ground import until
from examples.bench.phone import Phone
from examples.bench.readers import Readers

LIMIT_S = 20.0
LOOK_S = 0.005


async def test_a_user_counts_as_connected_when_the_session_is_live_and_no_longer_than_it_stands():
    tally = Tally()
    shaken, live, bye = trio.Event(), trio.Event(), trio.Event()

    async def say(request: WebSocketRequest) -> None:
        socket = await request.accept(subprotocol="bargein.v1")
        shaken.set()
        try:
            await live.wait()
            await socket.send_message('{"type":"live"}')
            await bye.wait()
            await socket.aclose(4000, "drain")
        except ConnectionClosed:
            return

    diary = Diary(lambda: tally)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, say, "127.0.0.1", 0, None)
            readers = Readers()
            nursery.start_soon(readers.run)
            url = f"ws://127.0.0.1:{server.port}/v1/session"
            phone = Phone(url, BargeinEar(diary), diary, readers, Random(1))  # noqa: S311
            nursery.start_soon(phone.run)
            await shaken.wait()
            # The upgrade is answered before the ear has heard anything.
            await until(lambda: phone._standing, LOOK_S)
            assert not phone.connected
            live.set()
            await diary.live.wait()
            assert phone.connected
            bye.set()
            await until(lambda: phone.lost is not None, LOOK_S)
            assert not phone.connected
            nursery.cancel_scope.cancel()
