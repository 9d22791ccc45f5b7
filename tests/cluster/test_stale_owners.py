"""A server that stood still, and a client that has seen what others did meanwhile."""

from __future__ import annotations

from bargein.protocol.ids import NOTHING, Seq
from tests.cluster.town import town, until


async def test_who_has_more_than_a_paused_owner_knows_is_greeted_by_what_is_stored() -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await a.open()
        t.living.discard(a.me)  # it stands still: its lease runs out, and it is not told
        caller = await b.attend(session_id)
        seen = caller.viewer.seq
        t.living.add(a.me)
        stale = await a.sessions.find(session_id)
        assert stale is not None
        assert stale.last_seq < seen
        place = await a.sessions.find(session_id, None, seen)
        assert place is not None
        assert place.last_seq >= seen
        assert t.owners[session_id] == b.me
        await until(lambda: a.sessions.live == 0)
        again = await a.attend(session_id)
        assert await again.ask("ping")


async def test_who_claims_to_have_more_than_there_is_finds_the_session_where_it_is() -> None:
    async with town() as t:
        a = await t.build("a")
        session_id = await a.open()
        place = await a.sessions.find(session_id)
        assert place is not None
        assert place.last_seq > NOTHING
        assert await a.sessions.find(session_id, None, Seq(1000)) == place
        assert a.sessions.live == 1
