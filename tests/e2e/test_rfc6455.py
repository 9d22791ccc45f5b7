"""RFC 6455 row by row, against the real server, by bytes on a socket."""

from __future__ import annotations

import json
from contextlib import suppress
from math import inf
from typing import Any

import pytest
import trio

from tests.e2e.harness import FREE_LIMITS, World, world
from tests.e2e.rfc6455_cases import CASES, Case
from tests.gateway.raw_client import CLOSE, PONG, TEXT, RawClient, opened

OFFERED: dict[str, Any] = {"Sec_WebSocket_Protocol": "bargein.v1"}


async def answers_of(raw: RawClient, count: float) -> tuple[list[str], int | None]:
    """Read so many answers, or to the end; return them, and the code of the server's close."""
    answers: list[str] = []
    while len(answers) < count:
        opcode, payload = await raw.read_frame()
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2]) if payload else 1005
            assert await raw.is_cut()
            return answers, code
        if opcode == PONG:
            answers.append(f"PONG:{payload.decode()}")
            continue
        assert opcode == TEXT
        body = json.loads(payload)
        match body["type"]:
            case "pong":
                answers.append(f"pong:{body['nonce']}")
            case "error":
                answers.append(f"error:{body['error']['code']}")
            case other:
                assert other in ("hello", "live") or "event_id" in body
    return answers, None


async def outcome(w: World, case: Case, *, bytewise: bool = False) -> tuple[list[str], int | None]:
    async with opened(w.port, **OFFERED) as raw:

        async def send(sent: bytes) -> None:
            step = 1 if bytewise else max(1, len(sent))
            with suppress(trio.BrokenResourceError):  # the server may close before it has all
                for place in range(0, len(sent), step):
                    await raw.send(sent[place : place + step])
                    if bytewise:
                        await trio.testing.wait_all_tasks_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, case.sent)
            answers, code = await answers_of(raw, len(case.answers))
            assert code is None, answers
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, case.then)
            more, code = await answers_of(raw, inf)
            nursery.cancel_scope.cancel()
        return answers + more, code


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_frame_leads_to_what_the_table_says(case: Case):
    async with world([], limits=FREE_LIMITS, deadline_s=30) as w:
        assert await outcome(w, case) == (list(case.answers), case.code), case.why
        # Whatever it was, the next client is served.
        assert await outcome(w, CASES[0]) == (list(CASES[0].answers), 1000)


async def test_no_way_of_cutting_the_bytes_changes_the_outcome():
    short = [case for case in CASES if len(case.sent + case.then) < 120]
    assert len(short) > 40
    async with world([], limits=FREE_LIMITS, deadline_s=60) as w:
        for case in short[::4]:
            found = await outcome(w, case, bytewise=True)
            assert found == (list(case.answers), case.code), case.name


def test_the_table_has_a_reason_for_each_row_and_no_row_twice():
    assert len(CASES) >= 40
    assert all(case.why for case in CASES)
    assert (
        len({case.name for case in CASES})
        == len({case.sent + case.then for case in CASES})
        == len(CASES)
    )
