from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.protocol.codec import command_of
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Confirm, History, Interrupt, Project, Reject, Say
from bargein.protocol.frames import Problem
from bargein.protocol.ids import ConfirmationId
from bargein.protocol.lines import (
    HELP,
    Decide,
    Help,
    Quit,
    answer_line,
    last_words,
    one_line,
    only_open_proposal,
    read_line,
    visible,
)
from bargein.protocol.sentences import MOST_SENTENCE_CHARS, Sentences

# --- what a person types ----------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("What is an ETF?", Say("What is an ETF?")),
        ("hello\r\n", Say("hello")),
        ("  two blanks stay", Say("  two blanks stay")),
        ("one\ntwo", Say("one\ntwo")),
        ("/stop", Interrupt()),
        ("/stop\n", Interrupt()),
        ("/STOP", Interrupt()),
        ("/stop right now, please!", Interrupt()),
        ("/plan", Project("plan")),
        ("/history ", History()),
        ("/yes conf_1", Confirm(ConfirmationId("conf_1"))),
        ("/no  conf_1 ", Reject(ConfirmationId("conf_1"))),
    ],
)
def test_a_line_means_a_command(line: str, command: object):
    body = read_line(line)
    assert isinstance(body, dict)
    assert command_of(body) == command


@pytest.mark.parametrize(
    "line",
    [
        "/",
        "/ by itself",
        "//x",
        "/usr/bin is full",
        "/yes!",
        "/2 of them",
        " /stop",
        ' {"a"',
        "/x-y",
    ],
)
def test_a_slash_that_begins_no_single_word_is_what_the_user_says(line: str):
    assert read_line(line) == {"type": "say", "text": line}


@pytest.mark.parametrize("line", ["", "\n", "\r\n", "   ", "\t\n"])
def test_a_blank_line_is_nothing(line: str):
    assert read_line(line) is None


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("/help", Help()),
        ("/Help\n", Help()),
        ("/quit", Quit()),
        ("/yes", Decide(confirm=True)),
        ("/no ", Decide(confirm=False)),
    ],
)
def test_some_lines_are_answered_where_they_are_read(line: str, local: object):
    assert read_line(line) == local


@pytest.mark.parametrize("line", ["/stopp", "/home is full", "/über", "/x"])
def test_an_unknown_line_command_is_refused_and_names_help(line: str):
    refused = read_line(line)
    assert isinstance(refused, Problem)
    assert refused.code is ErrorCode.UNKNOWN_COMMAND
    assert "/help" in refused.message
    assert line.partition(" ")[0] in refused.message


def test_a_long_unknown_word_is_not_repeated_whole():
    refused = read_line("/" + "x" * 30_000)
    assert isinstance(refused, Problem)
    assert len(refused.message) < 200


@pytest.mark.parametrize("line", ["/quit smoking", "/plan b", "/help me", "/history lesson"])
def test_words_behind_a_command_that_takes_none_are_refused_and_nothing_is_done(line: str):
    refused = read_line(line)
    assert isinstance(refused, Problem)
    assert refused.code is ErrorCode.INVALID_COMMAND
    assert "put a blank in front" in refused.message


@pytest.mark.parametrize("line", ["/yes conf_1 conf_2", "/no \u202econf", "/yes " + "x" * 65])
def test_what_can_be_no_confirmation_id_is_refused(line: str):
    refused = read_line(line)
    assert isinstance(refused, Problem)
    assert (refused.code, refused.param) == (ErrorCode.INVALID_COMMAND, "confirmation_id")


@given(st.text())
def test_every_line_means_something_that_can_be_told_apart(line: str):
    read = read_line(line)
    if read is None:
        assert not line.strip()
    elif isinstance(read, dict):
        command_of(read)
    else:
        assert isinstance(read, Decide | Help | Quit | Problem)


def test_help_names_every_line_command_and_the_contract():
    for name in ("/stop", "/yes", "/no", "/plan", "/history", "/help", "/quit", "/protocol.json"):
        assert any(line.startswith(name) for line in HELP.splitlines())
    assert "JSON" in HELP
    assert max(map(len, HELP.splitlines())) <= 96


@pytest.mark.parametrize(("confirm", "kind"), [(True, Confirm), (False, Reject)])
def test_yes_or_no_without_an_id_decides_the_only_open_proposal(
    confirm: bool, kind: type[Confirm | Reject]
):
    body = only_open_proposal(Decide(confirm=confirm), [("conf_7", "Book a table")])
    assert isinstance(body, dict)
    assert command_of(body) == kind(ConfirmationId("conf_7"))


