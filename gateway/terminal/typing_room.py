"""A conversation on a terminal, with a line to type in below it."""

from __future__ import annotations

import os
import shlex
import signal
import tempfile
from pathlib import Path
from subprocess import CalledProcessError
from typing import Final

import msgspec
import trio
from attrs import define, field

from bargein.gateway.terminal.chat import Chat
from bargein.gateway.terminal.editor import Editor
from bargein.gateway.terminal.keys import Key
from bargein.gateway.terminal.painter import Painter
from bargein.gateway.terminal.screen import Screen
from bargein.gateway.terminal.tty import Tty
from bargein.protocol.actions import ActionState

MOST_EDITED_BYTES: Final = 64 * 1024
"""A command may be as long."""


@define(eq=False)
class TypingRoom:
    """Hands keys to the line, and lines to the chat.

    Attributes:
        editing: The command with which the person edits files; empty where there is none.
    """

    chat: Chat
    painter: Painter
    tty: Tty
    screen: Screen
    editor: Editor
    editing: str = ""
    _asked: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Take keys until the terminal has gone."""
        while not self.chat.leaving.is_set():
            keys = await self.tty.keys()
            if not keys:
                self.chat.leave()
                return
            seen = self.painter.seen
            for key in keys:
                await self._press(key, seen)
            self.painter.soon()

    async def _press(self, key: Key, seen: str | None) -> None:
        if not self.editor.text:
            # A line answers what stood on the terminal before it, and nothing that comes up later.
            self._asked = seen
        match key.name:
            case "enter":
                self._enter()
                if (action := self.chat.decisions.to_edit) is not None:
                    await self._edit(action)
            case "stop":
                self._stop()
            case "end-of-input" if not self.editor.text:
                self.chat.leave()
            case "suspend":
                await self._suspend()
            case "repaint":
                await self.painter.write_when_free(self.screen.clear)
            case _:
                self.editor.press(key)

    def _enter(self) -> None:
        self.chat.entered(self.editor.take(), self._asked)

    def _stop(self) -> None:
        state = self.chat.state
        if self.editor.text and state.open_turn is None:
            self.editor.take()
        else:
            self.chat.stop()

    # --- away from the line -------------------------------------------------------------

    async def _suspend(self) -> None:
        """Stop like any other program on Ctrl-Z; `fg` brings it back."""
        await self.painter.write_when_free(self.screen.leave)
        with self.tty.cooked():
            os.kill(0, signal.SIGTSTP)

    async def _edit(self, action: ActionState) -> None:
        """Let the person edit the arguments: in $EDITOR, or else in the line itself."""
        args = self.chat.decisions.args_of(action)
        if not self.editing:
            self.chat.decisions.to_edit = None
            self.editor.put(f"e {msgspec.json.encode(args).decode()}")
            self._asked = self.chat.decisions.asked
            return
        text = msgspec.json.format(msgspec.json.encode(args), indent=2).decode()
        edited = await self._edited_in(self.editing, f"{text}\n")
        self.chat.decisions.to_edit = None
        if edited is None:
            self.screen.sheet.tell("!!  The editor failed, so nothing changed.")
        else:
            self.chat.decisions.edited(action, edited)

    async def _edited_in(self, command: str, text: str) -> str | None:
        try:
            words = shlex.split(command)
        except ValueError:  # a quote without its other half
            return None
        await self.painter.write_when_free(self.screen.leave)
        self.screen.showing = False
        try:
            with (
                tempfile.TemporaryDirectory(prefix="bargein-") as directory,
                self.tty.cooked(flush=True),
            ):
                path = Path(directory) / "arguments.json"
                path.write_text(text, encoding="utf-8")
                keyboard, screen = self.tty.keyboard_fd, self.tty.screen_fd
                await trio.run_process([*words, str(path)], stdin=keyboard, stdout=screen)
                with path.open("rb") as file:
                    return file.read(MOST_EDITED_BYTES).decode()
        except (OSError, CalledProcessError, UnicodeDecodeError):
            return None
        finally:
            self.screen.showing = True
