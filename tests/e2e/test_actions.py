"""Proposals and decisions over real sockets: rows 54 to 58 of the table of faults."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.apps.till import (
    Payment,
    Till,
    ask,
    committed,
    kinds,
    payload_of,
    propose,
    refused,
    restarted,
    states,
    until,
)
from tests.e2e.client import Frame
from tests.e2e.harness import world

# --- a proposal ------------------------------------------------------------------------


async def test_a_turn_proposes_and_ends_and_nothing_is_done():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        turn = await ann.converse(order("pay", amount=5, to="Ann"))
        proposed = await ann.until("action.proposed", turn_id=turn)
        result = await ann.until("tool.result", turn_id=turn)
        assert result.payload["status"] == "proposed"
        end = await ann.until("response.end", turn_id=turn)
        assert end.payload["status"] == "completed"
        told = proposed.payload
        assert {key: told[key] for key in ("action_id", "action", "args", "summary", "effect")} == {
            "action_id": "act_1",
            "action": "pay",
            "args": {"amount": 5, "to": "Ann"},
            "summary": "Pay 5 to Ann",
            "effect": "side_effect",
        }
        assert told["confirmation_id"] == "conf_1"
        assert waits(proposed) == timedelta(seconds=120)
        assert (till.entered, till.paid) == (0, [])


def waits(proposed: Frame) -> timedelta:
    """How long a proposal may wait, as it says itself; to the nearest 100 ms."""
    expires_at = datetime.fromisoformat(proposed.payload["expires_at"])
    whole = expires_at - datetime.fromisoformat(proposed["ts"])
    return timedelta(seconds=round(whole.total_seconds(), 1))


async def test_what_is_confirmed_is_done_once_with_its_key_and_the_model_is_told():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        done = await committed(ann, proposed)
        key = f"pay:{ann.session_id}:{proposed.turn_id}:conf_1"
        assert till.paid == [Payment(key, 5, "Ann")]
        assert (done.payload["idempotency_key"], done.payload["result"]) == (key, "paid 5")
        assert kinds(ann, "act_1") == ["proposed", "confirmed", "committing", "committed"]
        assert payload_of(ann, "action.confirmed", "act_1")["by"] == "anonymous"
        assert await states(ann) == {"act_1": "committed"}
        await ann.converse("What became of it?")
        told = json.dumps(w.api.bodies[-1]["messages"][-2:])
        assert "pay (Pay 5 to Ann): confirmed by the user, and done" in told
        assert "paid 5" in told


async def test_the_view_of_actions_says_all_that_a_person_needs_to_know():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        done = await committed(ann, proposed)
        await propose(ann, "give", to="Bob")
        view = await ann.ask("projection", name="actions")
        first, second = view["result"]["actions"]
        assert view["result"]["seq"] >= done.seq
        told = proposed.payload
        known = (
            "action_id",
            "action",
            "args",
            "summary",
            "effect",
            "confirmation_id",
            "expires_at",
        )
        assert first == {
            **{key: told[key] for key in known},
            "turn_id": proposed.turn_id,
            "state": "committed",
            "by": "anonymous",
            "result": "paid 5",
        }
        assert (second["state"], second["summary"]) == ("proposed", "Give 5 to Bob")


async def test_arguments_that_do_not_fit_are_never_proposed():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        turn = await ann.converse(order("pay", amount=5000, to="Ann"))
        result = await ann.until("tool.result", turn_id=turn)
        assert result.payload["status"] == "error"
        assert ann.find("action.proposed") is None
        assert (await states(ann), till.entered) == ({}, 0)


async def test_the_thirty_third_open_proposal_is_refused_and_a_decision_makes_room():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        for _ in range(2):
            await ann.converse("\n".join([order("pay", amount=1, to="Ann")] * 16))
        turn = await ann.converse(order("pay", amount=1, to="Bob"))
        result = await ann.until("tool.result", turn_id=turn)
        assert result.payload["status"] == "error"
        assert list((await states(ann)).values()) == ["proposed"] * 32
        assert (await ann.ask("reject", confirmation_id="conf_1")).type == "reply"
        assert (await propose(ann, "pay", to="Bob")).payload["action_id"] == "act_33"


async def test_a_spoken_yes_is_a_turn_like_any_other_and_decides_nothing():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        for words in ("yes", "Yes, I confirm conf_1.", '{"type":"confirm"}'):
            await ann.converse(words)
        assert await states(ann) == {"act_1": "proposed"}
        assert till.entered == 0
        await committed(ann, proposed)


# --- decisions -------------------------------------------------------------------------


async def test_whoever_confirms_again_gets_the_first_decision_and_nothing_is_done_again():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        await committed(ann, proposed)
        again = await ask(ann, "confirm", proposed)
        assert again["result"] == {"action_id": "act_1", "state": "confirmed"}
        assert kinds(ann, "act_1").count("confirmed") == 1
        assert len(till.paid) == 1


async def test_a_decision_stands_against_its_opposite_and_the_error_names_the_state():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        refusal, accepted = await propose(ann, "pay"), await propose(ann, "pay")
        said_no = await ask(ann, "reject", refusal, reason="too much")
        assert said_no["result"] == {"action_id": "act_1", "state": "rejected"}
        assert payload_of(ann, "action.rejected", "act_1")["by"] == "anonymous"
        late_yes = await ask(ann, "confirm", refusal)
        assert refused(late_yes) == "stale"
        assert "rejected" in late_yes["error"]["message"]
        await committed(ann, accepted)
        late_no = await ask(ann, "reject", accepted)
        assert refused(late_no) == "stale"
        assert "committed" in late_no["error"]["message"]
        assert await states(ann) == {"act_1": "rejected", "act_2": "committed"}
        assert len(till.paid) == 1


async def test_a_confirm_past_its_time_is_expired_and_does_nothing():
    till = Till()
    async with world(vendor_obeys, app=till.app(expires_s=0.2)) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        gone = await until(ann, "expired", proposed)
        assert gone["ts"] >= proposed.payload["expires_at"]
        for type_ in ("confirm", "reject"):
            assert refused(await ask(ann, type_, proposed)) == "expired"
        assert (await states(ann), till.entered) == ({"act_1": "expired"}, 0)


async def test_the_setting_says_how_long_proposals_wait_and_a_tool_may_say_otherwise():
    till = Till()
    async with world(vendor_obeys, app=till.app(expires_s=7), confirm_s=0.2) as w:
        ann = await w.attach()
        by_tool, by_setting = await propose(ann, "pay"), await propose(ann, "give")
        assert (waits(by_tool).total_seconds(), waits(by_setting).total_seconds()) == (7, 0.2)
        await until(ann, "expired", by_setting)
        assert await states(ann) == {"act_1": "proposed", "act_2": "expired"}


async def test_a_confirm_of_what_nobody_proposed_is_not_found():
    async with world(vendor_obeys, app=Till().app()) as w:
        ann = await w.attach()
        for type_ in ("confirm", "reject"):
            answer = await ann.ask(type_, confirmation_id="conf_1")
            assert refused(answer) == "not_found"
        other = await w.attach()
        await propose(other, "pay")
        assert refused(await ann.ask("confirm", confirmation_id="conf_1")) == "not_found"
        assert await states(other) == {"act_1": "proposed"}


async def test_edited_arguments_that_do_not_fit_decide_nothing():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        rows = (
            ({"amount": 0, "to": "Ann"}, "args.amount"),
            ({"amount": "5", "to": "Ann"}, "args.amount"),
            ({"amount": 5, "to": None}, "args.to"),
            ({"amount": 5}, "args"),
            ({"amount": 5, "to": "Ann", "tip": 1}, "args"),
        )
        for args, place in rows:
            answer = await ask(ann, "confirm", proposed, args=args)
            assert refused(answer) == "invalid_command", args
            assert answer["error"]["param"].startswith(place), answer.text
        assert kinds(ann, "act_1") == ["proposed"]
        assert till.entered == 0


async def test_edited_arguments_are_on_the_timeline_and_are_what_is_done():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay", amount=500)
        args = {"amount": 6, "to": "Bob"}
        assert (await ask(ann, "confirm", proposed, args=args)).type == "reply"
        done = await until(ann, "committed", proposed)
        assert payload_of(ann, "action.confirmed", "act_1")["args"] == args
        assert [(p.amount, p.to) for p in till.paid] == [(6, "Bob")]
        assert done.payload["result"] == "paid 6"


async def test_a_confirm_that_is_sent_again_is_done_once_across_restarts(tmp_path: Path):
    till = Till()
    async with world(vendor_obeys, app=till.app(), store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        first = await ask(ann, "confirm", proposed, id="yes")
        await until(ann, "committed", proposed)
        ann = await restarted(w, ann)
        again = await ask(ann, "confirm", proposed, id="yes")
        assert again["result"] == first["result"]
        other = await ann.ask("confirm", id="yes", confirmation_id="conf_2")
        assert refused(other) == "duplicate"
        assert len(till.paid) == 1
