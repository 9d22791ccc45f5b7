"""Interrupts around commit points: what has not begun never begins, what has begun is finished."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.apps.till import Till, kinds, payload_of, propose, refused
from tests.e2e.client import Client, Frame
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import ladder_of

THINKING = "\nwait 60"
"""Makes the model pause in mid-answer, long after every test is over."""


async def proposing(client: Client, name: str, to: str = "Ann") -> Frame:
    """Have something proposed by a turn that goes on and on."""
    said = await client.say(order(name, amount=5, to=to) + THINKING)
    turn_id = said["result"]["turn_id"]
    proposed = await client.until("action.proposed", turn_id=turn_id)
    await client.until("model.token", since=proposed.place, turn_id=turn_id)
    return proposed


async def confirmed(client: Client, proposed: Frame) -> Frame:
    named = proposed.payload["confirmation_id"]
    return await client.ask("confirm", confirmation_id=named)


async def begun(till: Till, client: Client, proposed: Frame) -> None:
    """Confirm what is slow, and wait until it has reached the tool."""
    waiting = till.waiting
    assert (await confirmed(client, proposed)).type == "reply"
    await eventually(lambda: till.waiting > waiting)


def rungs(client: Client, turn_id: str | None) -> list[str]:
    assert turn_id is not None
    return ladder_of(client.of_turn(turn_id))


async def test_an_interrupt_rejects_what_its_turn_proposed_inside_the_ladder():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await proposing(ann, "pay")
        stopped = await ann.ask("interrupt")
        assert stopped["result"]["still_committing"] == []
        asked = await ann.until("cancel.requested", turn_id=proposed.turn_id)
        assert asked.payload["in_flight"]["actions"] == ["act_1"]
        order_of_events = rungs(ann, proposed.turn_id)
        assert order_of_events[-1] == "cancel.ack"
        assert order_of_events.count("action.rejected") == 1
        assert payload_of(ann, "action.rejected", "act_1")["reason"] == "interrupted"
        late = await confirmed(ann, proposed)
        assert refused(late) == "stale"
        assert "interrupted" in late["error"]["message"]
        assert kinds(ann, "act_1") == ["proposed", "rejected"]
        assert till.entered == 0


async def test_words_that_barge_in_reject_like_any_interrupt():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await proposing(ann, "pay")
        await ann.converse("Actually, wait.")
        assert kinds(ann, "act_1") == ["proposed", "rejected"]
        assert rungs(ann, proposed.turn_id)[-1] == "cancel.ack"
        assert till.entered == 0


async def test_what_has_begun_is_listed_in_the_ack_and_ends_after_it():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await proposing(ann, "pay", to="slow")
        await begun(till, ann, proposed)
        stopped = await ann.ask("interrupt")
        assert stopped["result"]["still_committing"] == ["act_1"]
        ack = await ann.until("cancel.ack", turn_id=proposed.turn_id)
        assert ack.payload["still_committing"] == ["act_1"]
        assert ann.find("action.committed") is None
        till.open.set()
        done = await ann.until("action.committed", action_id="act_1")
        assert done.seq > ack.seq
        assert (done.turn_id, len(till.paid)) == (proposed.turn_id, 1)


async def test_of_two_proposals_only_the_one_that_has_begun_is_finished():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        orders = [order("pay", amount=n, to="slow") for n in (1, 2)]
        turn = (await ann.say("\n".join(orders) + THINKING))["result"]["turn_id"]
        first = await ann.until("action.proposed", turn_id=turn)
        await ann.until("action.proposed", turn_id=turn, since=first.place + 1)
        await begun(till, ann, first)
        begun_id = first.payload["action_id"]
        (other,) = {"act_1", "act_2"} - {begun_id}
        stopped = await ann.ask("interrupt")
        assert stopped["result"]["still_committing"] == [begun_id]
        assert kinds(ann, other) == ["proposed", "rejected"]
        till.open.set()
        await ann.until("action.committed", action_id=begun_id)
        assert till.entered == 1


async def test_an_interrupt_leaves_the_proposals_of_earlier_turns_open():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        earlier = await propose(ann, "pay")
        later = await proposing(ann, "pay")
        await ann.ask("interrupt")
        asked = await ann.until("cancel.requested", turn_id=later.turn_id)
        assert asked.payload["in_flight"]["actions"] == ["act_2"]
        assert (kinds(ann, "act_1"), kinds(ann, "act_2")) == (
            ["proposed"],
            ["proposed", "rejected"],
        )
        await confirmed(ann, earlier)
        await ann.until("action.committed", action_id="act_1")


async def test_a_commit_of_an_earlier_turn_is_not_touched_by_interrupts():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        earlier = await propose(ann, "pay", to="slow")
        await begun(till, ann, earlier)
        await proposing(ann, "give")
        stopped = await ann.ask("interrupt")
        assert stopped["result"]["still_committing"] == []
        assert kinds(ann, "act_1") == ["proposed", "confirmed", "committing"]
        till.open.set()
        await ann.until("action.committed", action_id="act_1")


async def test_what_may_be_repeated_goes_on_when_its_turn_is_interrupted():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        said = await ann.say(order("note", amount=5, to="slow"))
        turn = said["result"]["turn_id"]
        await eventually(lambda: till.waiting)
        stopped = await ann.ask("interrupt")
        assert stopped["result"]["still_committing"] == ["act_1"]
        call = await ann.until("tool.call", turn_id=turn)
        result = await ann.until("tool.result", turn_id=turn)
        stage = await ann.until(
            "cancel.stage", turn_id=turn, target=f"tool:{call.payload['call_id']}"
        )
        ack = await ann.until("cancel.ack", turn_id=turn)
        assert (result.payload["status"], stage.payload["outcome"]) == ("committing", "committing")
        till.open.set()
        done = await ann.until("action.committed", action_id="act_1")
        assert done.seq > ack.seq > stage.seq
        assert len(till.paid) == 1


async def test_at_most_four_are_done_at_a_time_and_the_rest_waits_confirmed():
    till = Till()
    async with world(vendor_obeys, app=till.app(at_once=10)) as w:
        ann = await w.attach()
        orders = [order("pay", amount=n, to="slow") for n in range(1, 7)]
        await ann.converse("\n".join(orders))
        for number in range(1, 7):
            answer = await ann.ask("confirm", confirmation_id=f"conf_{number}")
            assert answer["result"]["state"] == "confirmed"
        await eventually(lambda: till.waiting == 4)
        await ann.ask("ping")
        latest = [kinds(ann, f"act_{n}")[-1] for n in range(1, 7)]
        assert sorted(latest) == ["committing"] * 4 + ["confirmed"] * 2
        till.open.set()
        for number in range(1, 7):
            await ann.until("action.committed", action_id=f"act_{number}")
        assert sorted(payment.amount for payment in till.paid) == [1, 2, 3, 4, 5, 6]


async def test_what_waits_confirmed_for_its_place_is_rejected_by_an_interrupt():
    till = Till()
    async with world(vendor_obeys, app=till.app(at_once=10)) as w:
        ann = await w.attach()
        orders = [order("pay", amount=n, to="slow") for n in range(1, 6)]
        turn = (await ann.say("\n".join(orders) + THINKING))["result"]["turn_id"]
        for number in range(1, 6):
            await ann.until("action.proposed", turn_id=turn, action_id=f"act_{number}")
        for number in range(1, 6):
            await ann.ask("confirm", confirmation_id=f"conf_{number}")
        await eventually(lambda: till.waiting == 4)
        stopped = await ann.ask("interrupt")
        still = stopped["result"]["still_committing"]
        assert len(still) == 4
        (waiting,) = {f"act_{n}" for n in range(1, 6)} - set(still)
        assert kinds(ann, waiting) == ["proposed", "confirmed", "rejected"]
        assert payload_of(ann, "action.rejected", waiting)["reason"] == "interrupted"
        till.open.set()
        for action_id in still:
            await ann.until("action.committed", action_id=action_id)
        assert till.entered == 4


async def test_a_confirm_and_an_interrupt_at_the_same_instant_agree_on_what_was_done():
    till = Till()
    till.open.set()
    done = 0
    async with world(vendor_obeys, app=till.app(), deadline_s=240) as w:
        ann = await w.attach()
        bob = await w.attach(ann.session_id)
        for number in range(1, 31):
            proposed = await proposing(ann, "pay", to="slow")
            answers = await at_once(w, ann, bob, proposed, interrupt_first=number % 2 == 0)
            confirmation, interruption = answers
            action_id = proposed.payload["action_id"]
            await ann.until("cancel.ack", turn_id=proposed.turn_id)
            if confirmation.type == "error":
                assert refused(confirmation) == "stale"
            if (end := await ending(ann, action_id)) == "committed":
                done += 1
                listed = interruption["result"]["still_committing"]
                committed = payload_at(ann, "action.committed", action_id)
                ack = await ann.until("cancel.ack", turn_id=proposed.turn_id)
                assert action_id in listed or committed.seq < ack.seq
            assert end in ("committed", "rejected")
            assert len(till.paid) == done


async def at_once(
    w: World, ann: Client, bob: Client, proposed: Frame, *, interrupt_first: bool
) -> tuple[Frame, Frame]:
    """Let one confirm while the other interrupts; return both answers."""
    answers: dict[str, Frame] = {}

    async def confirm() -> None:
        answers["confirm"] = await confirmed(ann, proposed)

    async def interrupt() -> None:
        answers["interrupt"] = await bob.ask("interrupt", turn_id=proposed.turn_id)

    both = (interrupt, confirm) if interrupt_first else (confirm, interrupt)
    async with trio.open_nursery() as nursery:
        for act in both:
            nursery.start_soon(act)
    return answers["confirm"], answers["interrupt"]


async def ending(client: Client, action_id: str) -> str:
    """Wait until an action is at its end; return which."""
    await client.until(
        lambda e: e.is_event and e.type in ("action.committed", "action.rejected"),
        action_id=action_id,
    )
    return kinds(client, action_id)[-1]


def payload_at(client: Client, type_: str, action_id: str) -> Frame:
    found = client.find(type_, action_id=action_id)
    assert found is not None
    return found


async def test_a_server_that_ends_inside_the_ladder_keeps_the_same_promises(tmp_path: Path):
    till = Till()
    async with world(vendor_obeys, app=till.app(), store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        orders = [order("pay", amount=1, to="slow"), order("pay", amount=2, to="Ann")]
        turn = (await ann.say("\n".join(orders) + THINKING))["result"]["turn_id"]
        await ann.until("action.proposed", turn_id=turn, action_id="act_2")
        slow = await ann.until("action.proposed", turn_id=turn, args={"amount": 1, "to": "slow"})
        await begun(till, ann, slow)
        await ann.send("interrupt")
        await ann.until("cancel.requested", turn_id=turn)
        await w.stop()
        await w.start()
        ann = await w.back(ann)
        whole = await w.attach(ann.session_id)
        await whole.until("cancel.ack", turn_id=turn)
        slow_id = slow.payload["action_id"]
        (other,) = {"act_1", "act_2"} - {slow_id}
        end = await whole.until("action.failed", action_id=slow_id)
        assert kinds(whole, slow_id)[-2:] == ["in_doubt", "failed"]
        assert end.turn_id == turn
        assert kinds(whole, other) == ["proposed", "rejected"]
        assert (till.entered, till.paid) == (1, [])
