"""A bug in what takes a model's stream apart: it ends one turn, and nothing else."""

from __future__ import annotations

import pytest

from bargein.models.http1 import Framing
from bargein.models.message_stream import MessageStream
from tests.e2e.harness import world
from tests.e2e.scripts import BRIEF, FOR_EVER, PACE_S, by_words, words
from tests.fakes.anthropic_answers import Say, Wait, doing, saying

PLANTED = "planted"
CANARY = "cuckoo"
A_WHILE_S = 1.0
"""So that it is the one reader of all streams that meets what is wrong."""


class Bug(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.parametrize("kind", [LookupError, Bug])
async def test_other_streams_and_later_ones_live(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    read = MessageStream.read

    def trips(self: MessageStream, raw: bytes, framing: Framing) -> bool:
        if CANARY.encode() in raw:
            raise kind(PLANTED)
        return read(self, raw, framing)

    monkeypatch.setattr(MessageStream, "read", trips)
    long = saying(*words(50), interval_s=PACE_S)
    broken = doing(Say("I "), Wait(A_WHILE_S), Say(CANARY))
    script = by_words({"Long": long, "For ever": FOR_EVER, "Bug": broken}, BRIEF)
    async with world(script) as w:
        w.forgiven |= {"model.raised"}
        alice, bob, carol = [await w.attach() for _ in range(3)]
        whole = (await alice.say("Long"))["result"]["turn_id"]
        lasting = (await bob.say("For ever"))["result"]["turn_id"]
        for client, turn_id in ((alice, whole), (bob, lasting)):
            await client.until("model.token", turn_id=turn_id)
        failed = await carol.converse("Bug")
        end = await carol.until("response.end", turn_id=failed)
        assert end.payload["status"] == "failed"
        await carol.converse("Hi")  # a later one
        await alice.until("turn.trace", turn_id=whole)
        assert alice.answer_of(whole) == "".join(words(50))
        assert (await bob.ask("interrupt"))["result"]["turn_id"] == lasting
        assert [line for line in w.logs if line["event"] == "model.raised"]
        assert not [frame for frame in carol.frames if PLANTED in frame.text]
