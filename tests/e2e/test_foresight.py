"""An answer that is begun before the words are final, with the real server and its vendor's API."""

from __future__ import annotations

import trio

from bargein.agents.app import Agent, App
from bargein.agents.voice import Voice
from bargein.speech.foresight import Foresight
from tests.e2e.client import Client
from tests.e2e.harness import eventually, world
from tests.e2e.scripts import by_words
from tests.fakes.anthropic_answers import Hang, Say, Wait, doing, saying

EARLY = App("early", (Agent("clerk"),), voice=Voice(foresight=Foresight(stable_s=0.05)))
MODEL_S = 0.4


async def said(client: Client, text: str, *, final: bool = False) -> float:
    """Report words after which nobody speaks; return when."""
    kind, revision = ("asr.final", 1) if final else ("asr.partial", 0)
    await client.ask(kind, utterance_id="u1", revision=revision, text=text)
    return trio.current_time()


async def test_the_answer_is_there_when_the_words_are_final():
    slow = doing(Wait(MODEL_S), Say("Here they are."))
    async with world(by_words({"Show": slow}), app=EARLY) as w:
        alice = await w.attach()
        await alice.ask("configure", voice=True)
        await said(alice, "Show me the funds")
        await eventually(lambda: w.exchange_about("Show me the funds"))
        assert alice.find("turn.start") is None
        start = await alice.until("turn.start")
        token = await alice.until("model.token", turn_id=start.turn_id)
        assert token.payload["text"] == "Here they are."
        await alice.until("turn.trace", turn_id=start.turn_id)
        assert len(w.api.exchanges) == 1
        (end,) = [f for f in alice.events if f.type == "model.end"]
        assert end.payload["stop_reason"] == "end_turn"


async def test_other_words_close_the_first_stream_and_nobody_sees_what_it_said():
    scenes = {
        "Show me the f": doing(Say("Never seen. "), Hang()),
        "Show me the b": saying("Here they are."),
    }
    async with world(by_words(scenes), app=EARLY) as w:
        alice = await w.attach()
        await alice.ask("configure", voice=True)
        await said(alice, "Show me the funds")
        first = await eventually(lambda: w.exchange_about("Show me the funds"))
        await eventually(lambda: first.tokens_sent)
        await said(alice, "Show me the bonds.", final=True)
        with trio.fail_after(10):
            await first.gone()
        start = await alice.until("turn.start", input="Show me the bonds.")
        await alice.until("turn.trace", turn_id=start.turn_id)
        assert alice.answer_of(start.turn_id or "") == "Here they are."
        assert "Never seen" not in "".join(frame.text for frame in alice.frames)
        stored = b"".join(event.frame for event in await w.timeline(alice.session_id))
        assert b"Never seen" not in stored
