"""Lines, for people with a terminal: what a typed line means, and what a line shows.

A person who offers no subprotocol types lines instead of JSON.  One that
begins with `/` and letters, alone or before a blank, is for the server; all
others are the user's words.  So `/usr/bin is full`, `//x`, `/` and `/yes!` are
words, and so is any line with a blank in front.

In lines to read the answer stands plain, one line for each sentence.  All else
has a short prefix and two blanks:

    >     the user's words         plan  a step and its state
    --    session and interrupts   tool  a tool, its progress and its result
    ..    what is going on         act   what became of an action
    !!    an error                 data  structured content
    ?     an action to decide      |     a line of the answer that looks like one of these

What users, models and tools wrote is made visible, so that it can neither paint
the terminal nor pass for a line of the server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from unicodedata import category, normalize

import msgspec
from attrs import frozen

from bargein.protocol import events
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import CLIENT_ID
from bargein.protocol.sentences import MOST_SENTENCE_CHARS
from bargein.protocol.state import STAGE_RESULT

HELP: Final = """\
Type a line and press Enter: it is your turn, and an answer that is still running stops for it.
/stop        stop the answer, and say nothing instead
/yes [id]    do what was proposed; the id may be left out where only one thing is open
/no [id]     don't do it
/plan        show the plan
/history     show what has happened so far, from the beginning
/help        show this
/quit        disconnect; the session stays, and you may come back to it
A blank in front of a line makes it plain words, even if a slash or a brace follows.
A line that begins with { is a JSON command, such as {"type":"ping"}.
/protocol.json on this server's port describes all commands and everything that is sent to you."""
"""What `/help` answers: a line for each command, and where the rest is described."""

MOST_CHARS: Final = 400
"""Of one line that is no answer: the rest of a long result is on the timeline."""

SHORT_CHARS: Final = 120
"""Of a name, a title or a summary that is part of a line."""

_MOST_LISTED: Final = 10
_TAIL_CHARS: Final = 40


# --- what a person types ------------------------------------------------------


@frozen
class Decide:
    """Confirm or reject the only open proposal; `only_open_proposal` finds it."""

    confirm: bool


@frozen
class Help:
    """Show `HELP`."""


@frozen
class Quit:
    """Close this connection; the session stays."""


LocalLine: TypeAlias = Decide | Help | Quit | Problem
"""A line that is no command: the gateway answers it, or finds the command for it."""

_LINE_COMMAND: Final = re.compile(r"/([^\W\d_]+)(?:\s+(.*))?", re.DOTALL)


def read_line(text: str) -> dict[str, Any] | LocalLine | None:
    r"""Return what a typed line means: the body of a command, a local line, or nothing.

    A line that begins with `{` is JSON and not for here.  A newline or carriage
    return at the end is dropped; a blank line is nothing; `\n` within is kept.
    What follows `/stop` is ignored, since who wants it to stop may be in haste;
    the others are refused with words that they don't take.
    """
    line = text.rstrip("\r\n")
    if not line.strip():
        return None
    found = _LINE_COMMAND.fullmatch(line)
    if found is None:
        return {"type": "say", "text": line}
    name, rest = found[1].lower(), (found[2] or "").strip()
    match name:
        case "stop":
            return {"type": "interrupt"}
        case "yes" | "no":
            return _decide(name, rest)
        case "plan" if not rest:
            return {"type": "projection", "name": "plan"}
        case "history" if not rest:
            return {"type": "history"}
        case "help" if not rest:
            return Help()
        case "quit" if not rest:
            return Quit()
        case "plan" | "history" | "help" | "quit":
            message = f"/{name} stands alone; to say this line as it is, put a blank in front."
            return problem(ErrorCode.INVALID_COMMAND, message)
        case _:
            message = (
                f"There is no /{name[:32]}; /help lists what there is. "
                "To say this line as it is, put a blank in front."
            )
            return problem(ErrorCode.UNKNOWN_COMMAND, message)


def _decide(name: str, rest: str) -> dict[str, Any] | LocalLine:
    if not rest:
        return Decide(confirm=name == "yes")
    if not CLIENT_ID.fullmatch(rest):
        message = f"/{name} takes one confirmation id, or none if only one thing is open."
        return problem(ErrorCode.INVALID_COMMAND, message, param="confirmation_id")
    return _decision(rest, confirm=name == "yes")


def _decision(confirmation_id: str, *, confirm: bool) -> dict[str, Any]:
    return {"type": "confirm" if confirm else "reject", "confirmation_id": confirmation_id}


def only_open_proposal(
    decide: Decide, proposals: Sequence[tuple[str, str]]
) -> dict[str, Any] | Problem:
    """Return the command that decides the only open proposal, or why there is none.

    Args:
        decide: What the person typed.
        proposals: Confirmation id and summary of each that is open, oldest first.
    """
    if not proposals:
        message = "Nothing waits for a yes or no."
        return problem(ErrorCode.NOT_FOUND, message, param="confirmation_id")
    if len(proposals) == 1:
        return _decision(proposals[0][0], confirm=decide.confirm)
    word = "/yes" if decide.confirm else "/no"
    listed = [
        f"{word} {confirmation_id} ({one_line(summary, SHORT_CHARS)})"
        for confirmation_id, summary in proposals[:_MOST_LISTED]
    ]
    if more := len(proposals) - len(listed):
        listed.append(f"{more} more")
    message = f"{len(proposals)} things wait for a yes or no; say which: {', '.join(listed)}."
    return problem(ErrorCode.INVALID_COMMAND, message, param="confirmation_id")


# --- what a person reads --------------------------------------------------------

_JOINERS: Final = "\u200c\u200d"
"""Invisible but harmless: Persian words and many emoji need them."""

_PILE: Final = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+)"
)


