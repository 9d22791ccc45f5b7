"""Letters on their way out."""

from __future__ import annotations

from attrs import frozen

from bargein.cluster.bus import Bus
from bargein.cluster.counters import LETTERS
from bargein.cluster.letters import Letter, encode_letter, kind_of
from bargein.protocol.ids import NodeId


@frozen(eq=False)
class Post:
    """Writes letters, and counts them.  Lives as long as the process."""

    _bus: Bus

    def tell(self, to: NodeId, letter: Letter) -> None:
        """Send *letter* to a node.  Never waits and never fails; it may be lost."""
        LETTERS.labels(kind_of(letter)).inc()
        self._bus.send(to, encode_letter(letter))
