"""The bounds of a session, as values: every wait and every queue has one."""

from __future__ import annotations

from attrs import field, frozen

from bargein.protocol.commands import Budgets
from bargein.timeline.log import MOST_TAIL_BYTES, MOST_TAIL_EVENTS


@frozen
class Limits:
    """What a session may take and how long it may wait; seconds and counts.

    Attributes:
        queue_most: Words that may wait for the running turn.
        abandon_s: How long a ladder waits for work to unwind.
        playback_silence_s: How long a client that plays may report nothing.
        grace_s: How long a turn runs on with no driver attached.
        idle_s: How long a session without connections stays in memory.
        history_chars: How much of the conversation a model is shown, at most.
        confirm_s: How long a proposal waits for a decision.
        proposals_most: Proposals that may wait at the same time.
        commits_most: Commits that run at the same time; more wait.
        flush_s: How long an ending session waits for the store.
        budgets: How long a turn should take, where its session says nothing else.
        tail_events: The latest events that stay in memory, at most.
        tail_bytes: The same bound, in bytes; whichever is met first holds.
    """

    queue_most: int = 8
    abandon_s: float = 0.25
    playback_silence_s: float = 30.0
    grace_s: float = 15.0
    idle_s: float = 60.0
    history_chars: int = 400_000
    confirm_s: float = 120.0
    proposals_most: int = 32
    commits_most: int = 4
    flush_s: float = 5.0
    budgets: Budgets = field(factory=Budgets)
    tail_events: int = MOST_TAIL_EVENTS
    tail_bytes: int = MOST_TAIL_BYTES
