"""A listener that remembers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio
from attrs import define, field

from bargein.models.anthropic import AnthropicModel, Deadlines
from bargein.models.client import Message, ModelRequest, ToolUse
from tests.fakes.anthropic_answers import (
    Answer,
)
from tests.fakes.anthropic_api import (
    FakeAnthropic,
    Script,
    serving,
)

LIMIT_S: Final = 30.0
"""How long a test on real sockets may take: only a broken one comes near."""

KEY: Final = "sk-secret-of-the-test"


@define(eq=False)
class Ears:
    """Hears and remembers.

    `stuck`, while it is set, is what `room` waits for.
    """

    heard_texts: list[tuple[str, int]] = field(factory=list[tuple[str, int]])
    calls: list[ToolUse] = field(factory=list[ToolUse])
    retries: list[tuple[int, float, str]] = field(factory=list[tuple[int, float, str]])
    starts: list[int] = field(factory=list[int])
    order: list[str] = field(factory=list[str])
    stuck: trio.Event | None = None
    stuck_after: int = 0
    waiting: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.heard_texts)

    @property
    def deltas(self) -> int:
        return sum(deltas for _, deltas in self.heard_texts)

    def started(self, input_tokens: int) -> None:
        self.starts.append(input_tokens)
        self.order.append("started")

    def heard(self, text: str, deltas: int) -> None:
        self.heard_texts.append((text, deltas))
        self.order.append("heard")
        self._changed.set()
        self._changed = trio.Event()

    def tool_called(self, call: ToolUse) -> None:
        self.calls.append(call)
        self.order.append("tool_called")

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        self.retries.append((attempt, after_s, cause))
        self.order.append("retrying")

    async def room(self) -> None:
        if self.stuck is not None and self.deltas >= self.stuck_after:
            self.waiting.set()
            await self.stuck.wait()

    async def hears(self, deltas: int) -> None:
        """Wait until so many deltas have been heard."""
        while self.deltas < deltas:
            await self._changed.wait()


def asking(text: str = "hi") -> ModelRequest:
    return ModelRequest(None, "Be brief.", (Message("user", text),))


@asynccontextmanager
async def talking(
    script: Script | Sequence[Answer],
    deadlines: Deadlines | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[tuple[FakeAnthropic, AnthropicModel]]:
    """Serve *script* and open a model on it, for a bounded time."""
    with trio.fail_after(LIMIT_S):
        async with (
            serving(script, tls=tls) as api,
            AnthropicModel(
                KEY, "claude-test", url=api.url, deadlines=deadlines or Deadlines()
            ) as model,
        ):
            await model.warm()
            yield api, model
