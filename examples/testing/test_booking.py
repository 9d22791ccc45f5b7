"""How an author of apps tests one: conversations with the restaurant of `examples/booking.py`.

    python -m pytest examples/testing

Each test is played with twenty seeds or more, on virtual time: the kitchen's two seconds cost
nothing, and every seed runs the tasks of the server in another order.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bargein.testing import Refused, World, simulated
from examples import booking

FOR_TWO = "Book a table for two tonight at eight"
FOR_TEN = "Book a table for ten tonight at eight"

NewBook = Callable[[], booking.Book]


@pytest.fixture(name="new_book")
def _new_book(monkeypatch: pytest.MonkeyPatch) -> NewBook:
    def new_book() -> booking.Book:
        book = booking.Book(":memory:")
        monkeypatch.setattr(booking, "BOOK", book)
        return book

    return new_book


def booked(book: booking.Book) -> list[tuple[int, str]]:
    with book.open() as pages:
        rows = pages.execute("SELECT guests, time FROM bookings WHERE cancelled_with IS NULL")
        return [tuple(row) for row in rows]


@simulated
async def test_nothing_stands_in_the_book_before_the_yes(world: World, new_book: NewBook) -> None:
    book = new_book()
    await world.serve(booking.app)
    guest = await world.join()
    await guest.say(FOR_TWO)
    proposed = await guest.until("action.proposed")
    assert proposed.payload.summary == "Book a table for 2, tonight at 20:00"
    await guest.until("response.end")
    assert booked(book) == []
    await guest.confirm()
    await guest.until("action.committed")
    assert booked(book) == [(2, "20:00")]
    await guest.revert()
    await guest.until("action.reverted")
    assert booked(book) == []


@simulated
async def test_who_cuts_in_is_not_booked_for(world: World, new_book: NewBook) -> None:
    book = new_book()
    await world.serve(booking.app)
    guest = await world.join()
    await guest.say(FOR_TWO)
    proposed = await guest.until("action.proposed")
    await guest.until("model.token", nth=4)
    answer = await guest.interrupt()
    assert answer["interrupted"]
    assert guest.spoken().startswith(guest.heard())
    with pytest.raises(Refused, match="stale"):
        await guest.confirm(proposed.payload.confirmation_id)
    assert booked(book) == []


@simulated
async def test_an_interrupt_does_not_tear_a_booking_that_is_being_made(
    world: World, new_book: NewBook
) -> None:
    book = new_book()
    await world.serve(booking.app)
    guest = await world.join()
    await guest.say(FOR_TEN)
    await guest.until("action.proposed")
    await guest.confirm()
    await guest.until("action.committing")
    await guest.interrupt()
    await guest.until("action.committed")
    assert booked(book) == [(10, "20:00")]


@simulated(seeds=60)
async def test_whenever_the_power_fails_the_book_and_the_timeline_agree(
    world: World, new_book: NewBook
) -> None:
    book = new_book()
    await world.serve(booking.app)
    guest = await world.join()
    await guest.say(FOR_TEN)
    await guest.until("action.proposed")
    world.cut_power_within(300)
    await guest.confirm()
    outcome = await guest.until("action.committed", "action.failed")
    assert len(booked(book)) == (outcome.type == "action.committed")


@pytest.mark.parametrize("lost", [0, 1, 5])
@simulated
async def test_a_bad_line_costs_the_guest_nothing(
    world: World, new_book: NewBook, lost: int
) -> None:
    new_book()
    await world.serve(booking.app)
    guest, friend = await world.join(), None
    await guest.say(FOR_TWO)
    friend = await world.join("friend", beside=guest, role="watch")
    await guest.until("model.token", nth=2)
    guest.cut(lost=lost)
    await guest.until("turn.trace")
    await friend.until("turn.trace")
    assert guest.timeline.of("model.*").types == world.timeline.of("model.*").types
    assert guest.spoken() == friend.spoken() == world.timeline.spoken()
