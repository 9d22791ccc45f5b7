"""A process that appends to many sessions until it is killed, and says what is durable.

It waits for a line on its standard input before it opens the store, so that a test
may start it early. Then each line that it prints is a session and its last durable seq.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import trio

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Append, StoreError
from tests.timeline.appends import frame, new_session

SESSIONS = 8
STDOUT = 1


async def append_for_ever(store: SqliteStore, session_id: SessionId, chance: random.Random) -> None:
    row = await store.row(session_id)
    seq = 0 if row is None else row.last_seq
    while True:
        durable = trio.Event()

        def on_durable(last: Seq, durable: trio.Event = durable) -> None:
            os.write(STDOUT, f"{session_id} {last}\n".encode())
            durable.set()

        def on_failed(error: StoreError) -> None:
            os.write(STDOUT, f"failed: {error}\n".encode())

        for _ in range(chance.randint(1, 4)):
            count = chance.choice((1, 1, 1, 2, 30))
            store.submit(
                Append(
                    session_id=session_id,
                    first_seq=Seq(seq + 1),
                    frames=tuple(frame(session_id, n) for n in range(seq + 1, seq + count + 1)),
                    urgent=chance.random() < 0.2,
                    unsettled=chance.random() < 0.5,
                    opened=new_session(session_id) if seq == 0 else None,
                    on_durable=on_durable,
                    on_failed=on_failed,
                )
            )
            seq += count
        await durable.wait()


async def main(path: Path, seed: int) -> None:
    store = SqliteStore(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        for number in range(SESSIONS):
            chance = random.Random(seed * SESSIONS + number)  # noqa: S311
            session_id = SessionId(f"sess_{number}")
            nursery.start_soon(append_for_ever, store, session_id, chance)


if __name__ == "__main__":
    sys.stdin.readline()
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
