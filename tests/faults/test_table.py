"""The table of faults: whole, true of its names, and each row of it tried on a real server."""

from __future__ import annotations

import re

import pytest

from bargein.protocol.codes import CloseCode, ErrorCode
from tests.faults import attaching, bytes_in, canaries, commanding, modelling, tooling
from tests.faults.ground import ground
from tests.faults.table import ROWS, SECTIONS, Row
from tests.faults.trials import PROVOCATIONS, Trial, trials
from tests.project.tree import ROOT

DECLARED = (attaching, bytes_in, commanding, modelling, tooling)
TRIALS = list(trials())
SILENT = frozenset({"empty, lenient", "arguments that are no JSON", "a huge result"})
"""Cases that lead to none of the codes of their row, as its words say."""

RFC_6455 = frozenset({1002, 1009})
EXIT_CODES = frozenset({0, 70, 78})
HELD = [(row.n, held) for row in ROWS for held in row.held]


def number(row: Row) -> str:
    return str(row.n)


# --- the table itself -------------------------------------------------------------------


def test_the_rows_are_numbered_without_a_gap():
    assert [row.n for row in ROWS] == list(range(1, 117))


@pytest.mark.parametrize("row", ROWS, ids=number)
def test_a_row_names_what_there_is(row: Row):
    assert set(row.code) <= {code.value for code in ErrorCode}
    assert set(row.close) <= {code.value for code in CloseCode} | RFC_6455
    assert set(row.http) <= set(range(400, 600))
    assert set(row.exit) <= EXIT_CODES
    assert row.code or row.close or row.http or row.exit or row.does
    assert row.section in SECTIONS
    assert "|" not in row.comes + row.does + row.after


@pytest.mark.parametrize("row", ROWS, ids=number)
def test_a_row_is_tried_or_held_elsewhere_or_says_why_not_yet(row: Row):
    assert row.by or row.held or len(row.later) > 10
    assert set(row.by) <= PROVOCATIONS.keys()


def test_every_provocation_is_for_a_row():
    assert {module.__name__.rpartition(".")[2] for module in DECLARED}
    assert PROVOCATIONS.keys() == {name for row in ROWS for name in row.by}


@pytest.mark.parametrize(("row", "held"), HELD)
def test_a_test_that_a_row_names_is_there(row: int, held: str):
    path, _, name = held.partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), row


# --- each row ---------------------------------------------------------------------------


def check_outcome(trial: Trial, codes: set[str], closes: set[int], statuses: set[int]) -> None:
    """Check that what came is among what the row names, and that something came."""
    row = trial.row
    assert codes <= set(row.code), codes
    assert closes <= set(row.close), closes
    assert statuses <= set(row.http), statuses
    names_some = bool(row.code or row.close or row.http)
    is_silent = any(trial.name.endswith(name) for name in SILENT)
    assert bool(codes or closes or statuses) is (names_some and not is_silent)


async def held_true(trial: Trial) -> None:
    row = trial.row
    async with ground(trial.provocation.stage) as here:
        seen = await trial.provocation.act(here, trial.case)
        check_outcome(trial, set(seen.codes), set(seen.closes), set(seen.statuses))
        if seen.striking is not None:
            assert await seen.striking() is row.strike
        if row.ends:
            await here.is_usable(None)
        else:
            await here.is_usable(seen.session_id)
        await here.shows_no_canary()


@pytest.mark.parametrize("trial", TRIALS, ids=str)
async def test_a_row_has_the_answer_of_the_table_and_the_session_goes_on(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BARGEIN_TEST_PASSWORD", canaries.ENVIRONMENT)
    await held_true(trial)
