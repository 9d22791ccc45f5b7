"""Strikes, and what else is true of frames beside the table of faults."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from bargein.gateway.settings import Limits
from tests.e2e.harness import world
from tests.e2e.scripts import BRIEF
from tests.faults.frames import BAD_FRAMES, BadFrame, command
from tests.faults.offender import SCRIPT, offender

STRIKES_MOST = Limits().strikes_most


def names(case: BadFrame) -> str:
    return f"{case.row} {case.name}"


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


async def test_an_error_names_the_command_where_its_id_could_be_read():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        refused = await alice.ask("fly", id="f1")
        assert refused["error"]["code"] == "unknown_command"
        refused = await alice.ask("ack", id="f2", seq="x")
        assert refused["error"]["param"] == "seq"


async def test_a_timeline_type_from_a_client_appends_nothing():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        before = len(await w.timeline(alice.session_id))
        for type_ in ("action.committed", "cancel.ack", "session.closed", "turn.start"):
            refused = await alice.ask(type_, payload={}, seq=1)
            assert refused["error"]["code"] == "unknown_command"
        assert len(await w.timeline(alice.session_id)) == before
