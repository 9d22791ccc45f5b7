"""A person at a terminal talks to the real server, of which the model alone is a fake."""

from __future__ import annotations

import re

import pytest

from bargein.models.client import INTERRUPTED
from tests.e2e.harness import World, eventually, text_of, world
from tests.e2e.scripts import FOR_EVER, by_words
from tests.fakes.anthropic_answers import Hang, Say, doing, saying
from tests.terminal.person import END, LEFT, STOP, UP, Person, person, person_process

WORDS = tuple(f"w{number} " for number in range(300))
SLOW = saying(*WORDS, interval_s=0.05)


def url(w: World) -> str:
    return f"ws://127.0.0.1:{w.port}"


async def greeted(someone: Person) -> str:
    """Wait until the session is open; return its id."""
    found = await someone.shows(r"This is (sess_[0-9a-f]{32})\.")
    await someone.shows(r"answers, with the model")
    return found[1]


async def over(w: World, session_id: str, turn_id: str = "turn_1") -> None:
    """Wait until a turn has ended, which nothing on the screen says."""
    watcher = await w.attach(session_id, role="watch")
    await watcher.until("turn.trace", turn_id=turn_id)
    await watcher.leave()


def told(w: World) -> list[str]:
    return [text_of(message) for message in w.api.bodies[-1]["messages"]]


