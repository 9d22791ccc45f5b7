from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import trio
import trio.testing
from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.outcomes import TOLD_AT_ONCE, Announcements, fail
from bargein.timeline.store import Append, StoreError, StoreUnavailable


@define(eq=False)
class Told:
    """A session, and what it was told."""

    session_id: SessionId
    durable: list[Seq] = field(factory=list[Seq])
    failed: list[StoreError] = field(factory=list[StoreError])

    def append(
        self,
        first: int,
        *,
        on_durable: Callable[[Seq], None] | None = None,
        urgent: bool = False,
    ) -> Append:
        return Append(
            session_id=self.session_id,
            first_seq=Seq(first),
            frames=(b"{}", b"{}"),
            urgent=urgent,
            unsettled=True,
            on_durable=on_durable or self.durable.append,
            on_failed=self.failed.append,
        )


def announce_all(group: Sequence[Append], refused: Mapping[int, StoreError]) -> None:
    news = Announcements()
    news.add(group, refused)
    news.tell_all()
    for place, error in refused.items():
        fail(group[place], error)


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


def _crowd(many: int) -> list[Told]:
    return [Told(SessionId(f"s{number}")) for number in range(many)]


def test_a_few_are_told_at_once_and_those_first_who_asked_for_it() -> None:
    crowd, urgent = _crowd(3 * TOLD_AT_ONCE), Told(SessionId("urgent"))
    news = Announcements()
    news.add([*(told.append(1) for told in crowd), urgent.append(1, urgent=True)], {})
    news.tell_some()
    assert urgent.durable == [2]
    assert [told.durable for told in crowd] == [[2]] * TOLD_AT_ONCE + [[]] * (2 * TOLD_AT_ONCE)


def test_nobody_is_told_of_an_append_after_a_later_one() -> None:
    crowd = _crowd(3 * TOLD_AT_ONCE)
    news = Announcements()
    news.add([told.append(1) for told in crowd], {})
    news.tell_some()
    news.add([told.append(3, urgent=place % 2 == 0) for place, told in enumerate(crowd)], {})
    news.tell_some()
    news.add([told.append(5) for told in crowd], {})
    news.tell_all()
    assert all(told.durable == sorted(set(told.durable)) for told in crowd)
    assert all(told.durable[-1] == 6 for told in crowd)


async def test_the_rest_is_told_while_others_have_their_turn() -> None:
    crowd = _crowd(8 * TOLD_AT_ONCE)
    seen: list[int] = []

    def told() -> int:
        return sum(bool(each.durable) for each in crowd)

    async def look() -> None:
        while not seen or seen[-1] < len(crowd):
            seen.append(told())
            await trio.lowlevel.checkpoint()

    news = Announcements()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(news.run)
        await trio.testing.wait_all_tasks_blocked()
        news.add([each.append(1) for each in crowd], {})
        news.tell_some()
        with trio.fail_after(5):
            await look()
        nursery.cancel_scope.cancel()
    # The order of two tasks within a pass of the scheduler is a matter of chance.
    assert all(later - before <= 2 * TOLD_AT_ONCE for before, later in pairwise(seen))
