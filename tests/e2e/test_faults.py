"""Many sessions at once, whose model fails at random: nothing hangs, nothing contradicts itself."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from attrs import define, field

from bargein.agents.app import App
from bargein.protocol.codec import decode_event
from tests.checker import broken_rules
from tests.e2e.client import Client
from tests.e2e.faults import ALONE, SHARE, TEAM, Misfortune, faulty
from tests.e2e.harness import World
from tests.scale import scaled

SEED = 20261121
SESSIONS_MOST = 20
TURN_LIMIT_S = 90.0
"""Beyond every patience and back-off of all calls of a turn together: who waits longer, hangs."""

RESUMES_MOST = 2
NEEDED = 0.97


@define(eq=False)
class Tally:
    """What became of turns.  A failed turn counts as complete if the client resumed it with its
    token, once or twice, and the turn that continued it completed."""

    turns: int = 0
    directly: int = 0
    resumed: int = 0
    lost: Counter[str] = field(factory=Counter[str])

    @property
    def share(self) -> float:
        return (self.directly + self.resumed) / self.turns

    def __str__(self) -> str:
        return (
            f"{self.turns} turns: {self.directly} completed directly, {self.resumed} after a "
            f"resume, {dict(self.lost)} lost; {self.share:.1%} complete"
        )


async def ended(client: Client, turn_id: str) -> str:
    """Wait for the end of a turn; return its status."""
    await client.until("turn.trace", turn_id=turn_id, within_s=TURN_LIMIT_S)
    (end,) = (event for event in client.of_turn(turn_id) if event.type == "response.end")
    return end.payload["status"]


def token_of(client: Client, turn_id: str) -> str | None:
    faults = [event for event in client.of_turn(turn_id) if event.type == "error"]
    return faults[-1].payload["recover"].get("resume_token") if faults else None


async def converse(client: Client, name: str, turns: int, tally: Tally) -> None:
    for number in range(turns):
        said = await client.say(f"{name}, question {number}: what is six times seven?")
        turn_id = said["result"]["turn_id"]
        status = await ended(client, turn_id)
        tally.turns += 1
        if status == "completed":
            tally.directly += 1
            continue
        for _ in range(RESUMES_MOST):
            token = token_of(client, turn_id)
            if status != "failed" or token is None:
                break
            turn_id = (await client.say("", resume=token))["result"]["turn_id"]
            status = await ended(client, turn_id)
        if status == "completed":
            tally.resumed += 1
        else:
            tally.lost[status] += 1


async def check_finished(w: World) -> None:
    for client in w.clients:
        stored = await w.timeline(client.session_id)
        assert broken_rules([decode_event(event.frame) for event in stored]) == []


@pytest.mark.slow
@pytest.mark.parametrize("app", [ALONE, TEAM], ids=lambda app: app.name)
async def test_with_every_tenth_call_failing_97_of_100_turns_complete_and_none_hangs(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = scaled(250)
    sessions = min(SESSIONS_MOST, turns)
    misfortune, tally = Misfortune(SEED), Tally()
    async with faulty(misfortune, app) as (w, _):
        clients = [await w.attach() for _ in range(sessions)]
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(clients):
                mine = turns // sessions + (number < turns % sessions)
                nursery.start_soon(converse, client, f"Client {number}", mine, tally)
        await check_finished(w)
    with capsys.disabled():
        print(f"\n{app.name}: {tally}\n  {misfortune.calls} calls, {dict(misfortune.struck)}")  # noqa: T201
    failures = misfortune.struck.total() - misfortune.struck["late"]
    assert failures / misfortune.calls > SHARE / 2
    assert tally.turns == turns
    assert tally.share >= NEEDED
