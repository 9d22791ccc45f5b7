"""What nodes that serve together count, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

GUESTS: Final = Gauge(
    "bargein_guests", "Clients of other nodes that are attached to sessions of this one."
)

FOLLOWINGS: Final = Gauge(
    "bargein_followings", "Sessions of other nodes that clients of this one are attached to."
)

LETTERS: Final = Counter("bargein_letters_total", "Letters to other nodes, by kind.", ["kind"])

LETTERS_REFUSED: Final = Counter(
    "bargein_letters_refused_total", "Letters of other nodes that could not be read."
)
