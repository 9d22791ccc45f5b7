"""A process that fills a small disk of its own, and says how its store fares.

It is started in a mount namespace of its own with a folder to mount the disk on.
What it prints is JSON, one object a line; it raises where a fact is not as it should be.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import trio

from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import StoreUnavailable
from tests.timeline.appends import A, B, Notes, all_seqs, entry, running

DISK_BYTES = 4 * 2**20
CHUNK_BYTES = 256 * 1024
WELL_WITHIN_S = 5.0


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def fill(ballast: Path) -> None:
    """Write until the kernel says that the disk is full."""
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError as error:
        tell(full=error.strerror)


async def main(disk: Path) -> None:
    store, notes = SqliteStore(disk / "timelines.sqlite3"), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        fill(disk / "ballast")
        seq = 0
        while not notes.failed:  # the log has a little room left
            seq += 1
            audit = (entry(B, seq),)
            notes.submit(store, B, seq, frames=(b"x" * CHUNK_BYTES,), audit=audit)
            await notes.all_answered()
        _, failed_seq, error = notes.failed[0]
        if not isinstance(error, StoreUnavailable):
            raise error
        tell(reason=error.reason, condition=store.health.condition)
        tell(history=await all_seqs(store, A))
        (disk / "ballast").unlink()
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        row = await store.row(B)
        stored = 0 if row is None else row.last_seq
        tell(condition=store.health.condition, lost=failed_seq - 1 - stored)
        await notes.stored(store, A, 4, 6)
        tell(history=await all_seqs(store, A), lines=len(await store.audit_lines(0, limit=99)))
        tell(expected_lines=stored)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(where)], check=True
    )
    trio.run(main, where)
