from __future__ import annotations

import re
from math import nan
from xml.etree import ElementTree as ET

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from examples.bench.crowd import Glance
from examples.bench.figures import Cut, Tally, Turn
from examples.bench.page import page
from examples.bench.plots import POINTS_MOST, Line, lines, shares
from examples.bench.report import Report


def reported(tally: Tally) -> Report:
    return Report.of(
        tally, users=2, connected=2, now_s=9.0, seconds=3.0, cpu_s=0.1, model_first_s=0.2
    )


async def spoken() -> Tally:
    tally = Tally(tokens=40, token_frames=40, turns=2, completed=1, interrupts=1)
    tally.first_token.extend([0.25, 0.3])
    tally.first_token_made.extend([0.2, nan])
    tally.ack.append(0.004)
    tally.gap.extend([0.02] * 1000)
    for number, cut in enumerate([None, Cut(1.0, acked_s=1.01)]):
        turn = Turn(0.0, barged_in=False, id=f"turn_{number}", cut=cut)
        turn.begun_s, turn.first_token_s, turn.last_token_s, turn.over_s = 0.01, 0.25, 0.99, 1.02
        tally.finished.append(turn)
    await trio.lowlevel.checkpoint()
    return tally


async def test_a_page_needs_nothing_but_itself_and_shows_pictures_that_are_well_formed():
    tally = await spoken()
    glances = [Glance(float(n), 2, 20 * n, n, n, 0) for n in range(4)]
    html = page(reported(tally), tally, glances, "Users & <script>")
    assert "<script" not in html
    assert re.findall(r"""(?:src|href)=|url\(|@import""", html) == []
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        ET.fromstring(picture)  # noqa: S314 - it is ours
    # Waiting, thinking and speaking of both turns, and the end of the one that was cut in on.
    assert len(re.findall(r"<rect ", pictures[3])) == 7
    assert "Nothing went wrong." in html


async def test_a_page_of_a_run_that_failed_says_so_and_one_without_samples_is_a_page():
    tally = Tally()
    tally.errors["connection cut"] = 3
    html = page(reported(tally), tally, [], "Nobody")
    assert "Something went wrong" in html
    assert "connection cut: 3" in html
    assert html.count("Nothing to draw.") == 4


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=3000))
def test_shares_rise_to_all_and_keep_the_ends(samples: list[float]):
    drawn = shares(samples)
    assert len(drawn) <= POINTS_MOST + 1
    assert list(drawn) == sorted(drawn)
    assert drawn[-1] == (max(samples), 100.0)
    for value, share in drawn:
        not_above = sum(sample <= value for sample in samples) / len(samples) * 100
        assert share <= not_above + 1e-9


@given(
    st.lists(st.tuples(st.floats(0.1, 1e5), st.floats(0, 1e7)), min_size=1, max_size=30),
    st.booleans(),
)
def test_a_line_stays_on_its_plot(points: list[tuple[float, float]], logarithmic: bool):
    drawn = lines("a plot", "ms", [Line("a", 0, tuple(points))], logarithmic=logarithmic)
    found = re.search(r'<polyline class="hue0" points="([^"]*)"', drawn)
    assert found is not None
    for place in found[1].split():
        x, y = map(float, place.split(","))
        assert 0 <= x <= 920
        assert 0 <= y <= 260


@pytest.mark.parametrize("count", [1, 2, 399, 400, 401, 5000])
def test_shares_of_any_count_are_distinct_points_in_order(count: int):
    drawn = shares([float(number) for number in range(count)])
    assert len(set(drawn)) == len(drawn)
