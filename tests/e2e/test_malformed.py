from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field

from bargein.gateway.settings import Limits
from tests.e2e.client import Client
from tests.e2e.harness import FREE_LIMITS, World, world
from tests.e2e.malformed import BAD_FRAMES, BREACHES, ODD_TEXT, BadFrame, Breach, command
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words, words
from tests.fakes.anthropic_answers import saying
from tests.gateway.raw_client import (
    CLOSE,
    CONT,
    DEADLINE_S,
    PING,
    PONG,
    TEXT,
    RawClient,
    frame,
    opened,
)

STRIKES_MOST = Limits().strikes_most
NEIGHBOURS_WORDS = words(40)
SCRIPT = by_words(
    {"Neighbour": saying(*NEIGHBOURS_WORDS, interval_s=0.004), "Long": FOR_EVER}, BRIEF
)


@define(eq=False)
class Offender:
    """A client by hand, whose own turn is running while it sends what it should not."""

    raw: RawClient
    events: list[dict[str, Any]] = field(factory=list[dict[str, Any]])

    async def next(self) -> dict[str, Any] | int:
        """Return the next frame that is no event, or the code of the close."""
        while True:
            try:
                opcode, payload = await self.raw.read_frame()
            except (EOFError, trio.BrokenResourceError):
                return 1006
            if opcode == CLOSE:
                return int.from_bytes(payload[:2])
            if opcode == PONG:
                continue
            if opcode == PING:
                await self.raw.send(frame(PONG, payload))
                continue
            assert opcode == TEXT
            body: dict[str, Any] = json.loads(payload)
            if "event_id" not in body:
                return body
            self.events.append(body)

    async def until_event(self, type_: str) -> dict[str, Any]:
        with trio.fail_after(DEADLINE_S):
            while not (found := [event for event in self.events if event["type"] == type_]):
                opcode, payload = await self.raw.read_frame()
                body = json.loads(payload)
                assert opcode == TEXT
                if "event_id" in body:
                    self.events.append(body)
        return found[0]

    async def is_well(self) -> None:
        """Check that nothing else was said, that the connection is open and its turn runs."""
        await self.raw.send(command(type="ping", id="alive", nonce="n"))
        answers = [await self.next(), await self.next()]
        kinds = {answer["type"] if isinstance(answer, dict) else answer for answer in answers}
        assert kinds == {"pong", "reply"}, answers
        assert "cancel.requested" not in {event["type"] for event in self.events}


@asynccontextmanager
async def offender(w: World, *, strict: bool = True) -> AsyncGenerator[Offender]:
    offered: dict[str, Any] = {"Sec_WebSocket_Protocol": "bargein.v1"} if strict else {}
    async with opened(w.port, **offered) as raw:
        client = Offender(raw)
        await raw.send(command(type="say", text="Long story"))
        await client.until_event("model.token")
        yield client


