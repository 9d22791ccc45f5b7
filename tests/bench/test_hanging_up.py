"""Whoever visits the server hangs up, however the visit ends."""

# pyright: reportPrivateUsage=false
# One visit of many is made from inside.

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import trio
import trio.testing
from attrs import define, field

from examples.bench import memory_scenarios, session_scenarios
from examples.bench.diary import Diary
from examples.bench.ear import BargeinEar
from examples.bench.figures import Tally
from examples.bench.ground import Ground
from examples.bench.link import Link
from examples.bench.processes import Cores


@define(eq=False)
class Silence:
    """Links to a server that never says anything, as they are asked for."""

    links: list[Link] = field(factory=list[Link])
    ends: list[socket.socket] = field(factory=list[socket.socket])

    async def connect(self, url: str) -> Link:
        del url
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        self.links.append(Link(trio.SocketStream(trio.socket.from_stdlib_socket(ours))))
        return self.links[-1]

    @property
    def left(self) -> list[int]:
        """The descriptors that are still open."""
        return [link.socket.fileno() for link in self.links if link.socket.fileno() != -1]


@pytest.fixture
def silence() -> Generator[Silence]:
    silence = Silence()
    yield silence
    for end in silence.ends:
        end.close()


def reach(silence: Silence, scenarios: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "connect", silence.connect)


async def test_a_visitor_who_is_called_away_hangs_up(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(silence, memory_scenarios, monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory_scenarios._visit, "ws://nowhere", trio.CapacityLimiter(1))
        await trio.testing.wait_all_tasks_blocked()
        assert len(silence.left) == 1
        nursery.cancel_scope.cancel()
    assert silence.left == []


async def test_who_comes_back_and_hears_nothing_hangs_up(
    silence: Silence, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @asynccontextmanager
    async def staged(*_: object) -> AsyncGenerator[SimpleNamespace]:
        yield SimpleNamespace(url="ws://nowhere/v1/session")

    async def talked(*_: object) -> BargeinEar:
        return BargeinEar(Diary(Tally))

    reach(silence, session_scenarios, monkeypatch)
    monkeypatch.setattr(session_scenarios, "staged", staged)
    monkeypatch.setattr(session_scenarios, "_talk_long", talked)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session_scenarios.replay, Ground(Cores(None, None), tmp_path))
        await trio.testing.wait_all_tasks_blocked()
        assert len(silence.left) == 1
        nursery.cancel_scope.cancel()
    assert silence.left == []
