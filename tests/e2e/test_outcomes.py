"""What became of what was confirmed, and how it is undone: rows 59, 60 and 84; and restarts."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.apps.till import (
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
from tests.e2e.harness import eventually, world

# --- outcomes --------------------------------------------------------------------------


async def test_a_tool_that_says_that_it_did_nothing_has_failed():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay", to="nobody")
        await ask(ann, "confirm", proposed)
        failed = await until(ann, "failed", proposed)
        assert failed.payload["error"] == "Nobody is not to be paid."
        assert (await states(ann), till.paid) == ({"act_1": "failed"}, [])


async def test_a_lost_answer_is_in_doubt_until_its_tool_was_asked():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        rows = (("lost", "committed", 1), ("unclear", "failed", 0))
        for number, (to, end, payments) in enumerate(rows, 1):
            proposed = await propose(ann, "pay", to=to)
            await ask(ann, "confirm", proposed)
            await until(ann, end, proposed)
            path = ["proposed", "confirmed", "committing", "in_doubt", end]
            assert kinds(ann, f"act_{number}") == path
            assert sum(payment.to == to for payment in till.paid) == payments
        assert till.entered == 2


async def test_a_doubt_that_no_tool_settles_waits_for_a_person_and_is_never_tried_again():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        for number, (to, said, end) in enumerate(
            (("lost", "confirm", "committed"), ("unclear", "reject", "failed")), 1
        ):
            proposed = await propose(ann, "give", to=to)
            await ask(ann, "confirm", proposed)
            await until(ann, "in_doubt", proposed)
            assert (await states(ann))[f"act_{number}"] == "in_doubt"
            settled = await ask(ann, said, proposed)
            assert settled["result"] == {"action_id": f"act_{number}", "state": end}
            assert payload_of(ann, f"action.{end}", f"act_{number}")["by"] == "anonymous"
            opposite = "reject" if said == "confirm" else "confirm"
            assert refused(await ask(ann, opposite, proposed)) == "stale"
        assert till.entered == 2


async def test_a_doubt_survives_restarts_and_starts_nothing(tmp_path: Path):
    till = Till()
    async with world(vendor_obeys, app=till.app(), store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        proposed = await propose(ann, "give", to="lost")
        await ask(ann, "confirm", proposed)
        await until(ann, "in_doubt", proposed)
        ann = await restarted(w, await restarted(w, ann))
        assert await states(ann) == {"act_1": "in_doubt"}
        assert (await ask(ann, "confirm", proposed))["result"]["state"] == "committed"
        assert till.entered == 1


async def test_a_server_that_ends_in_mid_tool_leaves_a_doubt_and_a_person_settles_it(
    tmp_path: Path,
):
    till = Till()
    async with world(vendor_obeys, app=till.app(), store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        proposed = await propose(ann, "give", to="slow")
        await ask(ann, "confirm", proposed)
        await eventually(lambda: till.waiting)
        ann = await restarted(w, ann)
        assert await states(ann) == {"act_1": "in_doubt"}
        assert (await ask(ann, "reject", proposed))["result"]["state"] == "failed"
        assert (till.entered, till.paid) == (1, [])


async def test_what_may_be_repeated_needs_no_person_and_the_turn_waits_for_it():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        turn = await ann.converse(order("note", amount=5, to="Ann"))
        assert kinds(ann, "act_1") == ["proposed", "confirmed", "committing", "committed"]
        assert payload_of(ann, "action.confirmed", "act_1")["by"] == "policy"
        result = await ann.until("tool.result", turn_id=turn)
        assert (result.payload["status"], result.payload["result"]) == ("ok", "paid 5")
        assert [p.key for p in till.paid] == [f"note:{ann.session_id}:{turn}:conf_1"]


async def test_what_may_be_repeated_is_repeated_with_its_key_after_a_restart(tmp_path: Path):
    till = Till()
    async with world(vendor_obeys, app=till.app(), store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        turn = (await ann.say(order("note", amount=5, to="slow")))["result"]["turn_id"]
        await eventually(lambda: till.waiting)
        await w.stop()
        till.open.set()
        await ann.closed.wait()
        await w.start()
        ann = await w.back(ann)
        done = await ann.until("action.committed", turn_id=turn)
        assert await states(ann) == {"act_1": "committed"}
        assert [p.key for p in till.paid] == [done.payload["idempotency_key"]]
        assert till.entered == 2


# --- reverts ---------------------------------------------------------------------------


async def test_what_was_done_is_undone_once_however_often_it_is_asked_for():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        done = await committed(ann, proposed)
        first = await ask(ann, "revert", proposed)
        undone = await until(ann, "reverted", proposed)
        again = await ask(ann, "revert", proposed)
        key = f"{done.payload['idempotency_key']}:revert"
        assert first["result"]["action_id"] == again["result"]["action_id"] == "act_1"
        assert again["result"]["state"] == "reverted"
        assert payload_of(ann, "action.reverting", "act_1")["idempotency_key"] == key
        assert undone.payload["result"] == "took 5 back"
        assert till.back == [key]
        assert await states(ann) == {"act_1": "reverted"}


async def test_a_revert_of_what_was_never_done_or_can_not_be_undone_changes_nothing():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        assert refused(await ann.ask("revert", action_id="act_1")) == "not_found"
        proposed = await propose(ann, "pay")
        early = await ask(ann, "revert", proposed)
        assert refused(early) == "stale"
        assert "proposed" in early["error"]["message"]
        final = await propose(ann, "give")
        await committed(ann, final)
        assert refused(await ask(ann, "revert", final)) == "invalid_command"
        assert await states(ann) == {"act_1": "proposed", "act_2": "committed"}
        assert till.back == []


async def test_a_revert_that_fails_or_whose_answer_is_lost_says_so():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        kept = await propose(ann, "pay", to="keeps")
        await committed(ann, kept)
        await ask(ann, "revert", kept)
        failed = await until(ann, "revert_failed", kept)
        assert failed.payload["error"] == "It is spent."
        given = await propose(ann, "pay", to="gives")
        await committed(ann, given)
        await ask(ann, "revert", given)
        await until(ann, "reverted", given)
        assert kinds(ann, "act_2")[-3:] == ["reverting", "in_doubt", "reverted"]
        lent = await propose(ann, "lend", to="gives")
        await committed(ann, lent)
        await ask(ann, "revert", lent)
        await until(ann, "in_doubt", lent)
        assert (await ask(ann, "confirm", lent))["result"]["state"] == "reverted"
        assert len(till.back) == 2
