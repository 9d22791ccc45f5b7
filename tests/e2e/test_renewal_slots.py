"""How model slots are shared, changed while turns have them and wait for them."""

from __future__ import annotations

from typing import Any

from bargein.gateway.settings_groups import Slots
from tests.e2e.client import Client
from tests.e2e.harness import World, last_words, world
from tests.e2e.renewals import shows
from tests.e2e.scripts import FOR_EVER, by_words
from tests.e2e.test_quotas import served, speaking
from tests.fakes.tokens import SHARED

SCRIPT = by_words({"Long": FOR_EVER})


def short(model_slots: int, tiers: dict[str, dict[str, int]] | None = None) -> dict[str, Any]:
    return {**served(tiers=tiers, turns_most=100), "model_slots": model_slots}


async def comes(w: World, name: str, tier: str = "usual") -> Client:
    return await w.attach(token=SHARED.sign(name, tier=tier))


async def waits(client: Client) -> None:
    """Say something, for which there is no slot."""
    await client.say("Hello")
    await client.until("turn.start")
    assert client.find("model.start") is None


@shows("model_slots")
async def test_other_slots_are_there_at_once_and_none_is_taken_away():
    async with world(SCRIPT, **short(1)) as w:
        ann, bob = await comes(w, "ann"), await comes(w, "bob")
        await speaking(ann)
        await waits(bob)
        await w.renew(model_slots=2)
        await bob.until("turn.trace")
        await speaking(bob)
        await w.renew(model_slots=1)
        assert [c.find("cancel.requested") for c in (ann, bob)] == [None, None]
        cid = await comes(w, "cid")
        await waits(cid)
        await ann.ask("interrupt")
        assert cid.find("model.start") is None
        await bob.ask("interrupt")
        await cid.until("turn.trace")


@shows("quotas.rank", "slots.preempted_most")
async def test_ranks_and_how_often_a_turn_may_be_put_off_hold_for_the_next_that_asks():
    async with world(SCRIPT, slots=Slots(preempted_most=0), **short(1, {"low": {"rank": 0}})) as w:
        ann, bob = await comes(w, "ann", "low"), await comes(w, "bob")
        await speaking(ann)
        await waits(bob)
        await bob.ask("interrupt")
        await w.renew(quotas={"rank": 1})
        await bob.say("Hello")
        await bob.ask("interrupt")
        assert ann.find("cancel.requested") is None
        await w.renew(slots={"preempted_most": 1})
        await bob.converse("Hello")
        assert ann.find("cancel.requested", by="preempted")
        await ann.until("turn.start", continues="turn_1")


@shows("slots.waiting_most", "slots.wait_s")
async def test_how_many_may_wait_and_how_long_holds_for_the_next_words():
    async with world(SCRIPT, **short(1)) as w:
        ann, bob = await comes(w, "ann"), await comes(w, "bob")
        await speaking(ann)
        for name, least, usual in (("waiting_most", 0, 200), ("wait_s", 0.01, 60.0)):
            await w.renew(slots={name: least})
            refused = await bob.say("Hello")
            assert refused["error"]["code"] == "overloaded"
            assert refused["error"]["param"] == "model_slots"
            await w.renew(slots={name: usual})
        await waits(bob)


@shows("slots.aging_s")
async def test_those_who_wait_age_as_fast_as_is_said_last():
    # Nobody is put off: by its age a turn comes first, and a higher rank would stop it at once.
    slots = Slots(aging_s=1000.0, preempted_most=0)
    async with world(SCRIPT, slots=slots, **short(1, {"high": {"rank": 1}})) as w:
        mia, ann, bob = (
            await comes(w, "mia", "high"),
            await comes(w, "ann"),
            await comes(w, "bob", "high"),
        )
        await speaking(mia)
        await waits(ann)
        await ann.until("status")  # it waits for a second by then
        await bob.say("Long")
        await bob.until("turn.start")
        await w.renew(slots={"aging_s": 0.05})
        await mia.ask("interrupt")
        await bob.until("model.token")
        assert [last_words(exchange) for exchange in w.api.exchanges] == ["Long", "Hello", "Long"]


@shows("quotas.weight")
async def test_a_weight_holds_for_the_next_turns_that_ask():
    async with world(SCRIPT, **short(4, {"light": {"weight": 1}})) as w:
        anns = [await comes(w, "ann") for _ in range(3)]
        bobs = [await comes(w, "bob", "light") for _ in range(2)]
        cid = await comes(w, "cid", "light")
        await w.renew(quotas={"weight": 4})
        for client in (*anns[:2], bobs[0], cid):
            await speaking(client)
        await waits(bobs[1])
        await anns[2].say("Ann's")
        await anns[2].until("turn.start")
        await cid.ask("interrupt")
        await bobs[1].until("turn.trace")
        # Two of four are fewer than one of one.
        assert [last_words(exchange) for exchange in w.api.exchanges][4:] == ["Ann's", "Hello"]
