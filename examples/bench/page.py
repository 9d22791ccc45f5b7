"""The report on a run of bots as a page: one file, with its pictures, that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Final

from examples.bench.crowd import Glance
from examples.bench.figures import Spread, Tally, Turn
from examples.bench.plots import Bar, Line, Row, lines, shares, waterfall
from examples.bench.report import Report

TURNS_SHOWN: Final = 28
STYLE: Final = Path(__file__).with_name("page.css")

LEAST_MS: Final = 0.1
"""Where the axis of times begins: a logarithm needs a beginning."""

_BARS: Final = (
    ("wait", "until the server has the words"),
    ("think", "until the first token"),
    ("speak", "tokens"),
    ("stop", "from the interrupt until the turn is over"),
)


def page(report: Report, tally: Tally, glances: Sequence[Glance], title: str) -> str:
    """Return the page for *report*, with what *tally* kept of single turns."""
    style = STYLE.read_text(encoding="utf-8")
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    verdict = (
        '<span class="verdict good">Nothing went wrong.</span>'
        if report.clean
        else '<span class="verdict bad">Something went wrong: see the counts.</span>'
    )
    parts = (
        f"<h1>{escape(title)}</h1>",
        f"<p>{now} · {report.users} users, {report.seconds:g} s measured. {verdict}</p>",
        _headlines(report),
        _section("How long things took", _times_plot(tally), _times_table(report)),
        _section("How it went", *_throughput(glances)),
        _section("Some turns", *_turns(tally)),
        _section("Counts", _counts(report)),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _headlines(report: Report) -> str:
    cards = (
        f'<div class="figure"><span>{escape(name)}</span><b>{escape(said)}</b></div>'
        for name, said in report.headlines()
    )
    return f'<div class="figures">{"".join(cards)}</div>'


def _legend(entries: Sequence[tuple[str, str, str]]) -> str:
    items = (
        f'<li><i class="{kind}" style="background:var(--{color})"></i>{escape(name)}</li>'
        for color, name, kind in entries
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


# --- times ----------------------------------------------------------------------------


def _times_plot(tally: Tally) -> str:
    kinds = (
        ("say → first token", tally.first_token),
        ("barge-in → first token", tally.barge_in),
        ("interrupt → flush", tally.flush),
        ("interrupt → ack", tally.ack),
        ("token → next token", tally.gap),
    )
    drawn = [
        Line(name, hue, shares([max(LEAST_MS, sample * 1000) for sample in samples]))
        for hue, (name, samples) in enumerate(kinds)
        if samples
    ]
    legend = _legend([(f"hue{line.hue}", line.name, "") for line in drawn])
    plot = lines("Share of samples that took no longer", "ms", drawn, logarithmic=True)
    return f"<p>Percent of samples that took no longer.</p>{legend}{plot}"


def _times_table(report: Report) -> str:
    heads = "".join(f"<th>{head}</th>" for head in ("ms", "p50", "p95", "p99", "max", "samples"))
    rows = "".join(_times_row(name, spread) for name, spread in report.times() if spread)
    return f"<table><tr>{heads}</tr>{rows}</table>"


def _times_row(name: str, spread: Spread) -> str:
    figures = (spread.p50, spread.p95, spread.p99, spread.max)
    cells = "".join(f"<td>{figure:,.1f}</td>" for figure in figures)
    return f"<tr><td>{escape(name)}</td>{cells}<td>{spread.count:,}</td></tr>"


# --- the run --------------------------------------------------------------------------


def _throughput(glances: Sequence[Glance]) -> tuple[str, ...]:
    def rate(of: str) -> tuple[tuple[float, float], ...]:
        return tuple(
            (later.at_s, (getattr(later, of) - getattr(early, of)) / (later.at_s - early.at_s))
            for early, later in pairwise(glances)
            if later.at_s > early.at_s
        )

    users = tuple((glance.at_s, float(glance.connected)) for glance in glances)
    tokens = Line("tokens a second", 0, rate("tokens"))
    others = [
        Line("connected users", 2, users),
        Line("interrupts a second", 1, rate("interrupts")),
        Line("errors a second", 3, rate("errors")),
    ]
    return (
        _legend([("hue0", tokens.name, "")]),
        lines("Tokens a second", "s", [tokens]),
        _legend([(f"hue{line.hue}", line.name, "") for line in others]),
        lines("Users, interrupts and errors", "s", others),
    )


# --- turns ----------------------------------------------------------------------------


def _turns(tally: Tally) -> tuple[str, ...]:
    latest = [turn for turn in tally.finished if turn.over_s is not None]
    kept = sorted(latest, key=lambda turn: turn.asked_s)[-TURNS_SHOWN:]
    rows = [Row(turn.id or "", _bars(turn)) for turn in kept]
    drawn = waterfall("Turns from the words on", "s since the words", rows, _number_of)
    return (
        f"<p>The latest {len(rows)}, each from the moment its words were sent.</p>",
        _legend([(kind, name, "bar") for kind, name in _BARS]),
        drawn,
    )


def _number_of(row: Row) -> str:
    return row.name[-7:]


def _bars(turn: Turn) -> tuple[Bar, ...]:
    """Return what a turn did, in seconds since its words were sent."""
    over_s = turn.over_s or turn.asked_s
    silent_s = turn.cut.at_s if turn.cut is not None else over_s
    begun_s = turn.begun_s or over_s
    first_s = turn.first_token_s or silent_s
    moments = [
        ("wait", turn.asked_s, begun_s),
        ("think", begun_s, first_s),
        ("speak", first_s, min(turn.last_token_s or first_s, silent_s)),
    ]
    if turn.cut is not None:
        moments.append(("stop", turn.cut.at_s, over_s))
    named = dict(_BARS)
    return tuple(
        Bar(
            max(0.0, begin - turn.asked_s),
            end - turn.asked_s,
            kind,
            f"{turn.id}: {named[kind]}, {(end - begin) * 1000:.1f} ms",
        )
        for kind, begin, end in moments
        if end > begin
    )


# --- counts ---------------------------------------------------------------------------


def _counts(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(said)}</td></tr>" for name, said in report.counts()
    )
    return f'<table class="counts">{rows}</table>'
