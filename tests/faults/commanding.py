"""Provocations by commands that come twice, late, or at the wrong moment."""

from __future__ import annotations

from typing import Any

import trio

from tests.e2e.apps.till import ask, committed, propose, states, until
from tests.e2e.client import Client, Frame
from tests.e2e.harness import text_of
from tests.e2e.scripts import assert_ladder
from tests.faults.ground import Ground, Seen, Stage, replying
from tests.faults.trials import provocation


async def unchanged(here: Ground, client: Client, *asked: tuple[str, dict[str, Any]]) -> Seen:
    """Send commands of which none may leave an event; return the answers."""
    before = await here.types_of(client.session_id)
    answers = [await client.ask(type_, **fields) for type_, fields in asked]
    after = await here.types_of(client.session_id)
    assert set(after[len(before) :]) <= {"model.token"}
    return replying(client, *answers)


@provocation("a command sent again")
async def command_sent_again(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    first = await ann.say("Hello", id="c")
    await ann.until("turn.trace", turn_id=first["result"]["turn_id"])
    again = await ann.say("Hello", id="c")
    assert again["result"] == first["result"]
    assert len([event for event in ann.events if event.type == "input.text"]) == 1
    return replying(ann, first, again)


@provocation("an id used twice")
async def id_used_twice(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    first = await ann.say("Hello", id="c")
    await ann.until("turn.trace", turn_id=first["result"]["turn_id"])
    seen = await unchanged(here, ann, ("say", {"id": "c", "text": "Goodbye"}))
    again = await ann.say("Hello", id="c")
    assert again["result"] == first["result"]
    return seen


@provocation("an interrupt of nothing", cases=lambda _: [("idle", None), ("stale", "turn_9")])
async def interrupt_of_nothing(here: Ground, turn_id: str | None) -> Seen:
    ann = await here.attach()
    await ann.converse("Hello")
    fields = {} if turn_id is None else {"turn_id": turn_id}
    seen = await unchanged(here, ann, ("interrupt", fields))
    last = [frame for frame in ann.frames if frame.type == "reply"][-1]
    assert last["result"]["interrupted"] is False
    return seen


@provocation("two interrupts at once")
async def two_interrupts_at_once(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    bob = await here.attach(ann.session_id)
    turn_id = await here.busy(ann)
    answers: list[Frame] = []

    async def interrupt(client: Client) -> None:
        answers.append(await client.ask("interrupt", turn_id=turn_id))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt, ann)
        nursery.start_soon(interrupt, bob)
    first, second = (answer["result"] for answer in answers)
    hit = [result for result in (first, second) if result["interrupted"]]
    assert {result["ack_seq"] for result in hit} == {
        event.seq for event in ann.events if event.type == "cancel.ack"
    }
    assert_ladder(ann.of_turn(turn_id))
    return replying(ann, *answers)


@provocation("more heard than said", cases=lambda _: [("far more", 10**9), ("one more", 8)])
async def more_heard_than_said(here: Ground, chars: int) -> Seen:
    ann = await here.attach()
    turn_id = await here.busy(ann)
    await ann.until(lambda _: ann.answer_of(turn_id) == "I go on ")
    answer = await ann.ask("interrupt", heard={"chars": chars})
    frozen = await ann.until("cancel.stage", turn_id=turn_id, target="transcript")
    assert len(frozen.payload["heard"]) <= len("I go on ")
    await ann.converse("And then?")
    told = text_of(here.api.bodies[-1]["messages"][1])
    assert told.startswith("I go on")
    return replying(ann, answer)


@provocation("words for a busy session")
async def words_for_a_busy_session(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    await here.busy(ann)
    seen = await unchanged(here, ann, ("say", {"text": "Now", "when_busy": "reject"}))
    last = [frame for frame in ann.frames if frame.type == "error"][-1]
    assert last["error"]["retryable"] is True
    return seen


@provocation("a late steer")
async def late_steer(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    await here.busy(ann)
    answer = await ann.say("A bit to the left", when_busy="steer")
    assert answer["result"]["outcome"] == "queued"
    await ann.ask("interrupt")
    await ann.until("turn.trace", turn_id=answer["result"]["turn_id"])
    return replying(ann, answer)


@provocation("a late report", cases=lambda _: [(t, f"playback.{t}") for t in ("progress", "stop")])
async def late_report(here: Ground, type_: str) -> Seen:
    ann = await here.attach()
    first = await ann.converse("Hello")
    await ann.converse("Hello again")
    return await unchanged(here, ann, (type_, {"turn_id": first, "chars": 1}))


@provocation("an ack of the future")
async def ack_of_the_future(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    await ann.converse("Hello")
    seen = await unchanged(here, ann, ("ack", {"seq": 10**6}), ("ack", {"seq": ann.last_seq}))
    back = await ann.ask("ack", seq=1)
    page = await ann.ask("history", limit=100_000)
    assert back["result"] == {}
    assert [event["seq"] for event in page["result"]["events"]] == [e.seq for e in ann.events]
    return seen


@provocation(
    "a setting that is none",
    cases=lambda _: [
        ("key", {"colour": "red"}),
        ("value", {"voice": "yes"}),
        ("choice", {"on_disconnect": "explode"}),
    ],
)
async def setting_that_is_none(here: Ground, fields: dict[str, Any]) -> Seen:
    ann = await here.attach()
    seen = await unchanged(here, ann, ("configure", fields))
    last = [frame for frame in ann.frames if frame.type == "error"][-1]
    assert last["error"]["param"] == next(iter(fields))
    return seen


# --- decisions --------------------------------------------------------------------------


@provocation("a second confirm")
async def second_confirm(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "pay")
    await committed(ann, proposed)
    again = await ask(ann, "confirm", proposed)
    assert again["result"] == {"action_id": "act_1", "state": "confirmed"}
    assert len(here.till.paid) == 1
    return replying(ann, again)


@provocation(
    "a decision against another",
    cases=lambda _: [
        ("yes after no", ("reject", "confirm")),
        ("no after yes", ("confirm", "reject")),
    ],
)
async def decision_against_another(here: Ground, case: tuple[str, str]) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "pay")
    first, second = case
    await ask(ann, first, proposed)
    state = "committed" if first == "confirm" else "rejected"
    await until(ann, state, proposed)
    answer = await ask(ann, second, proposed)
    assert state in answer["error"]["message"]
    assert await states(ann) == {"act_1": state}
    assert len(here.till.paid) == (first == "confirm")
    return replying(ann, answer)


@provocation("a confirm of what was interrupted")
async def confirm_of_what_was_interrupted(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    said = await ann.say('do pay {"amount": 5, "to": "Ann"}\nwait 60')
    proposed = await ann.until("action.proposed", turn_id=said["result"]["turn_id"])
    await ann.ask("interrupt")
    await until(ann, "rejected", proposed)
    answer = await ask(ann, "confirm", proposed)
    assert here.till.entered == 0
    return replying(ann, answer)


@provocation("a late confirm", Stage(declared={"expires_s": 0.2}))
async def late_confirm(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "pay")
    await until(ann, "expired", proposed)
    answer = await ask(ann, "confirm", proposed)
    assert (await states(ann), here.till.entered) == ({"act_1": "expired"}, 0)
    return replying(ann, answer)


@provocation("a confirm of nothing", cases=lambda _: [(t, t) for t in ("confirm", "reject")])
async def confirm_of_nothing(here: Ground, type_: str) -> Seen:
    ann = await here.attach()
    return await unchanged(here, ann, (type_, {"confirmation_id": "conf_9"}))


@provocation(
    "args that don't fit",
    cases=lambda _: [
        ("out of range", {"amount": 0, "to": "Ann"}),
        ("wrong type", {"amount": "5", "to": "Ann"}),
        ("one too few", {"amount": 5}),
        ("one too many", {"amount": 5, "to": "Ann", "tip": 1}),
    ],
)
async def args_that_do_not_fit(here: Ground, args: dict[str, Any]) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "pay")
    answer = await ask(ann, "confirm", proposed, args=args)
    assert answer["error"]["param"].startswith("args")
    assert (await states(ann), here.till.entered) == ({"act_1": "proposed"}, 0)
    return replying(ann, answer)


@provocation("a revert of what can't be undone")
async def revert_of_what_cannot_be_undone(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "give")
    await committed(ann, proposed)
    answer = await ask(ann, "revert", proposed)
    assert await states(ann) == {"act_1": "committed"}
    return replying(ann, answer)


@provocation("an early revert")
async def early_revert(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    proposed = await propose(ann, "pay")
    answer = await ask(ann, "revert", proposed)
    assert (await states(ann), here.till.back) == ({"act_1": "proposed"}, [])
    return replying(ann, answer)
