"""Letters on their way out: those to one node that are written in one moment go together."""

from __future__ import annotations

from typing import Final

import trio
from attrs import define, field

from bargein.cluster.bus import Bus
from bargein.cluster.counters import LETTERS
from bargein.cluster.letters import Advanced, Letter, Show, encode_letters, kind_of
from bargein.protocol.ids import NodeId

MOST_LETTERS: Final = 256
MOST_BYTES: Final = 256 * 1024
"""Of frames in one message; one large frame goes alone."""


def _weight_bytes(letter: Letter) -> int:
    if isinstance(letter, Advanced):
        return sum(map(len, letter.frames))
    return len(letter.frame) if isinstance(letter, Show) else 0


@define(eq=False)
class Post:
    """Takes letters without a wait.  Lives as long as the process."""

    _bus: Bus
    _written: dict[NodeId, list[Letter]] = field(factory=dict[NodeId, list[Letter]], init=False)
    _work: trio.Event = field(factory=trio.Event, init=False)

    def tell(self, to: NodeId, letter: Letter) -> None:
        """Send *letter* to a node, with all others to it of this moment.  Never waits."""
        self._written.setdefault(to, []).append(letter)
        self._work.set()

    async def run(self) -> None:
        """Send what is written until cancelled."""
        while True:
            await self._work.wait()
            self.flush()

    def flush(self) -> None:
        """Send now what is written."""
        written, self._written = self._written, {}
        self._work = trio.Event()
        for to, letters in written.items():
            some: list[Letter] = []
            size_bytes = 0
            for letter in letters:
                LETTERS.labels(kind_of(letter)).inc()
                own_bytes = _weight_bytes(letter)
                is_full = len(some) >= MOST_LETTERS or size_bytes + own_bytes > MOST_BYTES
                if some and is_full:
                    self._bus.send(to, encode_letters(some))
                    some, size_bytes = [], 0
                some.append(letter)
                size_bytes += own_bytes
            self._bus.send(to, encode_letters(some))
