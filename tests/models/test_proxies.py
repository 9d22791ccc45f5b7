"""What the environment says of proxies is kept to, and answers stream through them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import pytest
import trio
from attrs import define, field

from tests.fakes.anthropic_answers import Say, Stream
from tests.models.ears import Ears, asking, talking

SETTINGS = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
ANSWER = Stream((Say("a "),) * 5, interval_s=0.01)


@define(eq=False)
class Proxy:
    """A forward proxy for plain HTTP on loopback; notes whom it was asked for."""

    asked: list[str] = field(factory=list[str], init=False)

    async def serve(self, client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            some = await client.receive_some()
            if not some:  # one that was dialled and not used
                return
            head += some
        verb, url, rest = head.split(b" ", 2)
        parts = urlsplit(url.decode())
        assert parts.hostname is not None
        self.asked.append(parts.netloc)
        origin = await trio.open_tcp_stream(parts.hostname, parts.port or 80)
        await origin.send_all(b" ".join((verb, parts.path.encode() or b"/", rest)))
        async with client, origin, trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, client, origin, nursery.cancel_scope)
            nursery.start_soon(self._carry, origin, client, nursery.cancel_scope)

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            async for some in source:
                await sink.send_all(some)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either side may go as it likes
        scope.cancel(reason="one side has gone")


@asynccontextmanager
async def proxying() -> AsyncGenerator[tuple[Proxy, str]]:
    proxy = Proxy()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        yield proxy, f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel(reason="the test is over")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_a_model_is_reached_through_the_proxy_that_the_environment_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = Ears()
    async with proxying() as (proxy, url):
        monkeypatch.setenv(name, url)
        async with talking([ANSWER]) as (api, model):
            await model.stream(asking(), ears)
            assert set(proxy.asked) == {urlsplit(api.url).netloc}
    assert ears.text == "a " * 5


async def test_whom_the_environment_excepts_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ears = Ears()
    async with proxying() as (proxy, url):
        monkeypatch.setenv("all_proxy", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with talking([ANSWER]) as (_, model):
            await model.stream(asking(), ears)
        assert proxy.asked == []
    assert ears.text == "a " * 5
