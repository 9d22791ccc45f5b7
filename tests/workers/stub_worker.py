"""A worker that serves nobody: how it behaves stands in a file.  python stub_worker.py FILE"""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path

import trio

from bargein.gateway.workers.tether import Standing, Tether


async def bury(node: str) -> None:
    """Write down beside the file who was told of whose end."""
    await trio.lowlevel.checkpoint()
    with Path(sys.argv[1]).with_name("buried").open("a", encoding="utf-8") as book:
        book.write(f"{os.getpid()} {node}\n")


async def behave(tether: Tether, connections: int, drain_s: float, allowed_s: float | None) -> None:
    """Tell that all is well until a signal comes, and then for so long, and end."""

    async def end() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                await trio.sleep(drain_s)
                tasks.cancel_scope.cancel()

    node = f"stub.{os.getpid()}"
    async with trio.open_nursery() as tasks:
        tasks.start_soon(end)
        await tether.run(lambda: Standing(None, 0, connections, allowed_s, node), bury)


def main() -> None:
    how = Path(sys.argv[1]).read_text(encoding="utf-8").split()
    tether = Tether.of(os.environ)
    assert tether is not None
    if how[0] == "exit":
        sys.exit(int(how[1]))
    drain_s = float(how[1]) if how[0] == "slow" else {"stubborn": math.inf}.get(how[0], 0.0)
    allowed_s = float(how[3]) if how[2:3] == ["allows"] else None
    trio.run(behave, tether, 10 * tether.number, drain_s, allowed_s)


if __name__ == "__main__":
    main()
