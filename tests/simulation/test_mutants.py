"""The simulator finds every bug that is planted, within the seeds of one test run."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.planted import Mutant, search

WITHIN = 300
"""Each was found within 100 when it was planted; CI has to find it within 2,000."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    found = search(mutant, range(WITHIN))
    assert found is not None, f"{mutant.name} ({mutant.invariant}) was not found in {WITHIN} seeds"
    assert found.broken
