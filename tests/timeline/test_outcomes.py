from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.outcomes import announce_all
from bargein.timeline.store import Append, StoreError, StoreUnavailable


@define(eq=False)
class Told:
    """A session, and what it was told."""

    session_id: SessionId
    durable: list[Seq] = field(factory=list[Seq])
    failed: list[StoreError] = field(factory=list[StoreError])

    def append(self, first: int, *, on_durable: Callable[[Seq], None] | None = None) -> Append:
        return Append(
            session_id=self.session_id,
            first_seq=Seq(first),
            frames=(b"{}", b"{}"),
            urgent=False,
            unsettled=True,
            on_durable=on_durable or self.durable.append,
            on_failed=self.failed.append,
        )


def test_who_has_several_appends_in_a_group_is_told_of_the_last_that_was_stored() -> None:
    a, b, c = Told(SessionId("a")), Told(SessionId("b")), Told(SessionId("c"))
    group = [a.append(1), b.append(1), a.append(3), b.append(3), c.append(1), a.append(5)]
    refusal = StoreUnavailable("planted")
    announce_all(group, {3: refusal, 4: refusal})
    assert (a.durable, b.durable, c.durable) == ([6], [2], [])
    assert (a.failed, b.failed, c.failed) == ([], [refusal], [refusal])


def test_each_append_with_an_ear_of_its_own_is_told_of() -> None:
    a = Told(SessionId("a"))
    heard: list[tuple[str, Seq]] = []
    first = a.append(1, on_durable=lambda seq: heard.append(("first", seq)))
    second = a.append(3, on_durable=lambda seq: heard.append(("second", seq)))
    announce_all([first, second], {})
    assert heard == [("first", 2), ("second", 4)]
