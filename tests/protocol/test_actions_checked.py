"""The checker's rules of actions: each is found where it is broken, alone, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import evolve

from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    CancelStage,
    Event,
    InFlight,
    Payload,
    ResponseEnd,
    TokenCount,
    ToolCall,
    ToolResult,
    TurnTrace,
)
from bargein.protocol.ids import ActionId, ConfirmationId, turn_id
from tests.checker import Deed, broken_rules
from tests.protocol.acts import Act
from tests.protocol.timelines import Pen

ONE, TWO = turn_id(1), turn_id(2)
ACT, OTHER = Act(ONE), Act(ONE, 2)
SAFE = Act(ONE, effect="idempotent")

Steps = Sequence[Payload]


def _rules(events: list[Event], deeds: Sequence[Deed] | None = None) -> set[str]:
    return {sentence.partition(":")[0] for sentence in broken_rules(events, deeds=deeds)}


def _story(*steps: Payload) -> list[Event]:
    """Let a turn propose, and the rest come when it is over, as it does."""
    pen = Pen()
    pen.begin(ONE)
    for step in steps[:1]:
        pen.write(ONE, step)
    pen.end(ONE)
    pen.write(ONE, *steps[1:])
    return pen.events


STORIES: dict[str, Steps] = {
    "waits": (ACT.proposed(),),
    "rejected": (ACT.proposed(), ACT.rejected()),
    "expired": (ACT.proposed(), ACT.expired()),
    "done": (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.committed()),
    "done as edited": (
        ACT.proposed(),
        ACT.edited(guests=3),
        ACT.committing(),
        ACT.committed(),
    ),
    "by policy": (SAFE.proposed(), SAFE.confirmed(), SAFE.committing(), SAFE.committed()),
    "failed": (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.failed()),
    "nobody may": (ACT.proposed(), ACT.confirmed(), ACT.rejected("unauthorized")),
    "too late after a restart": (ACT.proposed(), ACT.confirmed(), ACT.expired()),
    "in doubt": (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.in_doubt()),
    "in doubt, then done": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.in_doubt(),
        ACT.committed(),
    ),
    "in doubt, then not done": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.in_doubt(),
        ACT.failed(),
    ),
    "reverted": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.committed(),
        ACT.reverting(),
        ACT.reverted(),
    ),
    "not reverted": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.committed(),
        ACT.reverting(),
        ACT.revert_failed(),
    ),
    "both in doubt": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.in_doubt(),
        ACT.committed(),
        ACT.reverting(),
        ACT.revert_in_doubt(),
        ACT.reverted(),
    ),
}


@pytest.mark.parametrize("what", STORIES)
def test_what_may_become_of_an_action_breaks_no_rule(what: str) -> None:
    assert broken_rules(_story(*STORIES[what])) == []


BROKEN: dict[str, tuple[set[str], Steps]] = {
    "begun without a confirm": (
        {"I20"},
        (ACT.proposed(), ACT.committing(), ACT.committed()),
    ),
    "done without an intent": ({"I20", "I25"}, (ACT.proposed(), ACT.confirmed(), ACT.committed())),
    "begun after a reject": (
        {"I20"},
        (ACT.proposed(), ACT.rejected(), ACT.committing(), ACT.committed()),
    ),
    "confirmed after it expired": (
        {"I20"},
        (ACT.proposed(), ACT.expired(), ACT.confirmed()),
    ),
    "confirmed twice": (
        {"I20"},
        (ACT.proposed(), ACT.confirmed(), ACT.confirmed(), ACT.committing(), ACT.failed()),
    ),
    "done twice": (
        {"I20"},
        (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.committed(), ACT.committed()),
    ),
    "begun again out of doubt": (
        {"I20"},
        (
            ACT.proposed(),
            ACT.confirmed(),
            ACT.committing(),
            ACT.in_doubt(),
            ACT.committing(),
            ACT.committed(),
        ),
    ),
    "in doubt twice": (
        {"I20"},
        (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.in_doubt(), ACT.in_doubt()),
    ),
    "reverted before it was done": (
        {"I20"},
        (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.reverting(), ACT.failed()),
    ),
    "reverted twice": (
        {"I20"},
        (*STORIES["reverted"], ACT.reverting(), ACT.reverted()),
    ),
    "rejected by a person after a confirm": (
        {"I20"},
        (ACT.proposed(), ACT.confirmed(), ACT.rejected("I changed my mind")),
    ),
    "of nothing proposed": ({"I20"}, (ACT.proposed(), OTHER.rejected())),
    "by nobody": ({"I24"}, (ACT.proposed(), evolve(ACT.confirmed(), by=""), ACT.expired())),
    "another digest": (
        {"I24"},
        (ACT.proposed(), evolve(ACT.confirmed(), digest="0" * 64), ACT.expired()),
    ),
    "another digest of what was edited": (
        {"I24"},
        (
            ACT.proposed(),
            evolve(ACT.edited(guests=3), digest=ACT.confirmed().digest),
            ACT.expired(),
        ),
    ),
    "a digest of other args proposed": ({"I24"}, (evolve(ACT.proposed(), digest="0" * 64),)),
    "a read": ({"I24"}, (evolve(ACT.proposed(), effect="read"),)),
    "by a person where none is asked": (
        {"I24"},
        (SAFE.proposed(), SAFE.confirmed("alice"), SAFE.committing(), SAFE.committed()),
    ),
    "born expired": (
        {"I20"},
        (evolve(ACT.proposed(), expires_at="2026-11-21T10:12:33.000Z"),),
    ),
    "another key": (
        {"I28"},
        (
            ACT.proposed(),
            ACT.confirmed(),
            evolve(ACT.committing(), idempotency_key=OTHER.key),
            ACT.committed(),
        ),
    ),
    "a revert with the key of the act": (
        {"I28"},
        (*STORIES["done"], evolve(ACT.reverting(), idempotency_key=ACT.key), ACT.reverted()),
    ),
    "a doubt with the key of the revert": (
        {"I28"},
        (*STORIES["done"][:3], ACT.revert_in_doubt(), ACT.committed()),
    ),
    "left confirmed": ({"I25"}, (ACT.proposed(), ACT.confirmed())),
    "left committing": ({"I25"}, (ACT.proposed(), ACT.confirmed(), ACT.committing())),
    "left reverting": ({"I25"}, (*STORIES["done"], ACT.reverting())),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_rule_of_actions_is_found(what: str) -> None:
    rules, steps = BROKEN[what]
    assert _rules(_story(*steps)) == rules


def test_what_is_underway_may_be_open_while_the_session_goes_on() -> None:
    for what in ("left confirmed", "left committing", "left reverting"):
        assert broken_rules(_story(*BROKEN[what][1]), finished=False) == []


def test_two_proposals_share_neither_an_id_nor_a_confirmation() -> None:
    for changes in ({"action_id": ACT.id}, {"confirmation_id": ConfirmationId("conf_1")}):
        pen = Pen()
        pen.begin(ONE)
        pen.write(ONE, ACT.proposed(), evolve(OTHER.proposed(), **changes))
        pen.end(ONE)
        assert _rules(pen.events) == {"I28"}


def test_an_event_of_an_action_is_of_the_turn_that_proposed_it() -> None:
    pen = Pen.after(_story(ACT.proposed()))
    pen.begin(TWO)
    pen.write(TWO, ACT.rejected())
    pen.end(TWO)
    assert _rules(pen.events) == {"I27"}


# --- interrupts ---------------------------------------------------------------------------


def _interrupted(
    before: Steps,
    during: Steps = (),
    after: Steps = (),
    *,
    flying: Sequence[ActionId] = (),
    still: Sequence[ActionId] = (),
) -> list[Event]:
    pen = Pen()
    pen.begin(ONE)
    pen.write(ONE, *before)
    pen.write(ONE, CancelRequested("user", "x", InFlight(model=False, actions=tuple(flying))))
    pen.write(ONE, CancelStage("transcript", "frozen", text="", heard=""))
    pen.write(ONE, CancelStage("model", "already_done"), *during)
    pen.write(ONE, ResponseEnd("cancelled", ""), TurnTrace((), 0.0))
    pen.write(ONE, CancelAck(ONE, 1.0, (), tuple(still), TokenCount(0, 0)), *after)
    return pen.events


IT = (ACT.id,)
BEGUN = (ACT.proposed(), ACT.confirmed(), ACT.committing())
NO = ACT.rejected("interrupted")

INTERRUPTS: dict[str, tuple[set[str], Callable[[], list[Event]]]] = {
    "a proposal is rejected": (set(), lambda: _interrupted((ACT.proposed(),), (NO,), flying=IT)),
    "what waits to begin is rejected": (
        set(),
        lambda: _interrupted((ACT.proposed(), ACT.confirmed()), (NO,), flying=IT),
    ),
    "what has begun goes on": (
        set(),
        lambda: _interrupted(BEGUN, (), (ACT.committed(),), flying=IT, still=IT),
    ),
    "what has begun ends during the ladder": (
        set(),
        lambda: _interrupted(BEGUN, (ACT.committed(),), flying=IT),
    ),
    "what ended during the ladder may be listed": (
        set(),
        lambda: _interrupted(BEGUN, (ACT.committed(),), flying=IT, still=IT),
    ),
    "a doubt from before is settled after": (
        set(),
        lambda: _interrupted((*BEGUN, ACT.in_doubt()), (), (ACT.failed(),)),
    ),
    "a proposal is left": ({"I26"}, lambda: _interrupted((ACT.proposed(),), flying=IT)),
    "a proposal is confirmed after": (
        {"I13", "I26"},
        lambda: _interrupted(
            (ACT.proposed(),), (), (ACT.confirmed(), ACT.committing(), ACT.failed()), flying=IT
        ),
    ),
    "a confirmed one begins during the ladder": (
        {"I26"},
        lambda: _interrupted(
            (ACT.proposed(), ACT.confirmed()),
            (ACT.committing(),),
            (ACT.committed(),),
            flying=IT,
            still=IT,
        ),
    ),
    "a proposal is made during the ladder": (
        {"I26"},
        lambda: _interrupted((), (ACT.proposed(), NO)),
    ),
    "nothing is said to be in flight": (
        {"I25"},
        lambda: _interrupted((ACT.proposed(),), (NO,)),
    ),
    "too much is said to be in flight": (
        {"I25"},
        lambda: _interrupted((ACT.proposed(),), (NO,), flying=(ACT.id, OTHER.id)),
    ),
    "the ack does not list what goes on": (
        {"I13", "I25"},
        lambda: _interrupted(BEGUN, (), (ACT.committed(),), flying=IT),
    ),
    "the ack lists what was rejected": (
        {"I25"},
        lambda: _interrupted((ACT.proposed(),), (NO,), flying=IT, still=IT),
    ),
    "what the ack lists vanishes": ({"I25"}, lambda: _interrupted(BEGUN, flying=IT, still=IT)),
}


@pytest.mark.parametrize("what", INTERRUPTS)
def test_an_interrupt_forbids_what_has_not_begun_and_lists_what_has(what: str) -> None:
    rules, timeline = INTERRUPTS[what]
    assert _rules(timeline()) == rules


def test_a_call_is_answered_as_what_its_action_is() -> None:
    for proposes, status, rules in (
        (True, "proposed", set[str]()),
        (False, "proposed", {"I25"}),
        (True, "committing", {"I25"}),
    ):
        pen = Pen()
        pen.begin(ONE)
        pen.write(ONE, ToolCall(ACT.call_id, "book", {}, "side_effect"))
        if proposes:
            pen.write(ONE, ACT.proposed())
        result = ToolResult(ACT.call_id, status)  # pyright: ignore[reportArgumentType]
        pen.write(ONE, result)
        pen.end(ONE)
        assert _rules(pen.events) == rules


# --- the world outside --------------------------------------------------------------------

DONE = _story(*STORIES["done"])
INTENT = next(event.seq for event in DONE if event.type == "action.committing")
STARTED, HAPPENED = Deed(ACT.key, "started"), Deed(ACT.key, "done")
UNDONE = Deed(f"{ACT.key}:revert", "started"), Deed(f"{ACT.key}:revert", "done")

OUTSIDE: dict[str, tuple[set[str], Steps, Sequence[Deed]]] = {
    "once": (set(), STORIES["done"], (STARTED, HAPPENED)),
    "once, with the intent stored": (
        set(),
        STORIES["done"],
        (Deed(ACT.key, "started", {"guests": 2}, INTENT), HAPPENED),
    ),
    "as edited": (
        set(),
        STORIES["done as edited"],
        (Deed(ACT.key, "started", {"guests": 3}), HAPPENED),
    ),
    "done and undone": (set(), STORIES["reverted"], (STARTED, HAPPENED, *UNDONE)),
    "repeated out of doubt": (
        set(),
        (
            SAFE.proposed(),
            SAFE.confirmed(),
            SAFE.committing(),
            SAFE.in_doubt(),
            SAFE.committed(),
        ),
        (STARTED, STARTED, HAPPENED),
    ),
    "not done, and said so": (set(), STORIES["failed"], (STARTED,)),
    "of another session": (set(), STORIES["waits"], (Deed("book:sess_1:turn_1:c", "started"),)),
    "twice": ({"I21"}, STORIES["done"], (STARTED, STARTED, HAPPENED)),
    "again out of doubt": (
        {"I21"},
        STORIES["in doubt, then done"],
        (STARTED, STARTED, HAPPENED),
    ),
    "repeated without a doubt": (
        {"I21"},
        STORIES["by policy"],
        (STARTED, STARTED, HAPPENED),
    ),
    "undone twice": (
        {"I21"},
        STORIES["reverted"],
        (STARTED, HAPPENED, UNDONE[0], *UNDONE),
    ),
    "done out of nothing": ({"I21"}, STORIES["done"], (HAPPENED,)),
    "without an intent": ({"I22", "I24"}, STORIES["waits"], (STARTED,)),
    "with an intent that was not stored": (
        {"I22"},
        STORIES["done"],
        (Deed(ACT.key, "started", None, INTENT - 1), HAPPENED),
    ),
    "undone without an intent": ({"I22"}, STORIES["done"], (STARTED, HAPPENED, UNDONE[0])),
    "with other args": (
        {"I24"},
        STORIES["done"],
        (Deed(ACT.key, "started", {"guests": 20}), HAPPENED),
    ),
    "with the args from before the edit": (
        {"I24"},
        STORIES["done as edited"],
        (Deed(ACT.key, "started", {"guests": 2}), HAPPENED),
    ),
    "of no proposal": ({"I28"}, STORIES["waits"], (Deed(OTHER.key, "started"),)),
    "made up": ({"I23"}, STORIES["done"], (STARTED,)),
    "denied": ({"I23"}, STORIES["failed"], (STARTED, HAPPENED)),
    "undone, which is made up": ({"I23"}, STORIES["reverted"], (STARTED, HAPPENED, UNDONE[0])),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_the_ledger_of_the_world_is_held_against_the_timeline(what: str) -> None:
    rules, steps, deeds = OUTSIDE[what]
    assert _rules(_story(*steps), deeds) == rules


def test_what_a_person_says_of_a_doubt_need_not_be_true() -> None:
    for verdict in (ACT.committed(), ACT.failed()):
        steps = (*STORIES["in doubt"], evolve(verdict, by="alice"))
        assert broken_rules(_story(*steps), deeds=(STARTED,)) == []
        assert broken_rules(_story(*steps), deeds=(STARTED, HAPPENED)) == []


def test_what_is_hidden_on_the_timeline_may_be_anything_outside() -> None:
    act = evolve(ACT, args={"card": "[secret]", "guests": 2})
    steps = (act.proposed(), act.confirmed(), act.committing(), act.committed())
    for args, rules in (
        ({"card": "4711", "guests": 2}, set[str]()),
        ({"card": "4711", "guests": 3}, {"I24"}),
    ):
        assert _rules(_story(*steps), (Deed(act.key, "started", args), HAPPENED)) == rules