def visible(text: str) -> str:
    r"""Return *text* with all that could paint a terminal written out.

    Control characters and escape sequences, marks that change the direction of
    writing, other invisible ones and line separators become `\x1b`, `\u202e`
    and the like; so do accents from the fifth on one letter.  A tab is four
    blanks, and any other blank is a plain one.
    """
    if text.isascii() and text.isprintable():
        return text
    piled = _PILE.sub(lambda found: found[1] + "".join(map(_written_out, found[2])), text)
    if piled.isprintable():
        return piled
    return "".join(map(_shown, piled))


def _shown(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    match category(char):
        case "Zs":
            return " "
        case "Cc" | "Cf" | "Cs" | "Zl" | "Zp":
            return "    " if char == "\t" else _written_out(char)
        case _:  # private use, or newer than this Python: an emoji, most likely
            return char


def _written_out(char: str) -> str:
    if char <= "\xff":
        return f"\\x{ord(char):02x}"
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def one_line(text: str, most_chars: int) -> str:
    """Return *text* as one visible line: blanks and newlines as one blank, a long end cut off.

    *most_chars* are counted before anything is written out.
    """
    # Most of a very long text would be joined only to be cut off.
    line = " ".join(text[: 8 * most_chars].split())
    if len(line) > most_chars or len(text) > 8 * most_chars:
        line = f"{line[: most_chars - 2].rstrip()} …"
    return visible(line)


def last_words(heard: str, shown_chars: int | None) -> str:
    """Return the end of what was heard: all of it that no line has shown, so that nothing is lost.

    *shown_chars* of it stand in lines already; None where that is not known.
    """
    heard = heard.rstrip()
    most = len(heard) - MOST_SENTENCE_CHARS
    shown = len(heard) if shown_chars is None else shown_chars
    start = max(min(shown, len(heard) - _TAIL_CHARS), most, 0)
    if 0 < start != shown:  # in the middle of a word, perhaps
        start = heard.find(" ", start) if " " in heard[start:shown] else start
    words = one_line(heard[start:], MOST_SENTENCE_CHARS)
    return f"… {words}" if start and words else words


def prefixed(prefix: str, text: str) -> str:
    """Return *text* as a line of the server's, cut to `MOST_CHARS`."""
    return f"{prefix}  {one_line(text, MOST_CHARS)}"


_LOOKS_LIKE_OURS: Final = re.compile(r"(?:(?:[>?]|--|!!|\.\.)\s|(?:plan|tool|act|data)\s\s)")


def answer_line(line: str) -> str:
    """Return a line of the answer, marked with a bar if it looks like one of the server's."""
    shown = visible(line)
    # Full-width signs and the like look alike too.
    alike = normalize("NFKC", shown.lstrip()[:_TAIL_CHARS])
    return f"|  {shown}" if _LOOKS_LIKE_OURS.match(alike) else shown


def notice(payload: events.Payload) -> str | None:
    """Return the line of an event that needs no other to be understood; None for the others."""
    match payload:
        case events.SessionOpened(agent=agent, config=config):
            return prefixed("--", f"{agent} answers, with the model {config.get('model', '?')}.")
        case events.SessionConfigured(config=config):
            listed = ", ".join(f"{key}={value}" for key, value in config.items())
            return prefixed("--", f"Settings: {listed}")
        case events.SessionTitled(title=title):
            return prefixed("--", f"Title: {title}")
        case events.SessionClosed(reason=reason):
            return prefixed("--", f"The session is over: {reason}")
        case events.AsrFinal(text=text):
            return prefixed(">", text)
        case events.InputDropped(reason=reason, continues=str()):
            return prefixed("--", f"The answer that was put off does not go on: {reason}")
        case events.InputDropped(reason=reason):
            return prefixed("--", f"Words that waited will not be answered: {reason}")
        case events.GuardrailTripped(name=name, reason=reason):
            return prefixed("--", f"The guardrail {name} stopped this: {reason}")
        case events.RetrieveResult(sources=sources):
            titles = ", ".join(str(found.get("title", "?")) for found in sources)
            return prefixed("..", f"Sources found: {titles or 'none'}")
        case events.ModelRetry(after_ms=after_ms, cause=cause):
            return prefixed("..", f"The model is asked again in {after_ms / 1000:g} s: {cause}")
        case events.ModelFallback(from_=before, to=after):
            return prefixed("..", f"{after} takes over from {before}.")
        case events.RecoveryStart(kind=kind, attempt=attempt):
            return prefixed("..", f"Recovering ({kind}, attempt {attempt})")
        case events.Status(text=text):
            return prefixed("..", text)
        case events.Object(kind=kind) if kind == STAGE_RESULT:
            return None  # what one agent has told the next: no word for a person
        case events.Object(kind=kind, data=data):
            return prefixed("data", f"{kind}: {compact(data)}")
        case events.MemorySaved(key=key):
            return prefixed("--", f"Remembered: {key}")
        case _:
            return None


def compact(value: Any) -> str:
    """Return *value* as a person reads it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
