"""A review as JSON, and as tables for people."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, cast

from bargein.gateway.review import Review, percentile

_SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

Tree = dict[str, Any]


def tree_of(review: Review) -> Tree:
    """Return all that a review says, as JSON has it; times of turns in ms."""
    interrupts = review.interrupts.total()
    return {
        "since": review.since,
        "until": review.now,
        "sessions": {
            **dict(review.sessions),
            "length_s": _spread(review.lengths_s),
            "left": _counts(review.left),
            "left_share": _share(review.left.total(), review.sessions["active"]),
        },
        "turns": {"count": review.turns.total(), "by_outcome": _counts(review.turns)},
        "latency_ms": {
            "first_words": _spread(review.first_words_ms),
            "turn": _spread(review.worked_ms),
        },
        "interrupts": {
            "count": interrupts,
            "succeeded_share": _share(review.succeeded, interrupts),
            "by_cause": _pairs(review.interrupts),
            "by_outcome": _counts(review.endings),
            "flush_ms": _spread(review.silent_ms),
            "ack_ms": _spread(review.ack_ms),
            "ghost_tokens": review.ghosts,
        },
        "tokens": {
            "generated": review.generated,
            "delivered": review.delivered,
            "saved_by_interrupts": review.saved,
        },
        "models": {
            "calls": _pairs(review.models),
            "vendor_tokens": _pairs(review.vendor_tokens),
            "retries": review.retries,
            "fallbacks_to": _counts(review.fallbacks),
        },
        "tools": _pairs(review.tools),
        "recoveries": _pairs(review.recoveries),
        "errors": _counts(review.errors),
        "actions": _pairs(review.actions),
        "escalations": {
            "guardrails": _counts(review.guardrails),
            "refused_turns": review.turns["refused"],
            "hand_overs": review.hand_overs,
        },
        "slowest_turns": [
            {"session_id": session_id, "turn_id": turn_id, "outcome": status, "ms": round(ms, 1)}
            for ms, session_id, turn_id, status in sorted(review.slowest, reverse=True)
        ],
        "damaged": review.damaged,
    }


def lines_of(tree: Tree) -> Iterator[str]:
    """Return a review as lines: a heading for each part, and what it says below, aligned."""
    yield f"From {tree['since']} to {tree['until']}"
    for heading, part in tree.items():
        if heading in ("since", "until") or (heading == "damaged" and not part):
            continue
        yield ""
        yield heading.replace("_", " ").upper()
        rows = list(_rows(part))
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            yield f"  {name:<{width}}  {value}"
        if not rows:
            yield "  none"


def _rows(part: Any, within: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(part, list):
        yield from map(_item, cast("list[Any]", part))
    elif not isinstance(part, dict):
        yield _plain(within), _number(part)
    elif "p50" in part:
        spread = cast("Tree", part)
        yield _plain(within), "  ".join(f"{name} {_number(spread[name])}" for name in spread)
    else:
        for name, value in cast("Tree", part).items():
            yield from _rows(value, f"{within}  {name}".strip())


def _item(item: Any) -> tuple[str, str]:
    if isinstance(item, str):
        return _plain(item), ""
    turn = cast("Tree", item)
    return f"{turn['session_id']} {turn['turn_id']}", f"{turn['ms']:.0f} ms, {turn['outcome']}"


def _number(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"  # noqa: PLR2004 - all digits from there on
        case _:
            return str(value)


def _plain(text: str) -> str:
    # Names come from apps and models: none may paint the terminal.
    return text.encode("ascii", "backslashreplace").decode().translate(_CONTROLS)


_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def _counts(counted: Counter[str]) -> Tree:
    return dict(counted.most_common())


def _pairs(counted: Counter[tuple[str, str]]) -> Tree:
    """Return counts by two names, one below the other; the most frequent first."""
    tree: dict[str, dict[str, int]] = {}
    for (first, second), count in counted.most_common():
        tree.setdefault(first, {})[second] = count
    return tree


def _spread(values: array[float]) -> Tree:
    spread = {name: _rounded(percentile(values, share)) for name, share in _SHARES.items()}
    return {"count": len(values), **spread, "max": _rounded(max(values, default=None))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