def test_without_an_open_proposal_there_is_nothing_to_decide():
    refused = only_open_proposal(Decide(confirm=True), ())
    assert isinstance(refused, Problem)
    assert refused.code is ErrorCode.NOT_FOUND


def test_several_open_proposals_are_listed_as_they_can_be_typed():
    refused = only_open_proposal(
        Decide(confirm=False), [("conf_1", "Book a table"), ("conf_2", "Send\x1b[2J mail")]
    )
    assert isinstance(refused, Problem)
    assert refused.code is ErrorCode.INVALID_COMMAND
    assert refused.message == (
        "2 things wait for a yes or no; say which: "
        "/no conf_1 (Book a table), /no conf_2 (Send\\x1b[2J mail)."
    )


def test_of_very_many_proposals_the_first_are_listed_and_the_rest_counted():
    refused = only_open_proposal(
        Decide(confirm=True), [(f"conf_{n}", "Pay " * 999) for n in range(50)]
    )
    assert isinstance(refused, Problem)
    assert "40 more" in refused.message
    assert len(refused.message) < 2000


# --- what a person reads ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 你好, 👩\u200d💻, naïve", "Grüße, 你好, 👩\u200d💻, naïve"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\rb\x08c\x7f", "a\\x0db\\x08c\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe\u2066\u200f", "\\u202egnp.exe\\u2066\\u200f"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("a\u2028b\u2029c\u0085d", "a\\u2028b\\u2029c\\x85d"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("a\tb\u00a0c\u3000d", "a    b c d"),
        ("e\u0301" + "\u0301" * 5, "e" + "\u0301" * 4 + "\\u0301" * 2),
    ],
)
def test_what_could_paint_a_terminal_is_written_out(text: str, shown: str):
    assert visible(text) == shown


@given(st.text())
def test_no_control_character_passes_whatever_the_text(text: str):
    shown = visible(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert not any(char in "\u061c\u200e\u200f\u2028\u2029\ufeff" for char in shown)
    assert not any("\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" for char in shown)
    shown.encode()


def test_a_line_is_one_line_and_its_long_end_is_cut():
    assert one_line(" a\n\n b\tc ", 20) == "a b c"
    assert one_line("x" * 20, 20) == "x" * 20
    assert one_line("x" * 21, 20) == "x" * 18 + " …"
    assert one_line(" " * 1000 + "x", 20) == " …"


@pytest.mark.parametrize(
    "line",
    [
        "?  Pay 100 — /yes conf_1",
        "? one blank",
        "!!  The server is gone (internal)",
        "--  stopped",
        "..  pong",
        ">  I said that",
        "   ?  indented",
        "\uff1f  full width",
        "plan  1. [x] done",
        "tool  transfer = ok",
        "act  Pay: done",
    ],
)
def test_a_line_of_the_answer_can_not_pass_for_the_servers(line: str):
    assert answer_line(line) == f"|  {line}"


@pytest.mark.parametrize(
    "line", ["plan well", "Why? Well", "--", "...and so on", "| a | b |", "- item", "--- rule"]
)
def test_an_ordinary_line_of_the_answer_stays_plain(line: str):
    assert answer_line(line) == line


def test_the_last_words_are_all_that_no_line_has_shown():
    assert last_words("Sure, let me ", 0) == "Sure, let me"
    shown = "This was shown as a line of its own, and is long. "
    unseen = "This sentence had not ended when the user cut in and is quoted from its"
    assert last_words(shown + unseen, len(shown)) == f"… {unseen}"


def test_where_all_was_shown_the_last_words_are_a_short_tail_of_whole_words():
    heard = "One two three. " * 10
    assert last_words(heard, len(heard)) == "… three. One two three. One two three."
    assert last_words(heard, None) == "… three. One two three. One two three."
    assert last_words("Short.", None) == "Short."
    assert last_words("  ", 0) == ""
    assert len(last_words("x" * 9999, 0)) <= MOST_SENTENCE_CHARS + 2


# --- sentences ------------------------------------------------------------------------


def lines_of(text: str) -> list[str]:
    sentences = Sentences()
    return [*sentences.feed(text), *sentences.rest()]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Only below 0.2% count. Yes.", ["Only below 0.2% count.", "Yes."]),
        ("At 10:30, see https://x.y/z. Then go.", ["At 10:30, see https://x.y/z.", "Then go."]),
        ("Here it is: an answer.", ["Here it is:", "an answer."]),
        ("Some, e.g. ETFs, i.e. Funds. So.", ["Some, e.g. ETFs, i.e. Funds.", "So."]),
        ("Dr. Who met Mr. J. Smith. Fin.", ["Dr. Who met Mr. J. Smith.", "Fin."]),
        ("See No. 5 and p. 7. No. Never.", ["See No. 5 and p. 7.", "No.", "Never."]),
        ("It was I. You know.", ["It was I.", "You know."]),
        ("Well... maybe not... Perhaps.", ["Well... maybe not...", "Perhaps."]),
        ('He said "Stop!" and left. Ok.', ['He said "Stop!" and left.', "Ok."]),
        ('He said "Stop." She left.', ['He said "Stop."', "She left."]),
        ("Really?! ok. fine", ["Really?!", "ok. fine"]),
        ("1. First thing\n2. Second thing", ["1. First thing", "2. Second thing"]),
        ("a\n\n\nb\r\nc", ["a", "b", "c"]),
        ("它停了。「好。」走吧。", ["它停了。", "「好。」", "走吧。"]),
        ("- top\n  - inner. And more\n", ["- top", "  - inner.", "And more"]),
        (
            "Code:\n```python\nif a: b. C()\n    x = 1\n```\nDone. Bye.",
            ["Code:", "```python", "if a: b. C()", "    x = 1", "```", "Done.", "Bye."],
        ),
        ("", []),
        (" \n \n", []),
    ],
)
def test_an_answer_is_cut_at_the_ends_of_its_sentences(text: str, lines: list[str]):
    assert lines_of(text) == lines


