"""Actions in the fold: any events whatever follow the table, or change nothing."""

from __future__ import annotations

import copy
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bargein.protocol.actions import EDGES as PRODUCT_EDGES
from bargein.protocol.actions import UNDERWAY, digest_of, key_of
from bargein.protocol.events import ActionInDoubt, Event, Payload
from bargein.protocol.ids import ConfirmationId, SessionId, TurnId, turn_id
from bargein.protocol.recovery import closing_events
from bargein.protocol.state import SessionState, fold
from tests.action_rules import EDGES
from tests.checker import broken_rules
from tests.protocol.acts import Act
from tests.protocol.strategies import FEW, SETTLED, json_values
from tests.protocol.timelines import Pen

ONE, TWO = turn_id(1), turn_id(2)
ACTS: Final = (Act(ONE), Act(ONE, 2, "idempotent"), Act(TWO, 3))

VERBS: Final = (
    "confirmed",
    "rejected",
    "expired",
    "committing",
    "committed",
    "failed",
    "in_doubt",
    "reverting",
    "reverted",
    "revert_failed",
)
ENDS: Final = ("rejected", "expired", "failed", "committed", "reverted", "revert_failed")

Move = tuple[int, str]

anything: Final = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(VERBS)), max_size=30)


@st.composite
def likely(draw: st.DrawFn) -> list[Move]:
    """Moves of which most are edges, so that the far ends of the table are reached."""
    states = ["proposed"] * len(ACTS)
    moves: list[Move] = []
    for _ in range(draw(st.integers(0, 30))):
        number = draw(st.integers(0, 2))
        edges = EDGES.get(states[number], {})
        verb = draw(st.sampled_from(sorted(edges) or VERBS))
        if draw(st.integers(0, 4)) == 0:
            verb = draw(st.sampled_from(VERBS))
        states[number] = edges.get(verb, states[number])
        moves.append((number, verb))
    return moves


moves_of = anything | likely()


def _event(act: Act, verb: str, state: str) -> Payload:
    if verb == "in_doubt" and state in ("reverting", "revert_in_doubt"):
        return act.revert_in_doubt()
    return getattr(act, verb)()


def _proposed() -> Pen:
    pen = Pen()
    for turn in (ONE, TWO):
        pen.begin(turn)
        for act in ACTS:
            if act.turn == turn:
                pen.write(turn, act.proposed())
        pen.end(turn)
    return pen


def _played(moves: list[Move]) -> tuple[Pen, list[str], bool]:
    """Write *moves*; return the states by the checker's table, and whether all were edges."""
    pen, states, legal = _proposed(), ["proposed"] * len(ACTS), True
    for number, verb in moves:
        act, state = ACTS[number], states[number]
        pen.write(act.turn, _event(act, verb, state))
        states[number] = EDGES.get(state, {}).get(verb, state)
        legal = legal and verb in EDGES.get(state, {})
    return pen, states, legal


def test_two_who_read_the_protocol_wrote_the_same_table() -> None:
    ours = {
        (state, f"action.{verb}"): after
        for state, edges in EDGES.items()
        for verb, after in edges.items()
    }
    assert ours == PRODUCT_EDGES


@SETTLED
@given(moves_of)
def test_any_events_follow_the_table_or_change_nothing(moves: list[Move]) -> None:
    pen, states, _ = _played(moves)
    actions = pen.state.actions
    assert [actions.by_id[act.id].status for act in ACTS] == states
    still_open = [act.id for act, state in zip(ACTS, states, strict=True) if state not in ENDS]
    assert sorted(actions.open) == still_open
    assert pen.state.unsettled == bool(still_open)


@SETTLED
@given(moves_of)
def test_what_is_no_edge_leaves_the_fold_as_it_was(moves: list[Move]) -> None:
    pen, states = _proposed(), ["proposed"] * len(ACTS)
    for number, verb in moves:
        act, state = ACTS[number], states[number]
        before = copy.deepcopy(pen.state.actions)
        pen.write(act.turn, _event(act, verb, state))
        if verb in EDGES.get(state, {}):
            states[number] = EDGES[state][verb]
            assert pen.state.actions.by_id[act.id].latest_seq == pen.state.seq
        else:
            assert pen.state.actions == before


@SETTLED
@given(moves_of)
def test_the_checker_finds_what_the_fold_passes_over(moves: list[Move]) -> None:
    pen, _, legal = _played(moves)
    found = [s for s in broken_rules(pen.events, finished=False) if s.startswith("I20")]
    only_person_rejects = all("rejects what was confirmed" in sentence for sentence in found)
    assert only_person_rejects == legal


@FEW
@given(moves_of)
def test_a_state_copied_anywhere_goes_on_to_the_same_actions(moves: list[Move]) -> None:
    events: list[Event] = _played(moves)[0].events
    whole, state = fold(events), SessionState()
    for place, event in enumerate(events):
        continued = copy.deepcopy(state)
        for later in events[place:]:
            continued.apply(later.seq, later.ts, later.turn_id, later.payload)
        assert continued == whole
        state.apply(event.seq, event.ts, event.turn_id, event.payload)
    assert state == whole


@SETTLED
@given(moves_of)
def test_a_restart_puts_in_doubt_what_was_underway_and_nothing_else(moves: list[Move]) -> None:
    pen, states, _ = _played(moves)
    closing = closing_events(pen.state)
    doubted = {act.id for act, state in zip(ACTS, states, strict=True) if state in UNDERWAY}
    assert {p.action_id for _, p in closing if isinstance(p, ActionInDoubt)} == doubted
    assert len(closing) == len(doubted)
    for turn, payload in closing:
        pen.write(turn, payload)
    assert not pen.state.actions.awaiting(UNDERWAY)
    assert closing_events(pen.state) == []


@SETTLED
@given(moves_of)
def test_each_key_is_of_its_own_proposal(moves: list[Move]) -> None:
    pen, _, _ = _played(moves)
    for act in ACTS:
        action = pen.state.actions.by_id[act.id]
        if action.key is not None:
            assert action.key == act.key
            assert action.key == key_of(
                action.action, pen.events[0].session_id, act.turn, action.confirmation_id
            )


names = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
parts = st.tuples(names, names, names, names)


@SETTLED
@given(parts, parts)
def test_two_proposals_have_two_keys(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    def key(action: str, session: str, turn: str, confirmation: str) -> str:
        return key_of(action, SessionId(session), TurnId(turn), ConfirmationId(confirmation))

    assert (key(*one) == key(*other)) == (one == other)


@SETTLED
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_a_digest_asks_for_no_order_of_arguments(args: dict[str, object]) -> None:
    backwards = dict(reversed(args.items()))
    assert digest_of(args) == digest_of(backwards)
    assert digest_of({**args, "more": 1}) != digest_of({**args, "more": 2})