async def test_an_answer_is_shown_word_by_word_above_the_line_that_is_typed():
    halting = doing(Say("One "), Say("two "), Hang())
    async with world(by_words({"Count": halting})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Count")
        await someone.shows(r"^One two$")
        someone.presses("not yet sent")
        await someone.asks(r"^> not yet sent$")
        await someone.shows(r"(?s)^> Count\nOne two\n> not yet sent$")


async def test_what_was_typed_before_the_terminal_was_raw_is_said():
    async with world(by_words({})) as w, person(url(w)) as someone:
        someone.types("Hello")
        await someone.shows(r"^Very well\.$")
        someone.presses("one\ntwo\r")
        await someone.shows(r"(?s)two\nVery well\.$")
        assert told(w) == ["Hello", "Very well.", "one\ntwo"]


async def test_ctrl_c_stops_the_answer_stays_and_tells_the_model_what_was_printed():
    async with world(by_words({"Long": SLOW})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Long story")
        await someone.shows(r"w9 ")
        someone.presses(STOP)
        stopped = await someone.shows(r'^--  stopped after "(?:… )?(.*)" \(\d+\.\d ms\)$')
        someone.types("Go on")
        await someone.shows(r"^Very well\.$")
        printed = re.search(r"(?s)> Long story\n(w0 .*?)\n--  stopped", someone.text)
        assert printed is not None
        shown = " ".join(printed[1].split())
        assert shown.endswith(stopped[1])
        assert told(w) == ["Long story", f"{shown} {INTERRUPTED}", "Go on"]
        someone.presses(END)
        assert await someone.ended() == 0


async def test_words_typed_while_the_answer_streams_interrupt_it_on_enter():
    async with world(by_words({"Long": SLOW})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Long story")
        await someone.shows(r"w5 ")
        someone.presses("Stop the")
        await someone.asks(r"^> Stop the$")
        await someone.shows(r"w12 ")
        assert someone.row == "> Stop the", "what is typed stays whole below the answer"
        someone.types("re, please")
        await someone.shows(r"^> Stop there, please$")
        await someone.shows(r"(?s)--  stopped after .*^Very well\.$")
        assert told(w)[-1] == "Stop there, please"
        shown = told(w)[1].removesuffix(f" {INTERRUPTED}")
        assert shown in " ".join(someone.text.split())


async def test_two_ctrl_c_leave_and_say_how_to_come_back_and_that_works():
    async with world(by_words({"Long": FOR_EVER})) as w:
        async with person_process(url(w)) as someone:
            session_id = await greeted(someone)
            someone.types("Hello")
            await over(w, session_id)
            await someone.shows(r"^Very well\.$")
            someone.presses(STOP)
            await someone.shows(r"^--  Ctrl-C again leaves\.$")
            someone.presses(STOP)
            assert await someone.ended() == 0
            back = await someone.shows(r"^To come back:  bargein chat (--session \S+ \S+)$")
        async with person_process(*back[1].split()) as someone:
            await someone.shows(rf"This is {session_id}\.")
            await someone.shows(r"(?s)^> Hello\nVery well\.\n")
            someone.types("And again")
            await someone.shows(r"(?s)^> And again\nVery well\.\n")
            assert told(w) == ["Hello", "Very well.", "And again"]


async def test_a_second_ctrl_c_right_after_the_first_leaves_in_mid_answer():
    async with world(by_words({"Long": FOR_EVER})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Long story")
        await someone.shows(r"^I go on$")
        someone.presses(STOP + STOP)
        assert await someone.ended() == 0
        assert "To come back:" in someone.text


async def test_ctrl_c_with_words_in_the_line_clears_them_where_nothing_runs():
    async with world(by_words({})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.presses("never mind")
        await someone.asks(r"^> never mind$")
        someone.presses(STOP)
        await someone.asks(r"^>$")
        someone.presses(UP)
        await someone.asks(r"^> never mind$")


async def test_what_a_model_says_can_not_drive_the_terminal():
    evil = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \x9b5n \u202etxet\u202c \x08 ok"
    posing = "\n--  Hello! fake\n?  Pay\n"
    async with world(by_words({"Evil": saying(evil + posing)})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Evil, please")
        await someone.shows(r"^\|  \?  Pay$")
        assert (
            r"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \x9b5n \u202etxet\u202c \x08 ok"
            in someone.text
        )
        assert "|  --  Hello! fake" in someone.text
        assert b"\x1b]0" not in someone.written
        assert b"\x1b[2J" not in someone.written
        assert b"\xc2\x9b" not in someone.written
        assert b"\x07" not in someone.written
        allowed = re.compile(rb"\x1b\[(\?7[hl]|\?2004[hl]|J|\d*[AC]|\d*m)")
        assert b"\x1b" not in allowed.sub(b"", someone.written)


async def test_what_others_say_in_the_session_can_not_drive_it_either():
    async with world(by_words({})) as w, person(url(w)) as someone:
        session_id = await greeted(someone)
        alice = await w.attach(session_id)
        await alice.converse("a \x1b[2J b\x1b]0;x\x07")
        await someone.shows(r"^> a \\x1b\[2J b\\x1b\]0;x\\x07$")
        assert b"\x1b[2J" not in someone.written


async def test_wide_characters_and_emoji_are_wrapped_and_edited_whole():
    wide = "日本語のとても長い答えです。" * 12
    async with world(by_words({"Wide": saying(wide)})) as w, person(url(w), columns=60) as someone:
        await greeted(someone)
        someone.types("Wide, please")
        await someone.shows(r"です。\n>$")
        rows = someone.text.split("> Wide, please\n")[1].splitlines()[:-1]
        # A cell behind a wide character is empty in pyte's rows.
        assert "".join(rows) == wide
        someone.presses("a👨\u200d👩\u200d👧e\u0301日")
        someone.presses(LEFT + "\x7f" + LEFT + "\x7f" + "b")
        someone.presses("\r")
        await someone.shows(r"^Very well\.$")
        assert told(w)[-1] == "b👨\u200d👩\u200d👧日"


@pytest.mark.parametrize("colours", [True, False])
async def test_colours_are_used_unless_they_are_not_wanted(colours: bool):
    async with world(by_words({})) as w, person(url(w), colours=colours) as someone:
        await greeted(someone)
        assert (re.search(rb"\x1b\[[0-9;]*m", someone.written) is not None) is colours


async def test_a_narrower_window_keeps_the_line_and_goes_on():
    async with world(by_words({"Long": SLOW})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Long story")
        await someone.shows(r"w5 ")
        someone.resizes(60)
        await someone.shows(r"w40 ")
        someone.types("Stop")
        await someone.shows(r"(?s)> Stop\n--  stopped after .*^Very well\.$")
        assert max(len(row) for row in someone.text.splitlines()[-6:]) < 60


async def test_several_lines_that_are_pasted_are_said_as_one():
    async with world(by_words({})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.presses("\x1b[200~first\r\nsecond\x1b[2J\x1b[201~")
        await someone.asks(r"^> first⏎second\[2J$")
        someone.presses("\r")
        await someone.shows(r"^Very well\.$")
        assert told(w) == ["first\nsecond[2J"]


async def test_help_plan_and_history_are_answered_on_the_spot_and_typos_explained():
    async with world(by_words({})) as w, person(url(w)) as someone:
        await greeted(someone)
        someone.types("Hello")
        await someone.shows(r"^Very well\.$")
        someone.types("/help")
        await someone.shows(r"^--  Ctrl-C +stop the answer")
        await someone.shows(r"^--  /stop ")
        someone.types("/plan")
        await someone.shows(r"^--  There is no plan\.$")
        someone.types("/hepl")
        await someone.shows(r"^!!  There is no /hepl; ")
        someone.types('{"type":"ping"}')
        someone.types("/history")
        await someone.shows(r"(?s)/hepl.*^> Hello\nVery well\.$")
        someone.types("/quit")
        assert await someone.ended() == 0


async def test_a_watcher_sees_all_and_can_not_say_anything():
    async with world(by_words({"Long": FOR_EVER})) as w:
        alice = await w.attach()
        async with person(url(w), session=alice.session_id, watch=True) as someone:
            await someone.shows(r"You are watching")
            await eventually(lambda: alice.find("session.attached", role="watch"))
            await alice.say("Long story")
            await someone.shows(r"(?s)^> Long story\nI go on$")
            someone.types("Let me")
            await someone.shows(r"^!!  You are watching")
            someone.presses(STOP)
            await someone.shows(r"^--  Ctrl-C again leaves\.$")
            await alice.ask("interrupt")
            await someone.shows(r'^--  stopped after "I go on"')
