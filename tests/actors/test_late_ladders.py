from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio.testing

from bargein.actors.session import Session
from tests.actors.stage import on_stage


async def test_a_ladder_that_begins_late_is_finished_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="one")
        await stage.model.line(0)
        session.interrupt("operator", "the machine was busy")
        # All that the ladder may wait for has passed before its first rung is written.
        autojump_clock.jump(10)
        ack = await viewer.event("cancel.ack")
        assert ack["payload"]["took_ms"] >= 10_000
        assert viewer.closed is None


@pytest.mark.parametrize(
    ("when_busy", "outcome"), [("interrupt", "started"), ("rollback", "rolled_back")]
)
async def test_words_that_have_stopped_a_turn_say_so_though_its_ladder_was_quicker(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    when_busy: str,
    outcome: str,
) -> None:
    del autojump_clock
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="one")
        await stage.model.line(0)
        ladder = session.interrupt("user", "say")
        assert ladder is not None
        await viewer.event("cancel.ack")
        cut_in: Callable[..., Any] = lambda *_: ladder  # noqa: E731 - as when it was stopped by them
        monkeypatch.setattr(Session, "_cut_in", cut_in)
        reply = await stage.ask(session, viewer, "say", text="two", when_busy=when_busy)
        assert reply["result"] == {
            "turn_id": "turn_2",
            "outcome": outcome,
            "interrupted": ladder.turn_id,
        }
        start = await viewer.until(
            lambda frame: frame["type"] == "turn.start" and frame["turn_id"] == "turn_2"
        )
        assert start["payload"].get("replaces") == (
            ladder.turn_id if when_busy == "rollback" else None
        )
