from __future__ import annotations

import gc
from pathlib import Path

import pytest

from bargein.actors.session import Session
from tests.e2e.harness import eventually, text_of, world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words, words
from tests.fakes.anthropic_answers import saying


def in_memory(session_id: str) -> bool:
    """Look through everything that is alive in this process."""
    gc.collect()
    return any(isinstance(one, Session) and one.id == session_id for one in gc.get_objects())


@pytest.mark.parametrize("stored", ["memory", "sqlite"])
async def test_an_idle_session_leaves_memory_and_comes_back_whole(stored: str, tmp_path: Path):
    store = tmp_path / "a.sqlite3" if stored == "sqlite" else None
    async with world([BRIEF], store=store, idle_s=0.05, grace_s=0.01) as w:
        alice = await w.attach()
        await alice.ask("configure", on_disconnect="cancel")
        await alice.converse("Hi")
        assert in_memory(alice.session_id)
        await alice.leave()
        await eventually(lambda: not in_memory(alice.session_id))

        back = await w.back(alice)
        assert back.hello["resumed"] is True
        assert back.epoch == alice.epoch
        assert in_memory(alice.session_id)
        turn_id = await back.converse("And again")
        assert turn_id == "turn_2"
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told == ["Hi", "Very well.", "And again"]
        view = (await back.ask("projection", name="session"))["result"]
        assert view["config"]["on_disconnect"] == "cancel"
        assert view["turns"] == 2


async def test_a_session_stays_in_memory_while_somebody_only_watches():
    async with world([BRIEF], idle_s=0.05, grace_s=0.01) as w:
        alice = await w.attach()
        watcher = await w.attach(alice.session_id, role="watch")
        await alice.leave()
        await watcher.until("session.detached")
        with pytest.raises(TimeoutError):
            await eventually_gone(alice.session_id, within_s=0.3)
        await watcher.ask("ping")


async def eventually_gone(session_id: str, *, within_s: float) -> None:
    try:
        await eventually(lambda: not in_memory(session_id), within_s=within_s)
    except Exception as error:
        raise TimeoutError from error


async def test_a_session_that_finishes_its_turn_alone_leaves_memory_after_it():
    answer = saying(*words(30), interval_s=0.01)
    async with world([answer], idle_s=0.05, grace_s=0.01) as w:
        alice = await w.attach()
        await alice.ask("configure", on_disconnect="continue")
        turn_id = (await alice.say("Go on"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        await alice.leave()
        await eventually(lambda: not in_memory(alice.session_id))
        assert w.api.exchanges[0].finished
        back = await w.back(alice)
        assert alice.answer_of(turn_id) + back.answer_of(turn_id) == "".join(words(30))


async def test_whoever_comes_while_a_session_leaves_memory_is_served():
    async with world([BRIEF], idle_s=0, grace_s=0) as w:
        alice = await w.attach()
        for _ in range(50):
            await alice.cut()
            alice = await w.back(alice)
        await alice.converse("Still there?")


async def test_words_that_wait_survive_the_sleep_of_their_session():
    async with world(by_words({"Long": FOR_EVER}), idle_s=0.05, grace_s=0) as w:
        alice = await w.attach()
        await alice.say("Long story")
        await alice.until("model.token")
        queued = await alice.say("Second", when_busy="queue")
        await alice.cut()
        await eventually(lambda: not in_memory(alice.session_id))
        back = await w.back(alice)
        turn_id = queued["result"]["turn_id"]
        await back.until("turn.trace", turn_id=turn_id)
        assert back.answer_of(turn_id) == "Very well."