async def neighbour(w: World) -> tuple[Client, str]:
    client = await w.attach()
    turn_id = (await client.say("Neighbour's turn"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return client, turn_id


async def undisturbed(client: Client, turn_id: str) -> None:
    await client.until("turn.trace", turn_id=turn_id)
    assert client.answer_of(turn_id) == "".join(NEIGHBOURS_WORDS)
    assert {frame.type for frame in client.frames} >= {"hello", "live", "response.end"}
    assert client.find("error") is None


def names(case: BadFrame | Breach) -> str:
    return f"{case.row} {case.name}"


@pytest.mark.parametrize("case", BAD_FRAMES, ids=names)
async def test_a_bad_frame_is_answered_and_disturbs_nobody(case: BadFrame):
    async with world(SCRIPT) as w:
        alice, turn_id = await neighbour(w)
        async with offender(w, strict=case.strict) as bad:
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


@pytest.mark.parametrize("case", BAD_FRAMES, ids=names)
async def test_ten_strikes_within_a_minute_close_the_connection_with_4101(case: BadFrame):
    async with world(SCRIPT) as w, offender(w, strict=case.strict) as bad:
        await bad.raw.send(case.sent * STRIKES_MOST)
        if not case.strike:
            await bad.raw.send(case.sent * STRIKES_MOST)
            await bad.raw.send(command(type="ping", id="last"))
            while not (is_reply_to(frame := await bad.next(), "last")):
                assert isinstance(frame, dict), frame
            return
        for _ in range(STRIKES_MOST):
            answer = await bad.next()
            assert isinstance(answer, dict), answer
            assert answer["error"]["code"] == case.code
        assert await bad.next() == 4101


def is_reply_to(answer: dict[str, Any] | int, command_id: str) -> bool:
    return (
        isinstance(answer, dict)
        and answer["type"] == "reply"
        and answer["command_id"] == command_id
    )


async def test_nine_strikes_leave_the_connection_open():
    async with world(SCRIPT) as w, offender(w) as bad:
        await bad.raw.send(command(type="fly") * (STRIKES_MOST - 1))
        for _ in range(STRIKES_MOST - 1):
            await bad.next()
        await bad.is_well()


async def test_strikes_are_forgotten_after_a_while():
    limits = Limits(strikes_window_s=0.2)
    async with world(SCRIPT, limits=limits) as w, offender(w) as bad:
        for _ in range(3):
            await bad.raw.send(command(type="fly") * (STRIKES_MOST - 1))
            for _ in range(STRIKES_MOST - 1):
                await bad.next()
            await trio.sleep(0.25)
        await bad.is_well()


@pytest.mark.parametrize("case", BREACHES, ids=names)
async def test_a_breach_of_the_websocket_protocol_closes_that_connection_alone(case: Breach):
    async with world(SCRIPT) as w:
        alice, turn_id = await neighbour(w)
        async with offender(w) as bad:
            session_id = bad.events[0]["session_id"]
            await bad.raw.send(case.sent)
            assert await bad.next() == case.code
        await undisturbed(alice, turn_id)
        back = await w.attach(session_id)  # a client may resume after it
        assert back.hello["session_id"] == session_id
        said = [event.payload["text"] for event in back.events if event.type == "input.text"]
        assert said == ["Long story"]
        assert (await back.ask("interrupt"))["result"]["interrupted"] is True


async def test_an_error_names_the_command_where_its_id_could_be_read():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        refused = await alice.ask("fly", id="f1")
        assert refused["error"]["code"] == "unknown_command"
        refused = await alice.ask("ack", id="f2", seq="x")
        assert refused["error"]["param"] == "seq"


async def test_odd_characters_in_free_text_are_kept_as_they_are():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        turn_id = await alice.converse(ODD_TEXT)
        said = await alice.until("input.text", turn_id=turn_id)
        assert said.payload["text"] == ODD_TEXT
        assert w.api.bodies[0]["messages"][-1]["content"] == ODD_TEXT


async def test_a_timeline_type_from_a_client_appends_nothing():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        before = len(await w.timeline(alice.session_id))
        for type_ in ("action.committed", "cancel.ack", "session.closed", "turn.start"):
            refused = await alice.ask(type_, payload={}, seq=1)
            assert refused["error"]["code"] == "unknown_command"
        assert len(await w.timeline(alice.session_id)) == before


async def test_fragments_that_are_never_finished_end_with_the_heartbeat():
    async with world(SCRIPT, heartbeat_s=0.3) as w:
        alice, turn_id = await neighbour(w)
        offered: dict[str, Any] = {"Sec_WebSocket_Protocol": "bargein.v1"}
        async with opened(w.port, **offered) as raw:
            await raw.send(frame(TEXT, b'{"type":"say",', fin=False))
            await raw.send(frame(CONT, b'"text":"', fin=False))
            assert await raw.read_close() == 4004
        await undisturbed(alice, turn_id)


async def test_websocket_pings_are_answered_one_by_one():
    async with world(SCRIPT, limits=FREE_LIMITS) as w, offender(w) as bad:
        await bad.raw.send(*(frame(PING, b"%d" % number) for number in range(500)))
        pongs: list[bytes] = []
        while len(pongs) < 500:
            opcode, payload = await bad.raw.read_frame()
            if opcode == PONG:
                pongs.append(payload)
        assert pongs == [b"%d" % number for number in range(500)]
        await bad.is_well()