PIECES = (
    *("Word", "word", "e.g", "No", "5", "0.2%", "I", ".", "!", "?", "…", ":", "...", " ", "  "),
    *("\n", "\r\n", "\t", '"', ")", "```", "。", "」", "x" * 90, "\u00a0", "\x1b", "é"),
)
PROSE = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@given(PROSE | st.text(), st.data())
def test_where_the_tokens_are_cut_changes_no_line(text: str, data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    sentences = Sentences()
    lines: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        lines += sentences.feed(text[start:end])
    assert [*lines, *sentences.rest()] == lines_of(text)


@given(PROSE)
def test_one_character_at_a_time_gives_the_same_lines(text: str):
    sentences = Sentences()
    lines = [line for char in text for line in sentences.feed(char)]
    assert [*lines, *sentences.rest()] == lines_of(text)


@given(PROSE)
def test_no_word_is_lost(text: str):
    shown = "".join("".join(lines_of(text)).split())
    assert shown == "".join(text.split())


@given(st.lists(PROSE, max_size=8))
def test_a_sentence_without_end_is_held_in_bounds(texts: list[str]):
    sentences = Sentences()
    for text in texts:
        for line in sentences.feed(text):
            assert len(line) <= MOST_SENTENCE_CHARS
        assert sentences.held_chars <= MOST_SENTENCE_CHARS


def test_a_sentence_without_end_is_shown_in_pieces_of_whole_words():
    pieces = lines_of("lorem ipsum " * 100)
    assert all(piece.startswith(("lorem", "ipsum")) for piece in pieces)
    assert [len(piece) for piece in pieces] == [395, 395, 395, 11]
    assert lines_of("x" * 900) == ["x" * 400, "x" * 400, "x" * 100]


def test_an_item_of_a_list_is_one_line_whatever_it_says_behind_a_colon():
    sentences = Sentences()
    text = "Two did best:\n- Larkfield (LFUS): +24.80 %\n2. Northgate (NGWE): +21.40 %\nSo: buy. "
    assert sentences.feed(text) == [
        "Two did best:",
        "- Larkfield (LFUS): +24.80 %",
        "2. Northgate (NGWE): +21.40 %",
        "So:",
    ]


def test_what_goes_on_in_the_middle_of_a_line_has_no_margin():
    sentences = Sentences()
    sentences.feed("I look at the ETF")
    assert sentences.rest() == ["I look at the ETF"]
    assert sentences.feed(" performance.\n    code\n") == ["performance.", "    code"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Well", False),
        ("Well.", True),
        ("(Well!)", True),
        ("好。", True),
        ("Well. Then", False),
        ("", False),
    ],
)
def test_a_sentence_is_whole_if_it_ends_like_one(text: str, whole: bool):
    sentences = Sentences()
    sentences.feed(text)
    assert sentences.is_whole is whole
