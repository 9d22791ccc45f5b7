"""`bargein sessions erase` beside a server that serves: live sessions end, others go on."""

from __future__ import annotations

from pathlib import Path

import trio
from click.testing import CliRunner, Result

from bargein.server import main
from tests.e2e.client import Client
from tests.e2e.harness import world
from tests.e2e.scripts import FOR_EVER, by_words


def erase(principal: str, path: Path) -> Result:
    arguments = ["sessions", "erase", "--principal", principal, "--store", f"sqlite:///{path}"]
    return CliRunner().invoke(main, arguments)


async def test_live_sessions_are_ended_with_4104_and_erased_and_the_server_goes_on(
    tmp_path: Path,
):
    path = tmp_path / "a.sqlite3"
    async with world(by_words({"long": FOR_EVER}), store=path) as w:
        idle, busy = await w.attach(), await w.attach()
        await idle.converse("Hi")
        await busy.say("long")
        await busy.until("model.token")
        principal: str = idle.hello["you"]["principal"]
        result = await trio.to_thread.run_sync(erase, principal, path)
        assert (result.exit_code, result.output) == (0, "2 sessions erased\n")
        for client in (idle, busy):
            assert await client.until_closed() == 4104
            assert await w.timeline(client.session_id) == []
            await assert_gone(await w.dial(client.session_id, after=1, epoch=client.epoch))
        w.clients.clear()  # there is nothing left to hold what they saw against
        again = await w.attach()
        await again.converse("Hi")
        rows = await w.store.sessions_of(principal, None, limit=9)
        assert [row.session_id for row in rows] == [again.session_id]


async def assert_gone(client: Client) -> None:
    assert await client.until_closed() == 4104
