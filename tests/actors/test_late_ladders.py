from __future__ import annotations

import trio.testing

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
