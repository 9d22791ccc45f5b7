"""The checker and the world outside: what was done there is held against the timeline."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from bargein.protocol.events import Event
from tests.checker import Deed, broken_rules
from tests.protocol.acts import ACT, OTHER, SAFE, STORIES, Steps, story


def _rules(events: list[Event], deeds: Sequence[Deed]) -> set[str]:
    return {sentence.partition(":")[0] for sentence in broken_rules(events, deeds=deeds)}


DONE = story(*STORIES["done"])
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
    "undone again out of doubt": (
        set(),
        (
            SAFE.proposed(),
            SAFE.confirmed(),
            SAFE.committing(),
            SAFE.committed(),
            SAFE.reverting(),
            SAFE.revert_in_doubt(),
            SAFE.reverted(),
        ),
        (STARTED, HAPPENED, UNDONE[0], *UNDONE),
    ),
    "undone again, and the doubt was another": (
        {"I21"},
        (
            SAFE.proposed(),
            SAFE.confirmed(),
            SAFE.committing(),
            SAFE.in_doubt(),
            SAFE.committed(),
            SAFE.reverting(),
            SAFE.reverted(),
        ),
        (STARTED, HAPPENED, UNDONE[0], *UNDONE),
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
    assert _rules(story(*steps), deeds) == rules


def test_what_a_person_says_of_a_doubt_need_not_be_true() -> None:
    for verdict in (ACT.committed(), ACT.failed()):
        steps = (*STORIES["in doubt"], evolve(verdict, by="alice"))
        assert broken_rules(story(*steps), deeds=(STARTED,)) == []
        assert broken_rules(story(*steps), deeds=(STARTED, HAPPENED)) == []


def test_what_is_hidden_on_the_timeline_may_be_anything_outside() -> None:
    act = evolve(ACT, args={"card": "[secret]", "guests": 2})
    steps = (act.proposed(), act.confirmed(), act.committing(), act.committed())
    for args, rules in (
        ({"card": "4711", "guests": 2}, set[str]()),
        ({"card": "4711", "guests": 3}, {"I24"}),
    ):
        assert _rules(story(*steps), (Deed(act.key, "started", args), HAPPENED)) == rules
