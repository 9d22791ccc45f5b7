"""What goes wrong: the power, the store, an orderly restart; and what holds all the same."""

from __future__ import annotations

import pytest
import trio

from bargein.testing import Refused, World, pauses, scene, simulated
from tests.scale import scaled
from tests.testing.restaurant import HOST, Book


@simulated(seeds=scaled(1000))
async def test_whenever_the_power_fails_nothing_is_done_twice_or_lost(world: World) -> None:
    book = Book()
    await world.serve(book.app(), HOST)
    guest = await world.join()
    await guest.say("book a table")
    await guest.until("action.proposed")
    world.cut_power_within(120)
    await guest.confirm()
    outcome = await guest.until("action.committed", "action.failed")
    assert len(book.written) == len(set(book.written))
    assert len(book.booked) == (outcome.type == "action.committed")


def test_the_power_fails_at_many_moments():
    lives: set[tuple[int, bool, bool]] = set()

    @simulated(seeds=200)
    async def conversation(world: World) -> None:
        book = Book()
        await world.serve(book.app(), HOST)
        guest = await world.join()
        await guest.say("book a table")
        await guest.until("action.proposed")
        world.cut_power_within(120)
        await guest.confirm()
        await guest.until("action.committed", "action.failed")
        doubted = bool(world.timeline.of("action.in_doubt"))
        lives.add((len(guest.wires), doubted, bool(book.booked)))

    conversation()
    assert {(2, True, True), (2, True, False), (2, False, True), (1, False, True)} <= lives


@simulated(seeds=scaled(500))
async def test_a_turn_that_a_power_cut_ended_says_so(world: World) -> None:
    await world.serve(Book().app(), [scene("Well. ", pauses(1), "So.")])
    guest = await world.join()
    await guest.say("hello")
    await guest.until("model.token")
    await world.cut_power(down_s=2)
    ended = await guest.until("response.end")
    assert ended.payload.status == "failed"
    assert world.timeline.of("error", code="server_restarted")


@simulated(seeds=scaled(500))
async def test_words_on_their_way_when_the_power_fails_are_taken_once(world: World) -> None:
    await world.serve(Book().app(), HOST)
    world.cut_power_within(150)
    guest = await world.join()
    answer = await guest.say("hello")
    await guest.until("turn.trace")
    assert len(world.timeline_of(guest).of("input.text")) == 1
    assert world.timeline_of(guest).turns == (answer["turn_id"],)


@simulated
async def test_a_short_lock_only_delays(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    world.lock_store(2)
    await guest.say("hello")
    await guest.until("response.end", status="completed")
    assert trio.current_time() >= 2


@pytest.mark.parametrize("fault", ["locked", "full"])
@simulated
async def test_a_store_that_fails_is_told_of_and_comes_back(world: World, fault: str) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    if fault == "full":
        world.fill_store(0.5)
    else:
        world.lock_store(7)
    with pytest.raises(Refused) as refused:
        await guest.say("hello")
    assert (refused.value.code, refused.value.retryable) == ("store_unavailable", True)
    await trio.sleep(5)
    answer = await guest.say("hello")
    await guest.until("response.end", status="completed")
    assert world.timeline.turns == (answer["turn_id"],)


@simulated
async def test_an_orderly_restart_lets_the_turn_finish(world: World) -> None:
    await world.serve(Book().app(), [scene("Well. ", pauses(1), "So.")])
    guest = await world.join()
    await guest.say("hello")
    await guest.until("model.token")
    await world.restart()
    await guest.until("response.end", status="completed")
    await guest.say("and again")
    await guest.until("response.end", status="completed")
    assert len(guest.wires) == 2
