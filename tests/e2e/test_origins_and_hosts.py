"""Where a request may come from, and by which name it may call us: every pair, without auth."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import frozen

from bargein.gateway.site import CONSOLE_POLICY
from tests.e2e.harness import World, world
from tests.gateway.raw_client import ask, request, status

ORIGINS_ALLOWED = ("https://app.example", "https://app.example:8443")
HOSTS_ALLOWED = ("agent.example",)


@frozen
class Origin:
    name: str
    values: tuple[str, ...]
    status: int


def _good(name: str, value: str) -> Origin:
    return Origin(name, (value,), 101)


def _bad(name: str, value: str) -> Origin:
    return Origin(name, (value,), 403)


ORIGINS = (
    Origin("none, so no page", (), 101),
    _good("loopback by name", "http://localhost:3000"),
    _good("loopback by address", "http://127.0.0.1:5173"),
    _good("loopback, IPv6", "https://[::1]"),
    _good("on the list", "https://app.example"),
    _good("on the list, with its port", "https://app.example:8443"),
    _bad("null: a file, or a sandbox", "null"),
    _bad("another scheme", "http://app.example"),
    _bad("another port", "https://app.example:8444"),
    _bad("a default port that browsers leave out", "https://app.example:443"),
    _bad("upper case, which browsers don't send", "https://APP.example"),
    _bad("a name that begins alike", "https://app.example.evil.example"),
    _bad("a name that ends alike", "https://evilapp.example"),
    _bad("a name below", "https://www.app.example"),
    _bad("a user before the host", "https://app.example@evil.example"),
    _bad("punycode of a look-alike", "https://xn--pp-7ka.example"),
    _bad("a trailing dot", "https://app.example."),
    _bad("a path", "https://app.example/"),
    _bad("a name that begins like loopback", "http://localhost.evil.example"),
    _bad("an address that begins like loopback", "http://127.0.0.1.evil.example"),
    _bad("loopback by another spelling", "http://0x7f000001"),
    _bad("an extension", "chrome-extension://abcdefghijklmnop"),
    _bad("nothing", ""),
    Origin("two", ("http://localhost", "http://localhost"), 400),
)

HOSTS = {
    "localhost": 101,
    "LOCALHOST:8710": 101,
    "127.0.0.1:8710": 101,
    "[::1]:8710": 101,
    "agent.example": 101,
    "agent.example:443": 101,
    "evil.example": 421,  # DNS rebinding: its name leads here, and the browser says so
    "evil.example:8710": 421,
    "localhost.evil.example": 421,
    "agent.example.evil.example": 421,
    "localhost.": 421,
    "127.0.0.2": 421,
    "0.0.0.0:8710": 421,
    "169.254.169.254": 421,
    "user@localhost": 421,
    "": 421,
}

PATHS = ("/", "/healthz", "/readyz", "/metrics", "/protocol.json", "/nope")


def asking(host: str, origin: Origin) -> bytes:
    lines = "".join(f"Origin: {value}\r\n" for value in origin.values)
    return request(Host=host)[:-2] + f"{lines}\r\n".encode()


async def answered(w: World, sent: bytes) -> int:
    """Return the status of an upgrade, without staying for what follows one."""
    async with await trio.open_tcp_stream("127.0.0.1", w.port) as stream:
        await stream.send_all(sent)
        head = b""
        while b"\r\n\r\n" not in head:
            more = await stream.receive_some()
            assert more, head
            head += more
        assert b"Access-Control" not in head
        return status(head)


async def test_every_pair_of_origin_and_host_has_its_answer():
    wrong: list[tuple[str, str, int, int]] = []
    async with world([], origins=ORIGINS_ALLOWED, hosts=HOSTS_ALLOWED) as w:
        for host, host_status in HOSTS.items():
            for origin in ORIGINS:
                expected = origin.status if host_status == 101 else host_status
                if (found := await answered(w, asking(host, origin))) != expected:
                    wrong.append((host, origin.name, expected, found))
    assert wrong == []


async def test_only_health_is_told_by_other_names_and_no_page_opens_itself_to_other_origins():
    async with world([], hosts=HOSTS_ALLOWED) as w:
        for path in PATHS:
            for host, host_status in HOSTS.items():
                sent = (
                    f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\n\r\n"
                )
                answer = await ask(w.port, sent.encode())
                fine = 404 if path == "/nope" else 200
                unchecked = path in ("/healthz", "/readyz")
                expected = fine if host_status == 101 or unchecked else 421
                assert status(answer) == expected, (path, host)


@pytest.mark.parametrize(
    "sent",
    [
        *(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in PATHS[1:]),
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"garbage\r\n\r\n",
        request(Origin="https://evil.example"),
        request(Upgrade=None),
        request(Sec_WebSocket_Version="8"),
        request("/v1/session?after=-1"),
        request("/v1/session?token=x"),
        request(X="y" * 5000),
    ],
)
async def test_every_answer_has_the_headers_that_browsers_are_held_to(sent: bytes):
    await _held_to(sent, policy="default-src 'self'", cache="no-store")


async def test_the_console_is_held_to_a_stricter_policy_and_may_be_kept():
    front = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await _held_to(front, policy=CONSOLE_POLICY, cache="no-cache")
    assert CONSOLE_POLICY.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in CONSOLE_POLICY


async def _held_to(sent: bytes, *, policy: str, cache: str) -> None:
    async with world([]) as w:
        head = (await ask(w.port, sent)).partition(b"\r\n\r\n")[0].decode()
        headers: dict[str, Any] = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == policy
        assert headers["Cache-Control"] == cache
        assert headers["Connection"] == "close"
        assert not [name for name in headers if name.startswith("Access-Control")]
        assert "Server" not in headers


async def test_forwarded_headers_of_a_stranger_change_nothing():
    forged: dict[str, Any] = {
        "X_Forwarded_For": "127.0.0.1",
        "X_Forwarded_Host": "localhost",
        "X_Forwarded_Proto": "https",
        "Forwarded": "for=127.0.0.1;host=localhost",
    }
    async with world([]) as w:
        assert await answered(w, request(Host="evil.example", **forged)) == 421
        assert await answered(w, request(Origin="https://evil.example", **forged)) == 403
