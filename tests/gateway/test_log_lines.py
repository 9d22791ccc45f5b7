"""Log lines: one JSON object each, in ASCII, whatever the text in them would like to be."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bargein.gateway.log_lines import escape_controls, json_line
from bargein.gateway.logs import set_up_logs

CORPUS = {
    "newline": 'a\n{"event": "forged", "level": "error"}',
    "carriage return": "a\rb",
    "other line ends": "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "colours": "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "bidi marks": "a\u202eb\u2066c\u2069d\u200fe",
    "NUL": "a\x00b",
    "surrogate": "a\ud800b",
    "quotes": '"}\\',
    "format": "%s %d {0} {event}",
    "emoji": "\U0001f600",
}
SAID = "hunter2 in /srv/data"


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logs() -> Generator[io.StringIO]:
    yield from set_up(io.StringIO())


@pytest.fixture
def terminal() -> Generator[io.StringIO]:
    yield from set_up(Terminal())


def set_up(stream: io.StringIO) -> Generator[io.StringIO]:
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    level, raising = logging.getLogger().level, logging.raiseExceptions
    set_up_logs(stream)
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    structlog.configure(**before)
    logging.getLogger().handlers = handlers
    logging.getLogger().setLevel(level)
    logging.raiseExceptions = raising


def lines_in(stream: io.StringIO) -> list[dict[str, Any]]:
    text = stream.getvalue()
    assert text.isascii()
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
def test_odd_text_stays_within_its_line_and_its_value(text: str, logs: io.StringIO):
    structlog.get_logger().warning("odd.text", value=text, **{"pii.text": text})
    logging.getLogger("library").warning("it said %s", text)
    first, second = lines_in(logs)
    assert (first["event"], first["value"], first["pii.text"]) == ("odd.text", text, text)
    assert first["level"] == "warning"
    assert text in second["event"]


class Pieces(io.StringIO):
    """A stream that several processes write to: what is not written at once may be torn apart."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def test_a_line_goes_out_with_its_end_so_that_no_other_process_writes_between_them():
    for stream in set_up(Pieces()):
        structlog.get_logger().warning("it.happened", value=1)
        logging.getLogger("library").warning("so it said")
        assert isinstance(stream, Pieces)
        assert [piece.count("\n") for piece in stream.pieces if piece] == [1, 1]
        assert all(piece.endswith("\n") for piece in stream.pieces if piece)


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text()))
def test_any_text_is_one_line_of_ascii(text: str, more: dict[str, str]):
    line = json_line({**more, "event": text})
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == text


def fail(text: str) -> None:
    raise LookupError(text)


def test_what_an_exception_says_stands_under_a_key_of_its_own(logs: io.StringIO):
    try:
        try:
            fail(SAID)
        except LookupError as error:
            raise RuntimeError(f"because of {SAID}") from error
    except RuntimeError:
        structlog.get_logger().exception("it.failed")
    (line,) = lines_in(logs)
    assert line["pii.exception"] == [f"because of {SAID}", SAID]
    public = {key: value for key, value in line.items() if not key.startswith("pii.")}
    assert SAID not in json.dumps(public)
    told = line["exception"].splitlines()
    assert told[0] == "Traceback (most recent call last):"
    assert "RuntimeError" in told
    assert "its cause: Traceback (most recent call last):" in told
    assert any("in fail" in part for part in told)


def test_a_group_and_a_library_are_told_of_in_the_same_way(logs: io.StringIO):
    group = ExceptionGroup(SAID, [KeyError(SAID), ExceptionGroup("x", [OSError(SAID)])])
    structlog.get_logger().error("it.failed", exc_info=group)
    try:
        fail(SAID)
    except LookupError:
        logging.getLogger("library").exception("it failed")
    for line in lines_in(logs):
        public = {key: value for key, value in line.items() if not key.startswith("pii.")}
        assert SAID not in json.dumps(public)
        assert SAID in json.dumps(line["pii.exception"])
        assert "Error" in line["exception"]
    assert [kind in lines_in(logs)[0]["exception"] for kind in ("KeyError", "OSError")] == [
        True,
        True,
    ]


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError(SAID)


def test_an_exception_that_can_t_be_told_of_does_not_break_the_log(logs: io.StringIO):
    structlog.get_logger().error("it.failed", exc_info=Mute())
    structlog.get_logger().error("nothing.failed", exc_info=True)
    first, second = lines_in(logs)
    assert first["pii.exception"] == ["(no text: ValueError)"]
    assert "exception" not in second


def endlessly(depth: int) -> int:
    return endlessly(depth + 1)


def test_a_recursion_without_an_end_is_a_line_of_bounded_length(logs: io.StringIO):
    try:
        endlessly(0)
    except RecursionError:
        structlog.get_logger().exception("it.failed")
    (line,) = lines_in(logs)
    assert line["exception"].count("in endlessly") < 50
    assert len(logs.getvalue()) < 20_000


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
def test_a_terminal_obeys_nothing_that_came_from_outside(text: str, terminal: io.StringIO):
    structlog.get_logger().warning("odd.text", value=text)
    shown = terminal.getvalue()
    assert len(shown.splitlines()) == 1
    assert not set(shown) & {"\r", "\x07", "\x00", "\u202e", "\u2066", "\u2028", "\x85"}
    assert "\x1b[31mred" not in shown
    assert "\x1b]0" not in shown


def test_a_terminal_shows_a_traceback_in_lines(terminal: io.StringIO):
    try:
        fail("a\x1b[31mb")
    except LookupError:
        structlog.get_logger().exception("it.failed")
    shown = terminal.getvalue()
    assert "Traceback (most recent call last):\n" in shown
    assert "\x1b[31mb" not in shown


def test_what_is_readable_stays_as_it_is():
    event = {"event": "a.b", "text": "Grüße", "count": 1, "exception": "one\ntwo"}
    assert escape_controls(None, "", dict(event)) == event
