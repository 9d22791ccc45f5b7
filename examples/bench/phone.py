"""A user's connection: dialled, lost, and dialled again where the server can take up a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import trio
from attrs import define, field

from examples.bench.diary import Diary, Ear
from examples.bench.link import Link, LinkLost, connect
from examples.bench.readers import Readers

DIALS_MOST: Final = 5
"""Tries in a row to come back; then the user gives up."""

BACK_WITHIN_S: Final = 1.0
"""A user comes back at a moment drawn within this, as the SDK's jitter has it."""

GOODBYE_S: Final = 1.0

SLOW_CUT: Final = 4001
"""What a slow reader is closed with, if it reads so far."""

SLOW_LOOK_S: Final = 0.1
SLOW_BUFFER_BYTES: Final = 4096


@define(eq=False)
class Phone:
    """Keeps one user connected.  Lives as long as `run`.

    Attributes:
        lost: Why it is over for good.
    """

    _url: str
    _ear: Ear
    _diary: Diary
    _readers: Readers
    _random: Random
    _slow_bytes_per_s: float | None = None
    lost: LinkLost | None = field(default=None, init=False)
    _standing: bool = field(default=False, init=False)
    _link: Link | None = field(default=None, init=False)
    _reading: trio.CancelScope | None = field(default=None, init=False)
    _dropped: bool = field(default=False, init=False)
    _sending: trio.Lock = field(factory=trio.Lock, init=False)
    _unanswered: dict[str, bytes] = field(factory=dict[str, bytes], init=False)

    @property
    def connected(self) -> bool:
        """Whether the connection stands, and the session on it is live."""
        return self._standing and self._diary.live.is_set()

    async def run(self) -> None:
        """Stay connected until cancelled, or until there is no way back; `lost` says why."""
        dials = 0
        while True:
            began_s = trio.current_time()
            back = self._ear.address(self._url)
            try:
                buffer_bytes = SLOW_BUFFER_BYTES if self._slow_bytes_per_s else None
                link = await connect(back or self._url, buffer_bytes)
            except LinkLost as lost:
                dials += 1
                if back is None or dials >= DIALS_MOST:
                    self._give_up(lost)
                    return
                await trio.sleep(self._random.uniform(0, BACK_WITHIN_S))
                continue
            dials = 0
            await self._talk(link, None if back is None else began_s)
            if self.lost is not None and not self._goes_on(self.lost):
                self._give_up(self.lost)
                return
            self.lost = None
            await trio.sleep(self._random.uniform(0, BACK_WITHIN_S))

    def drop(self) -> None:
        """Let the connection go without a word; `run` comes back."""
        if self._reading is not None and self._ear.address(self._url) is not None:
            self._dropped = True
            self._diary.tally().drops += 1
            self._reading.cancel(reason="dropped on purpose")

    async def send(self, command_id: str, frame: bytes) -> None:
        """Send a command: now, or when the connection is back."""
        self._unanswered = {
            known: kept for known, kept in self._unanswered.items() if known in self._diary.asked
        }
        self._unanswered[command_id] = frame
        async with self._sending:
            link = self._link
            if link is None:
                return
            try:
                await link.send(frame)
            except LinkLost as lost:
                if self._link is link:
                    self._hang_up(lost)

    def _goes_on(self, lost: LinkLost) -> bool:
        """Count how a connection was lost that nobody let go; say whether to dial again."""
        if self._slow_bytes_per_s and lost.close_code in {SLOW_CUT, None}:
            self._diary.tally().slow_cuts += 1
            return True
        if self._ear.address(self._url) is None:
            return False
        self._diary.tally().errors[str(lost)] += 1
        return True

    def _give_up(self, lost: LinkLost) -> None:
        self.lost = lost
        self._diary.tally().errors[str(lost)] += 1
        self._diary.live.set()

    def _hang_up(self, lost: LinkLost) -> None:
        self.lost = lost
        if self._reading is not None:
            self._reading.cancel(reason="the connection is over")

    async def _talk(self, link: Link, dialled_s: float | None) -> None:
        """Serve one connection until it is over."""
        self._dropped = False
        self.lost, self._standing = None, True
        try:
            with trio.CancelScope() as self._reading:
                if dialled_s is not None:
                    self._diary.live = trio.Event()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._begin, link, dialled_s)
                    await self._read(link)
        except* LinkLost as group:
            self.lost = next(iter(_leaves(group)))
        finally:
            self._standing, self._link, self._reading = False, None, None
            if not self._dropped:
                # Shielded so that the server sees a goodbye, when whoever sends is done.
                with trio.move_on_after(GOODBYE_S, shield=True):
                    async with self._sending:
                        await link.aclose()
            await link.abandon()

    async def _begin(self, link: Link, dialled_s: float | None) -> None:
        """When all is heard that was missed, say again what got no answer."""
        await self._diary.live.wait()
        if dialled_s is not None and self._diary.timed:
            self._diary.tally().back.append(trio.current_time() - dialled_s)
        async with self._sending:
            for command_id, frame in list(self._unanswered.items()):
                if command_id in self._diary.asked:
                    await link.send(frame)
            self._link = link

    async def _read(self, link: Link) -> None:
        self._ear.take(link.early(), trio.current_time())
        if self._slow_bytes_per_s:
            while True:
                await trio.sleep(SLOW_LOOK_S)
                most_bytes = max(1, int(self._slow_bytes_per_s * SLOW_LOOK_S))
                self._ear.take(link.read_now(most_bytes), link.heard_s)
        hear: Callable[[], None] = partial(self._hear, link)
        with self._readers.calling(link.socket, hear):
            await trio.sleep_forever()

    def _hear(self, link: Link) -> None:
        try:
            messages = link.read_now()
            self._ear.take(messages, link.heard_s)
        except LinkLost as lost:
            self._hang_up(lost)


def _leaves(group: BaseExceptionGroup[LinkLost]) -> list[LinkLost]:
    found: list[LinkLost] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
