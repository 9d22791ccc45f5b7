"""A history that is given up between the greeting of a client and its attachment."""

from __future__ import annotations

import pytest
from attrs import evolve

from bargein.actors.place import Place
from bargein.actors.registry import Sessions
from bargein.protocol.ids import Epoch, Seq, SessionId
from tests.e2e.harness import world
from tests.fakes.anthropic_answers import saying


async def test_who_was_greeted_with_a_history_that_is_no_more_gets_nothing_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world([saying("Hello")]) as w:
        alice = await w.attach()
        assert await alice.converse("Hello")
        await alice.leave()
        find = Sessions.find

        async def found_before(
            sessions: Sessions, session_id: SessionId, owner: tuple[str, str | None], seen: Seq
        ) -> Place | None:
            place = await find(sessions, session_id, owner, seen)
            return None if place is None else evolve(place, epoch=Epoch("before"))

        with monkeypatch.context() as patch:
            patch.setattr(Sessions, "find", found_before)
            late = await w.dial(alice.session_id, after=2, epoch="before")
            assert await late.until_closed() == 4000
        assert late.hello["resumed"] is True
        assert late.events == []
        w.clients.remove(late)  # what it was greeted with is stored nowhere
        back = await w.back(alice)
        assert back.hello["resumed"] is True
