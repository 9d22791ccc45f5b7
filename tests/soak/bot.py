"""A user who talks, interrupts, goes and comes back, for hours, and checks all that comes."""

from __future__ import annotations

import random
from typing import Final

import trio
from attrs import define, field
from trio_websocket import ConnectionClosed

from tests.checker import check_client_log
from tests.e2e.client import Client, HandshakeError, NeverCame, dial
from tests.network.proxy import Proxy

LOST: Final = (NeverCame, ConnectionClosed, HandshakeError, OSError, trio.TooSlowError)
"""What a broken connection looks like; anything else is a bug."""

STAYS_A_SESSION = 6
PATIENCE_S = 8.0
"""Without an answer for so long the connection is taken for broken."""


class TimelineBroken(AssertionError):
    """What a bot received does not follow what it had, or breaks a rule of the protocol."""


@define(eq=False)
class Bot:
    """One user, in one session after the other.

    Attributes:
        sessions: Every session that it had.
        turns: How many it has started.
        lost: How many connections broke.
        events: How many it received.
    """

    proxy: Proxy
    chance: random.Random
    sessions: list[str] = field(factory=list[str], init=False)
    turns: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)
    events: int = field(default=0, init=False)
    _epoch: str = field(default="", init=False)
    _last_seq: int = field(default=0, init=False)
    _stays: int = field(default=STAYS_A_SESSION, init=False)

    async def run(self, stop: trio.Event) -> None:
        """Stay again and again, until asked to stop."""
        while not stop.is_set():
            async with trio.open_nursery() as nursery:
                client = await self._connect(nursery)
                if client is not None:
                    await self._stay(client, stop)
                    await client.cut()
                    self._note(client)
                nursery.cancel_scope.cancel()
            with trio.move_on_after(self.chance.uniform(0, 0.5)):
                await stop.wait()

    async def _connect(self, nursery: trio.Nursery) -> Client | None:
        try:
            if self._stays >= STAYS_A_SESSION:
                client = await dial(nursery, self.proxy.port)
                await client.until("live", within_s=PATIENCE_S)
                self.sessions.append(client.session_id)
                self._epoch, self._last_seq, self._stays = client.hello["epoch"], 0, 0
                return client
            return await dial(
                nursery,
                self.proxy.port,
                self.sessions[-1],
                after=self._last_seq,
                epoch=self._epoch,
            )
        except LOST:
            self.lost += 1
            return None

    async def _stay(self, client: Client, stop: trio.Event) -> None:
        self._stays += 1
        try:
            await client.until("live", within_s=PATIENCE_S)
            for _ in range(self.chance.randint(1, 3)):
                await self._take_turn(client, stop)
            if self._stays >= STAYS_A_SESSION:
                await client.send("close")
                await client.until_closed(PATIENCE_S)
        except LOST:
            self.lost += 1

    async def _take_turn(self, client: Client, stop: trio.Event) -> None:
        words = self.chance.choices(("Talk to me", "Flood me"), (9, 1))[0]
        answer = await client.say(words)
        if answer.type != "reply":
            raise TimelineBroken(answer.text)
        self.turns += 1
        with trio.move_on_after(self.chance.uniform(0.1, 3)):
            await stop.wait()
        await client.ask("interrupt")

    def _note(self, client: Client) -> None:
        if not client.frames:
            return
        if broken := check_client_log([frame.text for frame in client.frames], cut=True):
            raise TimelineBroken(broken)
        after = client.hello["replay_from"] - 1
        if after != self._last_seq:
            raise TimelineBroken(f"{self.sessions[-1]}: resumed at {after}, not {self._last_seq}")
        self.events += len(client.events)
        self._last_seq = max(client.last_seq, self._last_seq)
