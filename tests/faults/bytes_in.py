"""Provocations by bytes: frames, breaches of the protocol, requests."""

from __future__ import annotations

from typing import Any, Final

from tests.e2e.harness import text_of
from tests.faults.frames import BAD_FRAMES, BREACHES, ODD_TEXT, BadFrame, Breach
from tests.faults.ground import Ground, Seen, Stage, replying
from tests.faults.offender import neighbour, undisturbed
from tests.faults.table import Row
from tests.faults.trials import Cases, provocation
from tests.gateway.raw_client import CONT, PING, PONG, TEXT, ask, frame, request, status

LONG: Final = "x" * 16 * 1024


def _bad_frames(row: Row) -> list[tuple[str, BadFrame]]:
    return [(case.name, case) for case in BAD_FRAMES if case.row == row.n]


def _breaches(row: Row) -> list[tuple[str, Breach]]:
    return [(case.name, case) for case in BREACHES if case.row == row.n]


@provocation("a bad frame", cases=_bad_frames)
async def bad_frame(here: Ground, case: BadFrame) -> Seen:
    alice, turn_id = await neighbour(here.world, token=here.token)
    bad = await here.offender(strict=case.strict)
    before = await here.types_of(bad.session_id)
    await bad.raw.send(case.sent)
    if case.code is not None:
        answer = await bad.next()
        assert isinstance(answer, dict)
        assert answer["type"] == "error"
        assert answer["command_id"] is None
        error = answer["error"]
        assert (error["code"], error["param"]) == (case.code, case.param)
        assert case.says in error["message"]
        assert error["retryable"] is False
    elif case.row == 7:
        assert (await bad.next())["type"] == "pong"  # type: ignore[index]
    await bad.is_well()
    await undisturbed(alice, turn_id)
    after = await here.types_of(bad.session_id)
    assert set(after[len(before) :]) <= {"model.token"}
    codes: frozenset[str] = frozenset() if case.code is None else frozenset({case.code})
    if case.name == "empty, lenient":  # what a row says of strikes is not true of this one
        assert not await bad.has_a_strike()
        return Seen(codes, session_id=bad.session_id)
    return Seen(codes, session_id=bad.session_id, striking=bad.has_a_strike)


@provocation("a breach", cases=_breaches)
async def breach(here: Ground, case: Breach) -> Seen:
    alice, turn_id = await neighbour(here.world, token=here.token)
    bad = await here.offender()
    await bad.raw.send(case.sent)
    code = await bad.next()
    assert code == case.code
    await undisturbed(alice, turn_id)
    back = await here.attach(bad.session_id)  # a client may resume after it
    assert back.hello["session_id"] == bad.session_id
    said = [event.payload["text"] for event in back.events if event.type == "input.text"]
    assert said == ["Long story"]
    assert (await back.ask("interrupt"))["result"]["interrupted"] is True
    return Seen(closes=frozenset({case.code}), session_id=bad.session_id)


@provocation("odd text")
async def odd_text(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    turn_id = await ann.converse(ODD_TEXT)
    said = await ann.until("input.text", turn_id=turn_id)
    assert said.payload["text"] == ODD_TEXT
    assert text_of(here.api.bodies[0]["messages"][-1]) == ODD_TEXT
    return replying(ann)


@provocation("fragments without an end", Stage(settings={"heartbeat_s": 0.3}))
async def fragments_without_an_end(here: Ground, _: None) -> Seen:
    alice, turn_id = await neighbour(here.world, token=here.token)
    bad = await here.offender()
    await bad.raw.send(
        frame(TEXT, b'{"type":"say",', fin=False), frame(CONT, b'"text":"', fin=False)
    )
    code = await bad.raw.read_close()
    await undisturbed(alice, turn_id)
    return Seen(closes=frozenset({code}), session_id=bad.session_id)


@provocation("a flood of pings")
async def flood_of_pings(here: Ground, _: None) -> Seen:
    bad = await here.offender()
    await bad.raw.send(*(frame(PING, b"%d" % number) for number in range(500)))
    pongs: list[bytes] = []
    while len(pongs) < 500:
        opcode, payload = await bad.raw.read_frame()
        if opcode == PONG:
            pongs.append(payload)
    assert pongs == [b"%d" % number for number in range(500)]
    await bad.is_well()
    return Seen(session_id=bad.session_id, striking=bad.has_a_strike)


# --- requests ---------------------------------------------------------------------------


def _changed(old: bytes, new: bytes) -> bytes:
    return request().replace(old, new, 1)


BAD_REQUESTS: Final[dict[str, tuple[bytes, int]]] = {
    "POST": (_changed(b"GET", b"POST"), 405),
    "no Upgrade": (request(Upgrade=None, Connection=None), 426),
    "version 8": (request(Sec_WebSocket_Version="8"), 400),
    "200 headers": (_changed(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 200 + b"\r\n"), 431),
    "a header of 16 KiB": (request(X=LONG), 431),
    "a request line of 16 KiB": (request("/v1/session?x=" + LONG), 414),
    "two Origins": (request()[:-2] + b"Origin: null\r\nOrigin: null\r\n\r\n", 400),
}

SMUGGLED: Final[dict[str, tuple[bytes, int]]] = {
    "bytes that are no ASCII": (request(X="caf\xe9"), 400),
    "a NUL": (request(X="a\0b"), 400),
    "a second request": (request() + request(), 400),
    "two lengths": (
        request()[:-2] + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        400,
    ),
}


def _of(cases: dict[str, tuple[bytes, int]]) -> Cases:
    def named(_: Row) -> list[tuple[str, Any]]:
        return list(cases.items())

    return named


async def refused(here: Ground, sent: bytes) -> Seen:
    """Send a request that is refused, and check that nobody else notices."""
    alice, turn_id = await neighbour(here.world, token=here.token)
    answer = await ask(here.world.port, sent)
    here.texts.append(answer.decode())
    await undisturbed(alice, turn_id)
    assert len(await here.world.store.session_ids_of("ann", None)) == 1  # type: ignore[attr-defined]
    return Seen(statuses=frozenset({status(answer)}), session_id=alice.session_id)


@provocation("a bad request", cases=_of(BAD_REQUESTS))
async def bad_request(here: Ground, case: tuple[bytes, int]) -> Seen:
    token = f"Authorization: Bearer {here.token}\r\nHost: ".encode()
    seen = await refused(here, case[0].replace(b"Host: ", token, 1))
    assert seen.statuses == {case[1]}
    return seen


@provocation("a smuggled request", cases=_of(SMUGGLED))
async def smuggled_request(here: Ground, case: tuple[bytes, int]) -> Seen:
    seen = await refused(here, case[0])
    assert seen.statuses == {case[1]}
    return seen


@provocation("a foreign subprotocol")
async def foreign_subprotocol(here: Ground, _: None) -> Seen:
    seen = await refused(here, request(Sec_WebSocket_Protocol="graphql-ws", **here.headers))
    assert "bargein.v1" in here.texts[-1]
    return seen
