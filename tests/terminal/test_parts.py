"""The parts of the terminal that have no I/O: addresses, keys, the line, widths, the drawing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.gateway.terminal.address import AddressRefused, read_address
from bargein.gateway.terminal.cells import cells, clipped, graphemes, rows_of
from bargein.gateway.terminal.editor import Editor
from bargein.gateway.terminal.keys import Key, Keyboard
from bargein.gateway.terminal.pipe import Pipe
from bargein.gateway.terminal.screen import Screen
from bargein.gateway.terminal.token_file import TokenUnusable, token_source
from bargein.protocol.ids import Epoch, Seq, TurnId
from bargein.protocol.lines import visible

TURN = TurnId("turn_1")

# --- addresses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "shown", "dialled"),
    [
        ("ws://127.0.0.1:8710", "ws://127.0.0.1:8710", "ws://127.0.0.1:8710/v1/session"),
        ("http://localhost:1/", "ws://localhost:1", "ws://localhost:1/v1/session"),
        ("https://a.example", "wss://a.example", "wss://a.example/v1/session"),
        ("wss://a.example/x/v1/session", "wss://a.example/x/v1/session", None),
        ("ws://[::1]:8710", "ws://[::1]:8710", "ws://[::1]:8710/v1/session"),
    ],
)
def test_an_address_means_the_sessions_of_its_server(typed: str, shown: str, dialled: str | None):
    address = read_address(typed)
    assert address.shown == shown
    assert address.dial_url(None, None, Seq(0), None) == (dialled or shown)


def test_an_address_may_name_a_session_and_a_resume_says_from_where():
    address = read_address("ws://localhost:1/v1/session/sess_1?region=eu")
    assert address.session_id == "sess_1"
    url = address.dial_url("sess_1", Epoch("e1"), Seq(7), "watch")
    assert url == "ws://localhost:1/v1/session/sess_1?region=eu&after=7&epoch=e1&role=watch"
    assert address.list_url == "http://localhost:1/v1/sessions"


@pytest.mark.parametrize(
    "typed",
    [
        "ws://a.example",
        "ftp://localhost",
        "localhost:8710",
        "ws://",
        "ws://localhost:99999",
        "wss://ann:secret@a.example",
        "wss://a.example/?access_token=secret",
        "ws://localhost/v1/session/a%20b",
    ],
)
def test_an_address_that_leaks_or_means_nothing_is_refused(typed: str):
    with pytest.raises(AddressRefused) as refused:
        read_address(typed)
    assert "secret" not in str(refused.value)


def test_a_token_is_read_again_each_time_and_an_empty_file_holds_none(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("one\n", encoding="ascii")
    source = token_source(file, {"BARGEIN_CHAT_TOKEN": "other"})
    assert source.read() == "one"
    file.write_text("two\n", encoding="ascii")
    assert source.latest() == "two"
    file.write_text("  \n", encoding="ascii")
    assert source.latest() is None
    with pytest.raises(TokenUnusable):
        source.read()
    assert token_source(None, {"BARGEIN_CHAT_TOKEN": "other"}).read() == "other"
    assert token_source(None, {"BARGEIN_CHAT_TOKEN": ""}).read() is None


@pytest.mark.parametrize("held", ["secret\nother", "two secrets", "sécret", "secret\x01"])
def test_what_is_no_token_in_the_environment_is_refused_and_not_shown(held: str):
    with pytest.raises(TokenUnusable) as refused:
        token_source(None, {"BARGEIN_CHAT_TOKEN": held})
    assert str(refused.value) == "BARGEIN_CHAT_TOKEN holds no token"


# --- keys -------------------------------------------------------------------------------

TYPED = "aé日\x1b[A\x1b[1;5D\x7f\x1b[200~p\r\nq\x1b[C\x07\x1b[201~\x1bb\r\x1b[99;99Z\x03".encode()
KEYS = [
    Key("text", "aé日"), Key("up"), Key("word-left"), Key("backspace"), Key("text", "p\nq[C"),
    Key("word-left"), Key("enter"), Key("stop"),
]  # fmt: skip


def joined(keys: list[Key]) -> list[Key]:
    """Join neighbouring texts: where the bytes were cut makes no difference."""
    found: list[Key] = []
    for key in keys:
        if key.name == "text" and found and found[-1].name == "text":
            found[-1] = Key("text", found[-1].text + key.text)
        else:
            found.append(key)
    return found


@settings(deadline=None)
@given(st.lists(st.integers(0, len(TYPED)), max_size=8))
def test_keys_are_the_same_wherever_their_bytes_are_cut(cuts: list[int]):
    keyboard = Keyboard()
    keys: list[Key] = []
    places = [0, *sorted(cuts), len(TYPED)]
    for start, end in pairwise(places):
        keys += keyboard.feed(TYPED[start:end])
    assert joined(keys) == KEYS


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_keyboard_and_no_control_character_becomes_text(some: bytes):
    keyboard = Keyboard()
    keys = [*keyboard.feed(some), *keyboard.settle(), *keyboard.feed(b"\x1b[201~")]
    texts = "".join(key.text for key in keys)
    assert not any((char < " " and char not in "\n\t") or "\x7f" <= char < "\xa0" for char in texts)


def test_an_escape_alone_is_a_key_only_if_nothing_follows():
    keyboard = Keyboard()
    assert keyboard.feed(b"\x1b") == []
    assert keyboard.in_doubt
    assert keyboard.settle() == [Key("escape")]
    assert keyboard.feed(b"\x1b") == []
    assert keyboard.feed(b"[D") == [Key("left")]


def test_a_paste_is_cut_at_what_may_be_said():
    keyboard = Keyboard()
    keys = keyboard.feed(b"\x1b[200~" + b"x" * 100_000)
    keys += keyboard.feed(b"y" * 100_000 + b"\x1b[201~z")
    assert [len(key.text) for key in keys] == [32 * 1024, 1]


# --- the line -----------------------------------------------------------------------------


def typed(*keys: str) -> Editor:
    editor = Editor()
    names = Keyboard()
    for key in keys:
        for each in names.feed(key.encode()):
            editor.press(each)
    return editor


@pytest.mark.parametrize(
    ("keys", "line", "cursor"),
    [
        (("hello", "\x01", "X"), "Xhello", 1),
        (("one two  three", "\x17"), "one two  ", 9),
        (("one two", "\x1bb", "\x1bb", "\x0b"), "", 0),
        (("one two", "\x1bb", "\x15"), "two", 0),
        (("ab", "\x02", "\x04"), "a", 1),
        (("a👨\u200d👩\u200d👧", "\x7f"), "a", 1),
        (("e\u0301x", "\x02", "\x7f"), "x", 0),
        (("one two", "\x01", "\x1bf", "!"), "one! two", 4),
        (("a", "\x1b\r", "b"), "a\nb", 3),
    ],
)
def test_keys_change_the_line(keys: tuple[str, ...], line: str, cursor: int):
    editor = typed(*keys)
    assert (editor.text, editor.cursor) == (line, cursor)


def test_lines_before_can_be_had_again_and_the_one_begun_is_not_lost():
    editor = Editor()
    for line in ("one", "two", "two", "  "):
        editor.put(line)
        assert editor.take() == line
    editor.put("dra")
    up, down = Key("up"), Key("down")
    editor.press(up)
    assert editor.text == "two"
    editor.press(up)
    editor.press(up)
    assert editor.text == "one"
    editor.press(down)
    editor.press(down)
    assert editor.text == "dra"


# --- widths -------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(4, 40))
def test_rows_join_to_the_text_again_and_fit(text: str, columns: int):
    text = text.replace("\n", " ")
    rows = rows_of(text, columns)
    assert "".join(rows) == text
    for row in rows:
        # What a person takes for one character is not cut, however wide it is.
        fits = sum(cells(visible(one)) for one in graphemes(row.rstrip())) <= columns
        assert fits or len(list(graphemes(row.rstrip()))) == 1


def test_rows_break_behind_blanks_and_wide_characters_count_twice():
    assert rows_of("one two three", 8) == ["one two ", "three"]
    assert rows_of("日本語日本語", 6) == ["日本語", "日本語"]
    assert clipped("日本語", 5) == "日本…"
    assert clipped("日本語", 6) == "日本語"


# --- the drawing --------------------------------------------------------------------------


class Drawn:
    """A screen, and the terminal that it draws on."""

    def __init__(self, columns: int = 30, rows: int = 12) -> None:
        self.editor = Editor()
        self.screen = Screen(self.editor, columns, rows, colours=False)
        self.terminal = pyte.HistoryScreen(columns, rows, history=1000, ratio=0.5)
        self.stream = pyte.ByteStream(self.terminal)

    def paint(self) -> int:
        (ink,) = self.screen.paint()
        self.stream.feed(ink.written)
        return ink.chars

    @property
    def text(self) -> str:
        gone = ["".join(row[n].data for n in range(30)) for row in self.terminal.history.top]
        return "\n".join(row.rstrip() for row in [*gone, *self.terminal.display]).rstrip()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_where_an_answer_was_cut_makes_no_difference_to_what_is_drawn(cuts: list[int]):
    answer = "".join(f"word{n}{' ' if n % 7 else '.' + chr(10)}" for n in range(60))
    drawn = Drawn()
    drawn.screen.sheet.begin(TURN)
    rest = answer
    for cut in cuts:
        drawn.screen.sheet.speak(rest[:cut])
        rest = rest[cut:]
        assert drawn.paint() == len(answer) - len(rest)
    drawn.screen.sheet.speak(rest)
    assert drawn.paint() == len(answer)
    whole = Drawn()
    whole.screen.sheet.begin(TURN)
    whole.screen.sheet.speak(answer)
    whole.paint()
    assert drawn.text == whole.text
    assert drawn.text.replace("\n", " ").split() == [*answer.split(), ">"]


def test_what_stands_is_drawn_once_and_goes_without_a_trace():
    drawn = Drawn()
    for state in (" ", ">", "x"):
        drawn.screen.stand((f"plan  1. [{state}] Look it up", "plan  2. [ ] Say it"))
        drawn.screen.sheet.speak("more ")
        drawn.paint()
    assert drawn.text == "more more more\nplan  1. [x] Look it up\nplan  2. [ ] Say it\n>"
    drawn.screen.stand(())
    drawn.paint()
    assert drawn.text == "more more more\n>"


def test_a_long_line_is_broken_and_the_cursor_is_where_one_types():
    drawn = Drawn()
    drawn.editor.put("x" * 40)
    drawn.paint()
    assert drawn.text == "> " + "x" * 27 + "\n" + "x" * 13
    assert (drawn.terminal.cursor.y, drawn.terminal.cursor.x) == (1, 13)
    drawn.editor.press(Key("home"))
    drawn.paint()
    assert (drawn.terminal.cursor.y, drawn.terminal.cursor.x) == (0, 2)
    drawn.editor.put("")
    drawn.paint()
    assert drawn.text == ">"


def test_what_was_not_drawn_yet_is_dropped_by_a_hush_and_does_not_count():
    drawn = Drawn()
    sheet = drawn.screen.sheet
    sheet.begin(TURN)
    sheet.speak("seen ")
    assert drawn.paint() == 5
    sheet.speak("never seen")
    assert sheet.hush() == 10
    sheet.tell("--  stopped")
    assert drawn.paint() == 5
    assert drawn.text == "seen\n--  stopped\n>"


@pytest.mark.parametrize("mixed", [True, False])
def test_a_pipe_counts_code_points_and_keeps_answers_and_notes_apart(mixed: bool):
    pipe = Pipe(5, 6, mixed)
    pipe.sheet.begin(TURN)
    pipe.sheet.speak("a👨\u200d👩")
    pipe.sheet.tell("tool  x …")
    pipe.sheet.speak("\x1bb\n")
    pipe.sheet.pause()
    written = [(ink.fd, ink.written.decode(), ink.chars) for ink in pipe.paint()]
    broken_off = [(5, "\n", 4)] if mixed else []
    assert written == [
        (5, "a👨\u200d👩", 4),
        *broken_off,
        (6, "tool  x …\n", 4),
        (5, "\\x1bb\n", 7),
    ]


def test_a_line_in_mid_sentence_tears_no_words_apart_and_one_behind_a_sentence_follows_it():
    drawn = Drawn()
    sheet = drawn.screen.sheet
    sheet.begin(TURN)
    for text, line in (
        ("Sure, let", "tool  x …"),
        (" me look.", "tool  x = 1"),
        ("\n\nIt is", "..  y"),
    ):
        sheet.speak(text)
        sheet.tell(line)
        drawn.paint()
    sheet.speak(" one.")
    drawn.paint()
    assert drawn.text == "tool  x …\nSure, let me look.\ntool  x = 1\n..  y\nIt is one.\n>"
