"""What so many sessions take, on paper: workers, and Redis, from figures that were measured.

python -m examples.bench.sizing --talking-share 0.05 --turns-kept 20
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import ceil
from typing import Final

from attrs import Factory, frozen

KIB: Final = 1024
GIB: Final = 1024**3
MICRO: Final = 1e-6


@frozen
class Measured:
    """What one thing costs.

    Attributes:
        token_us: CPU of a worker for a token: 106 with SQLite on a full core (docs/performance.md),
            less the fifth that SQLite's thread takes, and 35 for the append to Redis.
        idle_kib: Memory of a session with its connection that does nothing.
        talking_kib: The same after a quarter of a minute of conversation.
        tokens_per_event: Adjacent tokens travel together where a core is busy.
        turn_events: Events of a turn beside its tokens.
        append_us: CPU of Redis for an append, the network and the file of appends included.
        event_bytes: Memory of Redis for an event.
        sent_bytes: What is sent to Redis for an event.
        letter_commands: Of Redis, for an event that is shown at another server: `XADD` and
            `PEXPIRE` by who owns the session, `XREAD` and a script that clears by who reads; the
            most, since letters of one moment go together.
        lease_commands_per_s: Of each worker: its lease and two looks at those of the others, each
            twice a second.
    """

    token_us: float = 120.0
    idle_kib: float = 54.5
    talking_kib: float = 502.0
    tokens_per_event: float = 1.06
    turn_events: int = 20
    append_us: float = 33.0
    event_bytes: int = 291
    sent_bytes: int = 646
    letter_commands: int = 4
    lease_commands_per_s: int = 6


@frozen
class Load:
    """What people do.

    Attributes:
        sessions: With a client each.
        talking_share: Of them, in which an answer streams at any moment.
        tokens_per_s: Of such an answer.
        turn_tokens: Its length.
        turns_kept: Turns of a session that have not been erased yet.
        elsewhere_share: Of the clients, at another server than the one that has their session, as
            after a reconnect: where none has been cut off since its session woke, there is none.
    """

    sessions: int
    talking_share: float = 0.02
    tokens_per_s: float = 50.0
    turn_tokens: int = 200
    turns_kept: int = 10
    elsewhere_share: float = 0.25


@frozen
class Room:
    """How full things may be.

    Attributes:
        core_share: Of a worker's core, on average: what is above it makes interrupts wait.
        redis_share: The same of a Redis server's one.
        connections: Of a worker, `limits.connections_most`.
    """

    core_share: float = 0.6
    redis_share: float = 0.5
    connections: int = 10_000


@frozen
class Need:
    """What a load takes, with some room."""

    load: Load
    measured: Measured = Factory(Measured)
    room: Room = Factory(Room)

    @property
    def talking(self) -> float:
        """Sessions in which an answer streams."""
        return self.load.sessions * self.load.talking_share

    @property
    def tokens_per_s(self) -> float:
        """All tokens together."""
        return self.talking * self.load.tokens_per_s

    @property
    def turns_per_s(self) -> float:
        """Turns that begin."""
        return self.tokens_per_s / self.load.turn_tokens

    @property
    def events_per_s(self) -> float:
        """Events, each of which is an append to Redis."""
        tokens = self.tokens_per_s / self.measured.tokens_per_event
        return tokens + self.turns_per_s * self.measured.turn_events

    @property
    def workers(self) -> int:
        """Worker processes, a core each."""
        busy = self.tokens_per_s * self.measured.token_us * MICRO / self.room.core_share
        return max(1, ceil(busy), ceil(self.load.sessions / self.room.connections))

    @property
    def memory_gib(self) -> float:
        """Memory of all workers' sessions."""
        idle = (self.load.sessions - self.talking) * self.measured.idle_kib
        return (idle + self.talking * self.measured.talking_kib) * KIB / GIB

    @property
    def redis_servers(self) -> int:
        """Primaries, among which sessions are divided."""
        busy = self.events_per_s * self.measured.append_us * MICRO / self.room.redis_share
        return max(1, ceil(busy))

    @property
    def redis_mb_per_s(self) -> float:
        """What is sent to all of them."""
        return self.events_per_s * self.measured.sent_bytes / 1e6

    @property
    def redis_commands_per_s(self) -> float:
        """What all of them are asked for: appends, letters and leases."""
        shown = self.events_per_s * self.load.elsewhere_share if self.workers > 1 else 0.0
        letters = shown * self.measured.letter_commands
        return self.events_per_s + letters + self.workers * self.measured.lease_commands_per_s

    @property
    def redis_gib(self) -> float:
        """Memory of all of them for what is kept."""
        tokens = self.load.turn_tokens / self.measured.tokens_per_event
        events = self.load.sessions * self.load.turns_kept * (tokens + self.measured.turn_events)
        return events * self.measured.event_bytes / GIB


def table(needs: list[Need]) -> Iterator[str]:
    """Yield a table in Markdown, a column for each load."""
    rows = (
        ("sessions with a client", [f"{need.load.sessions:,}" for need in needs]),
        ("of them talking", [f"{need.talking:,.0f}" for need in needs]),
        ("tokens a second", [f"{need.tokens_per_s:,.0f}" for need in needs]),
        ("workers, a core each", [f"{need.workers:,}" for need in needs]),
        ("their memory for sessions, GiB", [f"{need.memory_gib:,.1f}" for need in needs]),
        ("appends to Redis a second", [f"{need.events_per_s:,.0f}" for need in needs]),
        ("commands to Redis a second", [f"{need.redis_commands_per_s:,.0f}" for need in needs]),
        ("sent to Redis, MB/s", [f"{need.redis_mb_per_s:,.1f}" for need in needs]),
        ("Redis primaries, a core each", [f"{need.redis_servers:,}" for need in needs]),
        ("their memory, GiB", [f"{need.redis_gib:,.0f}" for need in needs]),
    )
    (head, cells), *rest = rows
    yield f"| {head} | {' | '.join(cells)} |"
    yield "|---|" + "---|" * len(needs)
    for name, cells in rest:
        yield f"| {name} | {' | '.join(cells)} |"


SESSIONS: Final = (2_000, 20_000, 100_000, 1_000_000)


def needs_of(talking_share: float, turns_kept: int) -> list[Need]:
    """Return what is needed for some numbers of sessions."""
    return [
        Need(Load(sessions, talking_share=talking_share, turns_kept=turns_kept))
        for sessions in SESSIONS
    ]


def main() -> None:
    """Print the table."""
    usual = Load(0)
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m examples.bench.sizing")
    parser.add_argument("--talking-share", type=float, default=usual.talking_share)
    parser.add_argument("--turns-kept", type=int, default=usual.turns_kept)
    given = parser.parse_args()
    print("\n".join(table(needs_of(given.talking_share, given.turns_kept))))


if __name__ == "__main__":
    main()
