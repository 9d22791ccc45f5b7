"""What outlives a server: budgets of policies, the time that is left, and what was confirmed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import trio

from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.apps.till import (
    Till,
    ask,
    committed,
    kinds,
    payload_of,
    policy,
    propose,
    refused,
    restarted,
    states,
    until,
)
from tests.e2e.client import Frame
from tests.e2e.harness import eventually, world

# --- policies --------------------------------------------------------------------------


async def test_a_policy_confirms_within_its_budget_and_all_else_waits_for_a_person():
    till = Till()
    async with world(vendor_obeys, app=till.app(auto_confirm=policy(budget=10, most=6))) as w:
        ann = await w.attach()
        rows = ((6, True), (7, False), (5, False), (4, True))
        for number, (amount, by_policy) in enumerate(rows, 1):
            proposed = await propose(ann, "pay", amount=amount)
            action_id = f"act_{number}"
            if by_policy:
                await until(ann, "committed", proposed)
                assert payload_of(ann, "action.confirmed", action_id)["by"] == "policy"
            else:
                assert kinds(ann, action_id) == ["proposed"]
        assert [payment.amount for payment in till.paid] == [6, 4]
        other = await w.attach()
        await until(other, "committed", await propose(other, "pay", amount=6))


async def test_a_budget_that_is_spent_is_spent_after_a_restart_too(tmp_path: Path):
    till = Till()
    app = till.app(auto_confirm=policy(budget=10, most=6))
    async with world(vendor_obeys, app=app, store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        await until(ann, "committed", await propose(ann, "pay", amount=6))
        ann = await restarted(w, ann)
        asked = await propose(ann, "pay", amount=5)
        assert kinds(ann, asked.payload["action_id"]) == ["proposed"]
        await until(ann, "committed", await propose(ann, "pay", amount=4))
        ann = await restarted(w, ann)
        await propose(ann, "pay", amount=1)
        assert await states(ann) == {
            "act_1": "committed",
            "act_2": "proposed",
            "act_3": "committed",
            "act_4": "proposed",
        }
        assert [payment.amount for payment in till.paid] == [6, 4]


# --- restarts --------------------------------------------------------------------------


async def test_a_proposal_survives_a_restart_and_is_done_as_it_was_proposed(tmp_path: Path):
    till = Till()
    async with world(vendor_obeys, app=till.app(), store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        ann = await restarted(w, ann)
        assert await states(ann) == {"act_1": "proposed"}
        await committed(ann, proposed)
        assert [(p.amount, p.to) for p in till.paid] == [(5, "Ann")]


async def test_a_proposal_expires_after_a_restart_when_it_would_have_without(tmp_path: Path):
    till = Till()
    app = till.app(expires_s=1.0)
    async with world(vendor_obeys, app=app, store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        ann = await restarted(w, ann)
        restarted_at_s = trio.current_time()
        gone = await until(ann, "expired", proposed)
        assert gone["ts"] >= proposed.payload["expires_at"]
        assert gone.at_s - restarted_at_s < 1.0
        assert refused(await ask(ann, "confirm", proposed)) == "expired"
        assert till.entered == 0


async def test_a_proposal_whose_time_ran_out_while_no_server_ran_is_expired(tmp_path: Path):
    till = Till()
    app = till.app(expires_s=0.2)
    async with world(vendor_obeys, app=app, store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        await w.stop()
        await until_past(proposed)
        await w.start()
        ann = await w.back(ann)
        answer = await ask(ann, "confirm", proposed)
        assert refused(answer) == "expired"
        assert await states(ann) == {"act_1": "expired"}
        assert till.entered == 0


async def until_past(proposed: Frame) -> None:
    """Wait, on the wall's clock, until a proposal's time is over."""
    expires_at = proposed.payload["expires_at"]
    await eventually(lambda: now_text() > expires_at)


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


async def test_what_waited_confirmed_for_its_place_goes_on_after_a_restart(tmp_path: Path):
    till = Till()
    app = till.app(at_once=10)
    async with world(vendor_obeys, app=app, store=tmp_path / "a.sqlite3") as w:
        ann = await w.attach()
        orders = [order("pay", amount=n, to="slow") for n in range(1, 6)]
        await ann.converse("\n".join(orders))
        for number in range(1, 6):
            await ann.ask("confirm", confirmation_id=f"conf_{number}")
        await eventually(lambda: till.waiting == 4)
        waiting = next(n for n in range(1, 6) if kinds(ann, f"act_{n}")[-1] == "confirmed")
        await w.stop()
        till.open.set()
        await w.start()
        ann = await w.back(ann)
        await ann.until("action.committed", action_id=f"act_{waiting}")
        for number in {*range(1, 6)} - {waiting}:
            await ann.until("action.failed", action_id=f"act_{number}")  # its tool was asked
        assert len(till.paid) == 1
