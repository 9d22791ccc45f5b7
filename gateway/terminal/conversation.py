"""Puts a conversation together, and says how it ended."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import nullcontext
from typing import Final

import trio
from attrs import frozen

from bargein.gateway.terminal.address import DEFAULT_URL, Address
from bargein.gateway.terminal.chat import Chat
from bargein.gateway.terminal.editor import Editor
from bargein.gateway.terminal.face import Face
from bargein.gateway.terminal.follower import Follower
from bargein.gateway.terminal.line_room import LineRoom
from bargein.gateway.terminal.link import Ended, Link
from bargein.gateway.terminal.painter import Painter
from bargein.gateway.terminal.pending import Pending
from bargein.gateway.terminal.pipe import Pipe
from bargein.gateway.terminal.reports import Reports
from bargein.gateway.terminal.screen import Screen
from bargein.gateway.terminal.telling import Telling
from bargein.gateway.terminal.token_file import TokenSource
from bargein.gateway.terminal.tty import Tty
from bargein.gateway.terminal.typing_room import TypingRoom
from bargein.protocol.codes import CloseCode
from bargein.protocol.ids import CLIENT_ID, SessionId
from bargein.protocol.lines import visible

DONE: Final = 0
BROKE_OFF: Final = 1
NO_INPUT: Final = 66
UNAVAILABLE: Final = 69
TRY_LATER: Final = 75
NO_PERMISSION: Final = 77
INTERRUPTED: Final = 130

PATIENCE_S: Final = 60.0
"""How long a conversation without a person waits for a server that has gone."""

_FAREWELL_S: Final = 1.0


_NO_WAY_BACK: Final = frozenset(
    {
        CloseCode.SESSION_CLOSED,
        CloseCode.REVOKED,
        CloseCode.NO_SUCH_SESSION,
    }
)


@frozen
class Wishes:
    """What the command line asked for.

    Attributes:
        session_id: None: a new session.
        plain: Lines only, even on a terminal.
        colours: False: none, even on a terminal.
        editor: The command of the person's own; empty: the line is the editor.
    """

    address: Address
    session_id: str | None
    token: TokenSource
    watch: bool = False
    plain: bool = False
    colours: bool = True
    editor: str = ""


@frozen
class Ends:
    """The files that a person, or a program, is at."""

    keyboard: int = 0
    screen: int = 1
    notes: int = 2

    @property
    def is_terminal(self) -> bool:
        """Whether there is one to draw on."""
        return os.isatty(self.keyboard) and os.isatty(self.screen)


async def converse(wishes: Wishes, ends: Ends | None = None) -> int:
    """Talk until the person leaves or the session is over; return the exit code."""
    ends = ends or Ends()
    drawn = not wishes.plain and ends.is_terminal
    waits = not os.isatty(ends.keyboard)
    tty, editor = Tty(ends.keyboard, ends.screen), Editor()
    columns, height = tty.size
    face = (
        Screen(editor, columns, height, wishes.colours, ends.screen)
        if drawn
        else Pipe(ends.screen, ends.notes, os.isatty(ends.screen))
    )
    with tty.raw() if drawn else nullcontext():
        async with trio.open_nursery() as nursery:
            chat, painter = _composed(wishes, face, nursery)
            nursery.start_soon(_keep_showing, chat, painter)
            nursery.start_soon(painter.run)
            nursery.start_soon(chat.follower.reports.run)
            nursery.start_soon(_hear_signals, chat, painter, tty, face)
            if isinstance(face, Screen):
                nursery.start_soon(TypingRoom(chat, painter, tty, face, editor, wishes.editor).run)
            else:
                nursery.start_soon(LineRoom(chat, painter, ends.keyboard, waits).run)
            nursery.start_soon(_leave_when, painter.blind, chat)
            ended = await _until_over(chat, nursery)
            with trio.move_on_after(_FAREWELL_S):
                await painter.last(face.leave if isinstance(face, Screen) else face.paint)
                chat.follower.reports.now()
                await chat.link.finish()
            nursery.cancel_scope.cancel(reason="the conversation is over")
    os.write(ends.notes, _goodbye(wishes, chat, ended).encode())
    return _exit_code(chat, ended, waited=waits)


def _composed(wishes: Wishes, face: Face, nursery: trio.Nursery) -> tuple[Chat, Painter]:
    def send(text: str) -> bool:
        return link.send(text)

    reports = Reports(send, drives=not wishes.watch)
    session_id = None if wishes.session_id is None else SessionId(wishes.session_id)
    follower = Follower(session_id, Pending(send, nursery), reports)
    patience_s = None if isinstance(face, Screen) else PATIENCE_S
    role = "watch" if wishes.watch else None
    link = Link(wishes.address, role, wishes.token.latest, follower, patience_s)
    follower.link = link
    telling = Telling(face, follower.state, hints=not wishes.watch)
    chat = Chat(face, follower, telling, not wishes.watch, link)
    return chat, Painter(face, reports, lambda: chat.decisions.asked)


async def _until_over(chat: Chat, nursery: trio.Nursery) -> Ended | None:
    """Wait until the person leaves, or there is nothing to be connected to."""
    ended: list[Ended] = []

    async def stay_connected() -> None:
        ended.append(await chat.link.run())
        chat.leave()

    nursery.start_soon(stay_connected)
    await chat.leaving.wait()
    return ended[0] if ended else None


async def _keep_showing(chat: Chat, painter: Painter) -> None:
    while True:
        changed = chat.changed
        painter.soon()
        await changed.wait()


async def _leave_when(happened: trio.Event, chat: Chat) -> None:
    await happened.wait()
    chat.leave()


async def _hear_signals(chat: Chat, painter: Painter, tty: Tty, face: Face) -> None:
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGCONT)
    with trio.open_signal_receiver(*wanted) as heard:
        async for number in heard:
            match number:
                case signal.SIGINT:
                    chat.stop()
                case signal.SIGTERM | signal.SIGHUP:
                    chat.leave()
                case _:
                    if isinstance(face, Screen):
                        face.columns, face.height = tty.size
                    painter.soon()


# --- the end ----------------------------------------------------------------------------


def _goodbye(wishes: Wishes, chat: Chat, ended: Ended | None) -> str:
    session_id = chat.follower.session_id
    said = ""
    if ended is not None and ended.close != CloseCode.SESSION_CLOSED:
        said = f"bargein: {visible(_why(wishes, ended))}\n"
    gone = ended is not None and ended.close in _NO_WAY_BACK
    if session_id is None or chat.state.seq == 0 or chat.state.closed or gone:
        return said
    if not CLIENT_ID.fullmatch(session_id):  # it is to be pasted into a shell
        return said
    url = wishes.address.shown
    where = "" if url == DEFAULT_URL else f" {shlex.quote(url)}"
    watch = " --watch" if wishes.watch else ""
    return f"{said}To come back:  bargein chat --session {session_id}{watch}{where}\n"


def _why(wishes: Wishes, ended: Ended) -> str:
    match ended:
        case Ended(status=401) | Ended(close=CloseCode.UNAUTHORIZED | CloseCode.REVOKED):
            return (
                f"the server takes no token, or not this one ({ended.reason}); "
                "--token-file or BARGEIN_CHAT_TOKEN gives one"
            )
        case Ended(close=CloseCode.NO_SUCH_SESSION):
            return f"there is no session {wishes.session_id} of yours; --list shows yours"
        case Ended(close=None, status=None):
            return f"{wishes.address.shown} can't be reached: {ended.reason}"
        case _:
            return f"{wishes.address.shown}: {ended.reason}"


def _exit_code(chat: Chat, ended: Ended | None, *, waited: bool) -> int:
    match ended:
        case Ended(status=401 | 403) | Ended(close=CloseCode.UNAUTHORIZED | CloseCode.REVOKED):
            return NO_PERMISSION
        case Ended(close=CloseCode.NO_SUCH_SESSION):
            return NO_INPUT
        case Ended() if ended.close != CloseCode.SESSION_CLOSED:
            return UNAVAILABLE if chat.state.seq == 0 else TRY_LATER
        case _:
            pass
    if not waited:
        return DONE
    if not chat.is_idle and ended is None:
        return INTERRUPTED
    if chat.was_refused:
        return BROKE_OFF
    state = chat.state
    turn = state.turns.get(state.latest_started) if state.latest_started else None
    return DONE if turn is None or turn.status == "completed" else BROKE_OFF
