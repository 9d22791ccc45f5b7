"""A person at a terminal decides what an agent may do, with the booking example's real book."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.docs.server_process import running
from tests.project.tree import ROOT
from tests.terminal.person import STOP, Person, person

BOOKING = f"{ROOT / 'examples' / 'booking.py'}:app"
KILL_LINE = "\x15"


@asynccontextmanager
async def at_the_restaurant(tmp_path: Path, editor: str = "") -> AsyncGenerator[Person]:
    book = {"BOOKING_DATABASE": str(tmp_path / "book.sqlite3")}
    async with (
        running(BOOKING, variables=book) as server,
        person(f"ws://127.0.0.1:{server.port}", editor=editor) as someone,
    ):
        await someone.shows(r"host answers, with the model scripted")
        yield someone


def booked(tmp_path: Path) -> list[tuple[str, str, int]]:
    with sqlite3.connect(tmp_path / "book.sqlite3") as book:
        if not book.execute("SELECT name FROM sqlite_master WHERE name = 'bookings'").fetchall():
            return []  # nobody has opened it yet
        query = "SELECT day, time, guests FROM bookings WHERE cancelled_with IS NULL ORDER BY rowid"
        return book.execute(query).fetchall()


async def asked(someone: Person, words: str = "Book a table for two tonight at eight") -> None:
    someone.types(words)
    await someone.asks(r"^y/n/e>")


async def test_a_proposal_says_what_it_is_and_y_does_it_n_does_not_and_undo_undoes_it(
    tmp_path: Path,
):
    async with at_the_restaurant(tmp_path) as someone:
        await asked(someone)
        card = await someone.shows(
            r"^\?  Book a table for 2, tonight at 20:00\n"
            r"\?    guests: 2\n\?    day: \"tonight\"\n\?    time: \"20:00\"\n"
            r"\?    y yes, n no, e edit the arguments: within 120 s, by \d\d:\d\d:\d\d$"
        )
        assert "/yes" not in card[0]
        assert booked(tmp_path) == []
        someone.types("y")
        await someone.shows(r"^act  Book a table for 2, .*: confirmed$")
        await someone.shows(r"^act  Book a table for 2, .*: done: table 1 on ")
        await someone.asks(r"^>$")
        assert [guests for _, _, guests in booked(tmp_path)] == [2]
        await someone.shows(r"(?s)until then\s+you may change\s+your mind\.$")
        assert "stopped" not in someone.text, "a decision interrupts nothing"
        someone.types("/undo")
        await someone.shows(r"^act  Book a table for 2, .*: undone: table 1 on ")
        assert booked(tmp_path) == []

        for guests, number in (("two", 2), ("four", 4)):
            someone.types(f"Book a table for {guests} tomorrow at seven")
            await someone.shows(rf"(?s)\?  Book a table for {number}, tomorrow.*your mind\.$")
        await someone.asks(r"^y/n/e \(2 wait\)>")
        assert "?  Book a table for 4, tomorrow at 19:00: that is asked next" in someone.text
        someone.types("n")
        await someone.shows(r"^act  Book a table for 2, tomorrow.*: not done: ")
        await someone.asks(r"^y/n/e>")
        someone.types("y")
        await someone.shows(r"^act  Book a table for 4, .*: done: ")
        assert [guests for _, _, guests in booked(tmp_path)] == [4]


async def test_e_lets_the_arguments_be_edited_in_the_line_and_asks_again(tmp_path: Path):
    async with at_the_restaurant(tmp_path) as someone:
        await asked(someone)
        someone.types("e")
        await someone.asks(r'^y/n/e> e \{"guests":2,"day":"tonight","time":"20:00"\}$')
        someone.presses(KILL_LINE)
        someone.types('e {"guests":3,"day":"tonight","time":"20:30"')
        await someone.shows(r"^!!  These are no arguments, so nothing changed: ")
        someone.types('e {"guests":99,"day":"tonight","time":"20:30"}')
        await someone.shows(r"^\?  \* guests: 99$")
        someone.types("y")
        await someone.shows(r"^!!  the arguments of 'book_table' don't fit")
        await someone.asks(r"^y/n/e>$")
        someone.types('e {"guests":3,"day":"tonight","time":"20:30"}')
        await someone.shows(r"^\?  \* guests: 3\n\?    day: \"tonight\"\n\?  \* time: \"20:30\"$")
        assert booked(tmp_path) == []
        someone.types("Y")
        await someone.shows(r"^act  .*: confirmed, with guests=3,")
        await someone.shows(r"^act  .*: done: ")
        assert [row[1:] for row in booked(tmp_path)] == [("20:30", 3)]


async def test_e_opens_the_editor_where_there_is_one_and_one_that_fails_changes_nothing(
    tmp_path: Path,
):
    editor = tmp_path / "editor.sh"
    # Nobody could edit without a terminal that echoes and reads lines.
    editor.write_text("stty -a | grep -q ' icanon' && sed -i s/20:00/21:30/ \"$1\"\n")
    async with at_the_restaurant(tmp_path, editor=f"sh {editor}") as someone:
        await asked(someone)
        someone.types("e")
        await someone.shows(r"^\?  \* time: \"21:30\"$")
        editor.unlink()
        someone.types("e")
        await someone.shows(r"^!!  The editor failed, so nothing changed\.$")
        await someone.asks(r"^y/n/e>$")
        someone.types("y")
        await someone.shows(r"^act  .*: done: ")
        assert [row[1:] for row in booked(tmp_path)] == [("21:30", 2)]


async def test_neither_a_stopped_proposal_nor_a_line_begun_before_a_question_does_anything(
    tmp_path: Path,
):
    async with at_the_restaurant(tmp_path) as someone:
        await asked(someone)
        someone.presses(STOP)
        await someone.shows(r"^act  Book a table for 2, .*: not done: interrupted$")
        await someone.asks(r"^>$")
        someone.types("/yes")
        await someone.shows(r"^!!  Nothing waits for a yes or no\.")

        someone.types("Book a table for two tomorrow at seven")
        someone.presses("y")
        await someone.asks(r"^y/n/e> y$")
        someone.presses("\r")
        await someone.shows(r"^--  This came up while you typed; once more, please:$")
        assert booked(tmp_path) == []
        someone.types("y")
        await someone.shows(r"^act  .*: done: ")


async def test_yes_with_a_slash_decides_only_what_stood_there_when_it_was_begun(tmp_path: Path):
    async with at_the_restaurant(tmp_path) as someone:
        someone.types("Book a table for two tomorrow at seven")
        someone.presses("/yes")
        await someone.asks(r"^y/n/e> /yes$")
        someone.presses("\r")
        await someone.shows(r"^--  This came up while you typed; once more, please:$")
        assert booked(tmp_path) == []
        someone.types("/yes")
        await someone.shows(r"^act  .*: done: ")


async def test_keys_that_came_together_do_not_answer_what_was_never_shown(tmp_path: Path):
    async with at_the_restaurant(tmp_path) as someone:
        for guests, number in (("two", 2), ("four", 4)):
            someone.types(f"Book a table for {guests} tomorrow at seven")
            await someone.shows(rf"(?s)\?  Book a table for {number}, tomorrow.*your mind\.$")
        await someone.asks(r"^y/n/e \(2 wait\)>")
        someone.presses("y\ry\r")
        await someone.shows(r"^--  This came up while you typed; once more, please:$")
        await someone.shows(r"^act  Book a table for 2, .*: done: ")
        assert [guests for _, _, guests in booked(tmp_path)] == [2]


async def test_an_editor_that_can_not_be_called_changes_nothing(tmp_path: Path):
    async with at_the_restaurant(tmp_path, editor="vi '") as someone:
        await asked(someone)
        someone.types("e")
        await someone.shows(r"^!!  The editor failed, so nothing changed\.$")
        await someone.asks(r"^y/n/e>$")
