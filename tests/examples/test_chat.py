from __future__ import annotations

from pathlib import Path

from bargein.agents.loading import load_app
from tests.e2e.harness import last_words, world
from tests.e2e.process import server_process
from tests.e2e.scripts import BRIEF
from tests.project.tree import ROOT

APP = f"{ROOT / 'examples' / 'chat.py'}:app"


async def test_the_smallest_app_talks_without_a_key(tmp_path: Path) -> None:
    async with server_process(tmp_path, BARGEIN_APP=APP, BARGEIN_SCREENPLAY="") as server:
        client = await server.attach()
        turn = await client.converse("Hello!")
        assert client.answer_of(turn).startswith("Hello! I'm the scripted model")
        assert not any(event.type == "plan.start" for event in client.events)


async def test_the_users_words_reach_the_model_unchanged() -> None:
    words = '  What\'s 2 < 3?\n"quoted" --  and ünïcode \N{PARTY POPPER} '
    async with world([BRIEF], app=load_app(APP)) as w:
        client = await w.attach()
        turn = await client.converse(words)
        assert client.answer_of(turn) == "Very well."
        assert [last_words(exchange) for exchange in w.api.exchanges] == [words]
        (exchange,) = w.api.exchanges
        assert len(exchange.body["messages"]) == 1
        assert "tools" not in exchange.body
