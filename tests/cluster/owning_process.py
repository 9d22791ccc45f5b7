"""A server that owns one session and appends to it, until it is killed or the session is taken.

Each line that it prints is its node's name, an announced seq, or who has taken the session over.
"""

from __future__ import annotations

import os
import sys

import trio

from bargein.protocol.ids import Seq
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.store import Append, StoreError, TakenOver
from tests.timeline.appends import A, frame, new_session

STDOUT = 1


def say(line: str) -> None:
    os.write(STDOUT, f"{line}\n".encode())


async def append_until_taken(store: RedisStore) -> None:
    seq, over = 0, trio.Event()

    def on_failed(error: StoreError) -> None:
        if not isinstance(error, TakenOver):
            say(f"failed: {error}")
        elif not over.is_set():
            say(f"taken by {error.owner}")
        over.set()

    while not over.is_set():
        durable = trio.Event()

        def on_durable(last: Seq, durable: trio.Event = durable) -> None:
            say(str(last))
            durable.set()

        seq += 1
        store.submit(
            Append(
                session_id=A,
                first_seq=Seq(seq),
                frames=(frame(A, seq),),
                urgent=True,
                unsettled=True,
                opened=new_session(A) if seq == 1 else None,
                on_durable=on_durable,
                on_failed=on_failed,
            )
        )
        with trio.move_on_after(0.02):
            await over.wait()
        if not over.is_set():
            await durable.wait()


async def main(port: int) -> None:
    store = RedisStore(Address("127.0.0.1", port), hold_s=60)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        say(store.lease.me)
        await append_until_taken(store)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
