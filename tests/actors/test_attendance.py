"""Stop is not disconnect: what happens when nobody is there."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from bargein.actors.limits import Limits
from bargein.actors.session import Session
from bargein.protocol.ids import TurnId
from bargein.protocol.turn_state import TurnState
from tests.actors.stage import Stage, Viewer, on_stage

LIMITS = Limits(grace_s=15.0, idle_s=60.0)


async def _answering(stage: Stage, policy: str | None = None) -> tuple[Session, Viewer]:
    session = stage.open()
    viewer = await stage.attend(session)
    if policy is not None:
        await stage.ask(session, viewer, "configure", on_disconnect=policy)
    await stage.ask(session, viewer, "say", text="one")
    await stage.model.line(0)
    return session, viewer


def _turn(session: Session) -> TurnState:
    return session.state.turns[TurnId("turn_1")]


async def _stopped_after_s(session: Session, since_s: float) -> float:
    with trio.fail_after(500):
        while not _turn(session).cancelled:  # noqa: ASYNC110 - nobody is there to be told
            await trio.sleep(0.01)
    return trio.current_time() - since_s


@pytest.mark.parametrize(("policy", "after_s"), [(None, 15), ("grace", 15), ("cancel", 0)])
async def test_a_turn_that_nobody_watches_is_interrupted(
    policy: str | None, after_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage(limits=LIMITS) as stage:
        session, viewer = await _answering(stage, policy)
        left_s = trio.current_time()
        await session.detach(viewer)
        assert await _stopped_after_s(session, left_s) == pytest.approx(after_s, abs=0.02)


async def test_a_turn_goes_on_alone_where_the_session_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(limits=LIMITS) as stage:
        session, viewer = await _answering(stage, "continue")
        await session.detach(viewer)
        await trio.sleep(1000)
        assert not session.ending
        line = await stage.model.line(0)
        line.says("still here")
        line.ends()
        with trio.fail_after(200):
            await session.until_ended()
        assert _turn(session).status == "completed"


async def test_who_comes_back_within_the_grace_saves_the_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(limits=LIMITS) as stage:
        session, viewer = await _answering(stage)
        await session.detach(viewer)
        await trio.sleep(14)
        again = await stage.attend(session)
        await trio.sleep(100)
        line = await stage.model.line(0)
        assert not line.cancelled
        line.ends()
        await again.event("turn.trace")


async def test_a_watcher_keeps_no_turn_alive(autojump_clock: trio.testing.MockClock) -> None:
    async with on_stage(limits=LIMITS) as stage:
        session, viewer = await _answering(stage)
        watcher = await stage.attend(session, role="watch")
        left_s = trio.current_time()
        await session.detach(viewer)
        assert await _stopped_after_s(session, left_s) == pytest.approx(15, abs=0.02)
        await watcher.event("cancel.ack")
        assert not session.ending


async def test_a_session_without_connections_leaves_memory_and_is_there_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(limits=LIMITS) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await session.detach(viewer)
        await session.detach(viewer)  # to leave twice hurts nobody
        with trio.fail_after(61):
            await session.until_ended()
        assert stage.sessions.live == 0
        again = await stage.sessions.enter(session.id)
        assert again is not session
        assert again.state.connections == 0
        assert again.state.seq == session.state.seq


async def test_words_that_wait_are_kept_while_nobody_is_there_to_hear_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(limits=LIMITS) as stage:
        session, viewer = await _answering(stage)
        await stage.ask(session, viewer, "say", text="two", when_busy="queue")
        await session.detach(viewer)
        with trio.fail_after(200):
            await session.until_ended()
        assert len(stage.model.lines) == 1
        again = await stage.sessions.enter(session.id)
        assert again.state.queue == ["turn_2"]
        watcher = await stage.attend(again, role="watch")
        await trio.sleep(5)
        assert len(stage.model.lines) == 1
        driver = await stage.attend(again)
        (await stage.model.line(1)).ends()
        await driver.event("turn.start", input="two")
        await watcher.event("turn.trace")
