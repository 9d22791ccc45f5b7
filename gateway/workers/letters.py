"""What a supervisor and its workers write to each other.

A supervisor may be of an older version than its workers: what is added here has a default, nothing
is taken away, and what an end does not know it leaves out.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Pulse:
    """How a worker is, by its own word.

    Attributes:
        ready: Whether it can serve new sessions.
        trouble: Why not; empty while it can.
        lag_s: The most that its event loop was late, since the pulse before.
        cpu_share: Of one core, since the pulse before; more than 1 with several threads.
        drain_s: How long its turns may take when it is to end; None where it does not say.
        node: By which name other servers know it; empty where it does not say.
    """

    ready: bool
    trouble: str
    sessions: int
    connections: int
    lag_s: float
    cpu_share: float
    memory_bytes: int
    drain_s: float | None = None
    node: str = ""


@frozen
class Series:
    """One figure of a worker, with all that it is split by."""

    name: str
    kind: str
    text: str
    samples: tuple[tuple[str, dict[str, str], float], ...]


@frozen
class Up:
    """A letter of a worker.

    Attributes:
        pulse: How it is.
        figures: What it counts, as it was asked to tell.
        asks_for_all: Whether it wants to know what all workers count, for somebody who asked it.
    """

    pulse: Pulse | None = None
    figures: tuple[Series, ...] | None = None
    asks_for_all: bool = False


@frozen
class Down:
    """A letter of the supervisor.

    Attributes:
        asks_for_figures: Whether the worker is to tell what it counts.
        all_figures: What all workers count, as the worker had asked; text for Prometheus.
        ended: Names of servers that have ended without a goodbye, and are known to have.
    """

    asks_for_figures: bool = False
    all_figures: bytes | None = None
    ended: tuple[str, ...] = ()
