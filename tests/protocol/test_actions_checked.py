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
    ResponseEnd,
    TokenCount,
    ToolCall,
    ToolResult,
    TurnTrace,
)
from bargein.protocol.ids import ActionId, ConfirmationId, turn_id
from tests.checker import broken_rules
from tests.protocol.acts import ACT, ONE, OTHER, SAFE, STORIES, Steps, story
from tests.protocol.timelines import Pen

TWO = turn_id(2)


def _rules(events: list[Event]) -> set[str]:
    return {sentence.partition(":")[0] for sentence in broken_rules(events)}


@pytest.mark.parametrize("what", STORIES)
def test_what_may_become_of_an_action_breaks_no_rule(what: str) -> None:
    assert broken_rules(story(*STORIES[what])) == []


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
    assert _rules(story(*steps)) == rules


def test_what_is_underway_may_be_open_while_the_session_goes_on() -> None:
    for what in ("left confirmed", "left committing", "left reverting"):
        assert broken_rules(story(*BROKEN[what][1]), finished=False) == []


def test_two_proposals_share_neither_an_id_nor_a_confirmation() -> None:
    for changes in ({"action_id": ACT.id}, {"confirmation_id": ConfirmationId("conf_1")}):
        pen = Pen()
        pen.begin(ONE)
        pen.write(ONE, ACT.proposed(), evolve(OTHER.proposed(), **changes))
        pen.end(ONE)
        assert _rules(pen.events) == {"I28"}


def test_an_event_of_an_action_is_of_the_turn_that_proposed_it() -> None:
    pen = Pen.after(story(ACT.proposed()))
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
        lambda: _interrupted((*BEGUN, ACT.in_doubt()), (), (ACT.failed(),), flying=IT, still=IT),
    ),
    "a doubt from before is not listed": (
        {"I13", "I25"},
        lambda: _interrupted((*BEGUN, ACT.in_doubt()), (), (ACT.failed(),)),
    ),
    "an undoing from before is in doubt after": (
        set(),
        lambda: _interrupted(
            (*BEGUN, ACT.committed(), ACT.reverting()),
            (),
            (ACT.revert_in_doubt(), ACT.reverted()),
        ),
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
