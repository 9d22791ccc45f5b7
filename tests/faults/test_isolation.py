"""Whatever breaks one session, the others are as if nothing had happened, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs
from trio.testing import MockClock

from bargein.actors.input import Input
from bargein.actors.output import Output
from bargein.actors.pipeline import Pipeline
from bargein.actors.planner import Planner
from bargein.actors.scribe import Scribe
from bargein.protocol.ids import NOTHING, Epoch, SessionId
from tests.actors import stage
from tests.actors.stage import Stage, on_stage


@define(eq=False)
class KnownClock:
    """A clock that shows the test's own time, so that two runs have the same times."""

    def now_s(self) -> float:
        return trio.current_time()

    def utc_ms(self) -> int:
        return round(trio.current_time() * 1000)


@define(eq=False)
class KnownChance:
    """Ids by number, so that two runs have the same."""

    given: int = 0

    def session_id(self) -> SessionId:
        self.given += 1
        return SessionId(f"sess_{self.given}")

    def epoch(self) -> Epoch:
        return Epoch("epoch")


def endlessly() -> None:
    """Call itself until there is no stack left."""
    endlessly()


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


PLACES: dict[str, tuple[type[Any], str]] = {
    "input": (Input, "_receive"),
    "planner": (Planner, "_obey"),
    "pipeline": (Pipeline, "_perform"),
    "output": (Output, "_write_all"),
    "the writing of an event": (Scribe, "write"),
    "the end of a batch": (Scribe, "commit"),
}

ERRORS: dict[str, Callable[[], Callable[[], None]]] = {
    "an exception": lambda: raising(ValueError("a bug")),
    "a group": lambda: raising(
        ExceptionGroup("several", [KeyError("one"), ExceptionGroup("inner", [OSError("two")])])
    ),
    "no stack left": lambda: endlessly,
    "no memory left": lambda: raising(MemoryError()),
    "an assertion": lambda: raising(AssertionError("never")),
    "a lone surrogate": lambda: raising(ValueError("\ud800")),
}


@define(eq=False)
class Mine:
    """Goes off once, when it is armed: the first call that comes raises."""

    act: Callable[[], None] | None = None
    went_off: bool = field(default=False)

    def over(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            if self.act is not None:
                act, self.act, self.went_off = self.act, None, True
                act()
            return method(*args)

        return called


async def others(mine: Mine, act: Callable[[], None] | None) -> list[list[bytes]]:
    """Run three sessions, in one of which *act* goes off; return what the others have stored."""
    with capture_logs():  # how a crash is logged is no part of this
        return await _others(mine, act)


async def _others(mine: Mine, act: Callable[[], None] | None) -> list[list[bytes]]:
    async with on_stage() as there:
        broken, *sound = [there.open() for _ in range(3)]
        victim = await there.attend(broken)
        viewers = [await there.attend(session) for session in sound]
        for number, (session, viewer) in enumerate(zip(sound, viewers, strict=True)):
            await there.ask(session, viewer, "say", text="First", id="first")
            (await there.model.line(number)).says("So ")  # these turns run while it goes off
        await trio.testing.wait_all_tasks_blocked()
        mine.act = act
        if act is not None:
            await there.send(broken, victim, "say", text="Boom", id="boom")
            await trio.testing.wait_all_tasks_blocked()
        for number, (session, viewer) in enumerate(zip(sound, viewers, strict=True)):
            there.model.lines[number].says("it goes.")
            there.model.lines[number].ends()
            await viewer.event("turn.trace")
            asked_before = len(there.model.lines)
            await there.ask(session, viewer, "say", text="Second", id="second")
            line = await there.model.line(asked_before)
            line.says("Very well.")
            line.ends()
            await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
            assert viewer.closed is None
        if act is not None:
            assert await victim.until_closed() == (4000, "internal")
            await broken.until_ended()
        return [stored_of(there, session.id) for session in sound]


def stored_of(there: Stage, session_id: SessionId) -> list[bytes]:
    return [event.frame for event in there.store.shelf.events(session_id, NOTHING, 1000)]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", PLACES)
async def test_whatever_is_raised_in_one_session_the_others_are_byte_for_byte_as_without_it(
    place: str, error: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    monkeypatch.setattr(stage, "SystemClock", KnownClock)
    monkeypatch.setattr(stage, "SystemChance", KnownChance)
    undisturbed = await others(Mine(), None)
    assert [len(timeline) > 20 for timeline in undisturbed] == [True, True]
    mine, (owner, name) = Mine(), PLACES[place]
    with patch.object(owner, name, mine.over(getattr(owner, name))):
        disturbed = await others(mine, ERRORS[error]())
    assert mine.went_off
    assert disturbed == undisturbed
