"""What a client is told and held to, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from bargein.gateway.rates import Rates


@frozen
class Manners:
    """What a client is told and held to.

    Attributes:
        server: Name and version, as in `hello.server`.
        limits: What `hello.limits` says.
        heartbeat_s: What `hello` says.
        strikes_most: Bad commands within `strikes_window_s` that close a connection.
        lagging_events: So far behind a client's tokens are merged.
        lagging_s: How long it may lag.
        rates: How fast it may send.
    """

    server: str
    limits: Mapping[str, Any]
    heartbeat_s: float = 20.0
    strikes_most: int = 10
    strikes_window_s: float = 60.0
    lagging_events: int = 256
    lagging_s: float = 30.0
    rates: Rates = field(factory=Rates)
