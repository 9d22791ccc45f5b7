"""The client by hand, over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from tests.gateway.raw_client import DEADLINE_S, RawClient, dial, request


async def secured(
    port: int, context: ssl.SSLContext, *, window_bytes: int | None = None
) -> RawClient:
    """Connect and shake hands."""
    plain = await dial(port, window_bytes=window_bytes)
    assert isinstance(plain.stream, trio.SocketStream)
    stream = trio.SSLStream(
        plain.stream, context, server_hostname="localhost", https_compatible=True
    )
    try:
        with trio.fail_after(DEADLINE_S):
            await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain.stream)
        raise
    return RawClient(stream)


@asynccontextmanager
async def attached(
    port: int,
    context: ssl.SSLContext,
    path: str = "/v1/session",
    *,
    window_bytes: int | None = None,
    **changes: str | None,
) -> AsyncGenerator[RawClient]:
    """Connect and be upgraded; a change replaces a header."""
    client = await secured(port, context, window_bytes=window_bytes)
    try:
        await client.send(request(path, **changes))
        assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
        yield client
    finally:
        await trio.aclose_forcefully(client.stream)
