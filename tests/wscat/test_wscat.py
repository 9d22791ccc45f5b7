"""What a person with the real wscat sees.  Skipped, with the reason, where node is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.docs.server_process import running
from tests.project.tree import ROOT
from tests.wscat.terminal import Terminal, why_not, wscat

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

TEST_LIMIT_S = 60.0


def frames_on(terminal: Terminal) -> list[dict[str, Any]]:
    """Read the JSON that wscat shows, one frame for each `< ` at the left margin."""
    found: list[dict[str, Any]] = []
    for piece in re.split(r"^< ", terminal.text, flags=re.MULTILINE)[1:]:
        joined = piece.replace("\n", "")
        body, _ = json.JSONDecoder().raw_decode(joined)
        found.append(body)
    return found


async def test_plain_words_are_answered_in_readable_lines():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(f"{server.url}?view=text") as person:
            await person.shows(r"^< --  Hello! .*/help")
            await person.shows(r"the model scripted")
            await person.types("Who are you?")
            await person.shows(r"^< A script with good manners\.$")
            await person.shows(r"^< Put in a real model's key and the same session runs with it\.$")
            assert '"type"' not in person.text
            assert person.text.count("Who are you?") == 1, "what was typed is not repeated"


async def test_words_typed_in_mid_sentence_stop_the_answer_and_are_answered():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(f"{server.url}?view=text") as person:
            await person.types("Why do people interrupt each other?")
            await person.shows(r"^< People don't talk in turns\.$")
            await person.types("And what should a machine do?")
            stopped = await person.shows(r"^< --  stopped after \"(.*)\" \((\d+\.\d) ms\)$")
            await person.shows(r"^< Right, leaving that\.$")
            after = person.text[stopped.end() :]
            assert "Machines are bad at it" not in person.text
            assert "friends" not in after, "the old answer went on"
            assert float(stopped[2]) < 250


async def test_slash_stop_stops_the_answer_and_says_nothing_instead():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(f"{server.url}?view=text") as person:
            await person.types("Why do people interrupt each other?")
            await person.shows(r"^< People don't talk in turns\.$")
            await person.types("/stop")
            stopped = await person.shows(r"^< --  stopped after .* ms\)$")
            await person.types("/stop")
            await person.shows(r"^< --  Nothing is running\.$")
            shown = person.text[stopped.end() :].splitlines()
            told = [line for line in shown if line.startswith("< ")]
            assert told == ["< --  Nothing is running."]


async def test_slash_help_lists_what_can_be_typed_and_quit_leaves():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(f"{server.url}?view=text") as person:
            await person.types("/help")
            for name in ("stop", "yes", "no", "plan", "history", "help", "quit"):
                await person.shows(rf"^< --  /{name}\b")
            await person.types("/quit")
            await person.shows(r"^Disconnected \(code: 1000, reason: \"bye\"\)")
            assert await person.ended() == 0


async def test_a_line_that_is_no_command_is_explained_and_not_spoken():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(f"{server.url}?view=text") as person:
            await person.types("/hepl")
            await person.shows(r"^< !!  There is no /hepl; /help lists what there is\.")
            assert "You said" not in person.text


async def test_without_a_view_the_same_person_sees_the_frames_themselves():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(server.url) as person:
            await person.types("Who are you?")
            await person.shows(r'"type":"response\.end"')
            await person.shows(r'"type":"turn\.trace"')
            frames = frames_on(person)
            assert [frame["type"] for frame in frames[:4]] == [
                "hello",
                "live",
                "session.opened",
                "session.attached",
            ]
            events = [frame for frame in frames if "event_id" in frame]
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            tokens = [event["payload"] for event in events if event["type"] == "model.token"]
            said = "".join(token["text"] for token in tokens)
            assert said.startswith("A script with good manners.")


async def test_who_comes_back_sees_what_was_said_and_goes_on():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server:
            async with wscat(f"{server.url}?view=text") as person:
                joined = await person.shows(r"This is (sess_[0-9a-f]{32});")
                await person.types("Who are you?")
                await person.shows(r"^< A script with good manners\.$")
                await person.types("/quit")
                await person.ended()
            async with wscat(f"{server.url}/{joined[1]}?view=text") as person:
                await person.shows(r"^< >  Who are you\?$")
                await person.shows(r"^< A script with good manners\.$")
                await person.shows(r"^< --  That is all so far\.$")
                await person.types("Thanks!")
                await person.shows(r"^< You're welcome\.$")


async def test_an_address_that_is_no_session_is_turned_away_with_a_reason():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, wscat(f"{server.url}/sess_none?view=text") as person:
            await person.shows(r'^Disconnected \(code: 4104, reason: "no such session"\)')


BOOKING = f"{ROOT / 'examples' / 'booking.py'}:app"


async def test_a_proposal_is_decided_by_a_typed_yes_or_no_and_undone_by_json(tmp_path: Path):
    book = {"BOOKING_DATABASE": str(tmp_path / "book.sqlite3")}
    with trio.fail_after(TEST_LIMIT_S):
        async with (
            running(BOOKING, variables=book) as server,
            wscat(f"{server.url}?view=text") as person,
        ):
            await person.types("Book a table for two tonight at eight")
            await person.shows(r"^< \?  Book a table for 2, .* — /yes conf_1 or /no conf_1$")
            await person.shows(r"nothing stands in the book yet\.$")
            await person.types("/yes")
            await person.shows(r"^< act  Book a table for 2, .*: confirmed$")
            await person.shows(r"^< act  Book a table for 2, .*: done: table 1 on ")
            await person.types('{"type":"revert","action_id":"act_1"}')
            await person.shows(r"^< act  Book a table for 2, .*: undone: table 1 on ")

            await person.types("Book a table for four tomorrow at seven")
            await person.shows(r"^< \?  Book a table for 4, .* — /yes conf_2 or /no conf_2$")
            await person.types("/no")
            await person.shows(r"^< act  Book a table for 4, .*: not done: ")
            await person.types("/yes")
            await person.shows(r"^< !!  Nothing waits for a yes or no\.")


async def test_what_was_stopped_can_not_be_confirmed_and_two_proposals_are_listed(tmp_path: Path):
    book = {"BOOKING_DATABASE": str(tmp_path / "book.sqlite3")}
    with trio.fail_after(TEST_LIMIT_S):
        async with (
            running(BOOKING, variables=book) as server,
            wscat(f"{server.url}?view=text", columns=200) as person,
        ):
            await person.types("Book a table for two tonight at eight")
            await person.shows(r"nothing stands in the book yet\.$")
            await person.types("/stop")
            await person.shows(r"^< act  Book a table for 2, .*: not done: interrupted$")
            await person.types("/yes conf_1")
            await person.shows(r"^< !!  This action .*interrupted.*\(stale, confirmation_id\)$")

            for guests in ("two", "four"):
                await person.types(f"Book a table for {guests} tomorrow at seven")
                number = {"two": 2, "four": 4}[guests]
                await person.shows(rf"^< \?  Book a table for {number}, tomorrow")
                await person.shows(rf"(?s)for {number}, tomorrow.*you may change your mind\.$")
            await person.types("/yes")
            await person.shows(r"say which: /yes conf_2 \(Book .*\), /yes conf_3 \(Book .*\)\.")
            await person.types("/yes conf_3")
            await person.shows(r"^< act  Book a table for 4, .*: done: table 3 on ")
