from __future__ import annotations

import trio
from attrs import define, field

from bargein.gateway.auth.authority import Authority
from bargein.gateway.auth.identity import Credential, Identity
from bargein.gateway.auth.revocation import Revocations
from bargein.gateway.auth.stays import Stays
from bargein.gateway.auth.tokens import Claims


@define(eq=False)
class WallClock:
    """A wall clock that goes with trio's, until somebody sets it."""

    set_forward_s: float = 0.0

    def now_s(self) -> float:
        return trio.current_time()

    def utc_ms(self) -> int:
        return int((1_800_000_000 + trio.current_time() + self.set_forward_s) * 1000)


@define(eq=False)
class Scene:
    clock: WallClock = field(factory=WallClock)
    longest_s: float = 2000
    ended: list[tuple[int, str, float]] = field(factory=list[tuple[int, str, float]])
    authority: Authority = field(init=False)
    stays: Stays = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.authority = Authority(Claims(), self.clock)
        self.stays = Stays(self.authority, self.longest_s, 1)

    def revoke(self, revocations: Revocations) -> None:
        self.authority._revocations = revocations  # pyright: ignore[reportPrivateUsage]

    def end(self, code: int, reason: str) -> None:
        self.ended.append((code, reason, trio.current_time()))

    def credential(self, lasts_s: float | None = None, **changes: str) -> Credential:
        ends_at_s = None if lasts_s is None else self.authority.now_s + lasts_s
        return Credential(Identity("ann"), "drive", changes.get("token_id"), ends_at_s)

    @property
    def codes(self) -> list[int]:
        return [code for code, _, _ in self.ended]


async def test_who_stays_longer_than_the_token_is_sent_away_within_a_second(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
):
    scene = Scene()
    nursery.start_soon(scene.stays.run)
    began_s = trio.current_time()
    with scene.stays.begin(scene.credential(100), scene.end):
        await trio.sleep(99.5)
        assert scene.ended == []
        await trio.sleep(2)
    ((code, reason, at_s),) = scene.ended
    assert (code, reason) == (4100, "the token has expired")
    assert 100 <= at_s - began_s <= 101.1


async def test_a_wall_clock_that_is_set_forward_ends_a_token_too(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
):
    scene = Scene()
    nursery.start_soon(scene.stays.run)
    with scene.stays.begin(scene.credential(1000), scene.end):
        scene.clock.set_forward_s = 2000
        await trio.sleep(1.5)
    assert scene.codes == [4100]


async def test_a_fresh_token_prolongs_the_stay(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
):
    scene = Scene()
    nursery.start_soon(scene.stays.run)
    with scene.stays.begin(scene.credential(100), scene.end) as stay:
        await trio.sleep(90)
        stay.credential = scene.credential(100)
        await trio.sleep(90)
        assert scene.ended == []
        await trio.sleep(15)
        assert scene.codes == [4100]


async def test_who_is_revoked_is_sent_away_and_nobody_else(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
):
    scene, other = Scene(), Scene()
    nursery.start_soon(scene.stays.run)
    elsewhere = Credential(Identity("bob"), "drive", "t1")
    with (
        scene.stays.begin(scene.credential(), scene.end),
        scene.stays.begin(elsewhere, other.end),
    ):
        scene.revoke(Revocations(frozenset({"ann"})))
        await trio.sleep(1.5)
        assert scene.codes == [4103]
        assert other.codes == []
        scene.revoke(Revocations(token_ids=frozenset({"t1"})))
        await trio.sleep(1.5)
        assert other.codes == [4103]


async def test_nobody_stays_longer_than_one_may_auth_or_not(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
):
    scene = Scene()
    open_house = Stays(None, scene.longest_s)
    nursery.start_soon(scene.stays.run)
    nursery.start_soon(open_house.run)
    with (
        scene.stays.begin(scene.credential(), scene.end),
        open_house.begin(scene.credential(), scene.end),
    ):
        await trio.sleep(1999)
        assert scene.ended == []
        await trio.sleep(2)
    assert scene.codes == [4000, 4000]


async def test_who_is_sent_away_is_told_once_and_who_has_gone_not_at_all(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
):
    scene = Scene()
    nursery.start_soon(scene.stays.run)
    with scene.stays.begin(scene.credential(10), scene.end):
        pass
    await trio.sleep(20)
    assert scene.ended == []
    with scene.stays.begin(scene.credential(10), scene.end):
        await trio.sleep(60)
    assert scene.codes == [4100]
    assert not scene.stays._stays  # pyright: ignore[reportPrivateUsage]
