"""The table of docs/voice.md: python -m tests.speech.table writes it, and a test compares it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Final

from tests.project.tree import ROOT
from tests.speech.contest import Score, contest
from tests.speech.corpus import dialogues

PAGE: Final = ROOT / "docs" / "voice.md"
_REGION: Final = re.compile(r"(<!-- generated: turns -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD: Final = (
    "| | precision | recall | gap, median | gap, 90 % | begun early, median | 90 % "
    "| false interruptions | missed |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def table_of(scores: Sequence[Score]) -> str:
    """Return the table."""
    return _HEAD + "".join(
        f"| {s.name} | {s.precision:.1%} | {s.recall:.1%} | {s.gap_ms:.0f} ms "
        f"| {s.worst_gap_ms:.0f} ms | {_early(s)} | {s.false_interruptions:.1%} "
        f"| {s.missed_interruptions:.1%} |\n"
        for s in scores
    )


def _early(score: Score) -> str:
    if not score.early_gaps_s:
        return " | "
    return f"{score.early_gap_ms:.0f} ms | {score.early_worst_gap_ms:.0f} ms"


def generated(page: str) -> str:
    """Return the page with the table of today."""
    table = table_of(contest(dialogues()))
    return _REGION.sub(lambda found: found[1] + table + found[2], page)


if __name__ == "__main__":
    written = generated(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(written, encoding="utf-8")
    sys.stdout.write(table_of(contest(dialogues())))
