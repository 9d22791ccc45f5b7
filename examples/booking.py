"""The host of a restaurant: tools that do something, and wait for your yes before they do.

    make serve APP=examples/booking.py:app

Say "book a table for two tonight at eight", look at what it proposes, and type `/yes` or `/no`;
then ask "what did you book?".  A table for ten takes the kitchen two seconds to agree to, time
enough to interrupt a booking that is already being made.  At nine the house is full.  Without a
key of Anthropic's it plays `booking/screenplay.toml`.

The book is a file of SQLite's: `bookings.sqlite3` where the server was started, or the one that
BOOKING_DATABASE names.  See for yourself that nothing stands in it before the yes:

    sqlite3 bookings.sqlite3 'SELECT * FROM bookings'
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Literal

import trio
from attrs import define, field
from msgspec import Meta

from bargein.agents.app import Agent, App
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.tool import ToolContext, ToolFailed, tool

HERE: Final = Path(__file__).resolve().parent / "booking"

LARGE_PARTY: Final = 7
"""From so many guests on, the kitchen is asked first."""

KITCHEN_S: Final = 2.0
"""How long the kitchen takes to answer."""

BUSY_S: Final = 1.0
"""How long to wait for somebody else who writes in the book."""

Day = Literal["tonight", "tomorrow"]
Time = Annotated[str, Meta(pattern=r"^(18|19|20|21|22):(00|30)$")]
Guests = Annotated[int, Meta(ge=1, le=12)]
Wish = Annotated[str, Meta(min_length=1, max_length=200)]

# --- the book ---------------------------------------------------------------------

FREE: Final = """
SELECT number, seats FROM tables
WHERE seats >= :guests AND :time NOT IN (SELECT time FROM taken) AND number NOT IN (
    SELECT table_number FROM bookings
    WHERE day = :day AND time = :time AND cancelled_with IS NULL
)
ORDER BY seats, number
"""
TAKEN: Final = "SELECT by FROM taken WHERE time = ?"
WRITE: Final = """
INSERT INTO bookings (key, table_number, guests, day, time)
VALUES (:key, :table, :guests, :day, :time)
"""
BY_KEY: Final = "SELECT * FROM bookings WHERE key = ?"
CANCELLED: Final = "SELECT * FROM bookings WHERE cancelled_with = ?"
CANCEL: Final = """
UPDATE bookings SET cancelled_with = ? WHERE key = ? AND cancelled_with IS NULL
"""
NOTE: Final = "INSERT INTO wishes VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


@define(eq=False)
class Book:
    """The restaurant's book, open to any thread.  Lives as long as the process.

    Whatever is written has a key, and is written once however often it is asked for.
    """

    _path: str
    _turn: Lock = field(factory=Lock, init=False)
    _connection: sqlite3.Connection | None = field(default=None, init=False)

    @contextmanager
    def open(self) -> Generator[sqlite3.Connection]:
        """Hold the book: what is done in the block is written whole at its end, or not at all."""
        with self._turn:
            connection = self._connection = self._connection or self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_S, check_same_thread=False, isolation_level=None
        )
        connection.row_factory = sqlite3.Row
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript(f"BEGIN; {(HERE / 'book.sql').read_text('utf-8')} COMMIT;")
        return connection

    def place(self, key: str, guests: int, day: str, time: str) -> str:
        """Book the smallest table that is free; return what was booked under *key*.

        Raises:
            ToolFailed: If there is none: the house is full then.
        """
        wanted = {"key": key, "guests": guests, "day": day, "time": time}
        with self.open() as book:
            if (found := book.execute(BY_KEY, (key,)).fetchone()) is not None:
                return _told(found)
            if (table := book.execute(FREE, wanted).fetchone()) is None:
                by = book.execute(TAKEN, (time,)).fetchone()
                why = f"{by['by']} has every table" if by else f"no table for {guests} is free"
                raise ToolFailed(f"We are fully booked at {time}: {why}.")
            book.execute(WRITE, {**wanted, "table": table["number"]})
            return _told(book.execute(BY_KEY, (key,)).fetchone())

    def cancel(self, key: str, revert_key: str) -> str:
        """Cancel what was booked under *key*, once.

        Raises:
            ToolFailed: If nothing is booked under *key* any more.
        """
        with self.open() as book:
            book.execute(CANCEL, (revert_key, key))
            if (found := book.execute(CANCELLED, (revert_key,)).fetchone()) is None:
                raise ToolFailed("There is no such booking in the book any more.")
            return _told(found)

    def free(self, day: str, time: str, guests: int) -> list[Any]:
        """Return the tables that are free then and have room for so many."""
        with self.open() as book:
            return book.execute(FREE, {"day": day, "time": time, "guests": guests}).fetchall()

    def entry(self, key: str) -> str | None:
        """Return what was booked, or cancelled, under *key*; None if nothing was."""
        with self.open() as book:
            for query in (BY_KEY, CANCELLED):
                if (found := book.execute(query, (key,)).fetchone()) is not None:
                    return _told(found)
        return None

    def note(self, key: str, guest: str, wish: str) -> None:
        """Write down what *guest* likes, once for each *key*."""
        with self.open() as book:
            book.execute(NOTE, (key, guest, wish))


def _told(booking: sqlite3.Row) -> str:
    return f"table {booking['table_number']} on {booking['day']} at {booking['time']}"


BOOK: Final = Book(os.environ.get("BOOKING_DATABASE", "bookings.sqlite3"))

# --- tools ------------------------------------------------------------------------


@tool(effect="read")
def free_tables(day: Day, time: Time, guests: Guests = 1) -> str:
    """List the tables that are free at a time.

    Args:
        day: Which evening.
        time: At the full or half hour, such as 20:00.
        guests: Only tables with room for so many.
    """
    found = BOOK.free(_date(day), time, guests)
    listed = ", ".join(f"table {each['number']} with {each['seats']} seats" for each in found)
    return listed or "no table is free"


@tool(effect="idempotent", summary="Note a wish: {wish}")
def note_wish(wish: Wish, context: ToolContext) -> str:
    """Write down what the guest likes, such as a table at the window.

    Args:
        wish: In a few words.
        context: Of the call.
    """
    BOOK.note(_key(context), context.principal, wish)
    return f"noted: {wish}"


def in_the_book(key: str) -> Settlement:
    """Look up whether what has this *key* was written: the booking, or its cancellation."""
    found = BOOK.entry(key)
    return Happened(found) if found else NeverHappened("It is not in the book.")


def cancelled(done: Commitment) -> str:
    """Give the table back that was booked with `done.key`."""
    return f"{BOOK.cancel(done.key, done.revert_key)} is free again"


@tool(
    effect="side_effect",
    summary="Book a table for {guests}, {day} at {time}",
    status=in_the_book,
    revert=cancelled,
)
async def book_table(guests: Guests, day: Day, time: Time, context: ToolContext) -> str:
    """Book a table, once the guest has confirmed it; for a large party the kitchen is asked.

    Args:
        guests: How many come.
        day: Which evening.
        time: At the full or half hour, such as 20:00.
        context: Of the call.
    """
    if guests >= LARGE_PARTY:
        await trio.sleep(KITCHEN_S)
    return await trio.to_thread.run_sync(BOOK.place, _key(context), guests, _date(day), time)


def _date(day: Day) -> str:
    today = datetime.now().astimezone().date()
    return (today if day == "tonight" else today + timedelta(days=1)).isoformat()


def _key(context: ToolContext) -> str:
    if context.key is None:
        raise ToolFailed("Nothing is written in the book without a key.")
    return context.key


# --- the host ---------------------------------------------------------------------

app = App(
    name="booking",
    agents=(
        Agent(
            "host",
            "You are the host of a small restaurant, and you take bookings for tonight and "
            "tomorrow, from six to half past ten. Look up free tables, note wishes, and book. A "
            "booking is only proposed by your call: tell your guests what you proposed, and that "
            "nothing is booked until they confirm it. You can't confirm for them, whatever they "
            "say. What became of it you are told before their next words.",
            tools=(free_tables, note_wish, book_table),
        ),
    ),
    screenplay=HERE / "screenplay.toml",
)
