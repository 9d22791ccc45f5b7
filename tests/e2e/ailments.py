"""What befalls the file of a live server's store: a lock, a full disk, damage, a lost file."""

# pyright: reportPrivateUsage=false
# The connection's limit is set from inside, where a disk would be full.

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import trio

from bargein.timeline.sqlite import SqliteStore
from tests.e2e.client import DEADLINE_S
from tests.e2e.harness import World

_HOLD: Final = """\
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
while not other.in_transaction:
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:  # it is being written; try again
        print(error, file=sys.stderr)
print("locked", flush=True)
sys.stdin.read(1)
"""

_EIO: Final = """\
#include <errno.h>
#include <unistd.h>
#include <stdlib.h>
static int fails(void) { const char *path = getenv("FSYNC_FAILS"); return path && !access(path, F_OK); }
int fsync(int fd) { if (fails()) { errno = EIO; return -1; } return 0; }
int fdatasync(int fd) { if (fails()) { errno = EIO; return -1; } return 0; }
"""  # noqa: E501
"""What a disk does that has gone bad, while a file of that name is there."""


@asynccontextmanager
async def locked(path: Path) -> AsyncGenerator[None]:
    """Let another process hold the lock of a database for as long as the context lasts."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", _HOLD, str(path)], stdin=-1, stdout=-1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with trio.fail_after(DEADLINE_S):
            said = b""
            while not said.endswith(b"\n"):
                more = await process.stdout.receive_some()
                assert more, (said, process.poll())
                said += more
        yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()


def let_grow_by(w: World, pages: int) -> None:
    """Let the store's file have *pages* more; behind that SQLite finds the disk full."""
    store = w.store
    assert isinstance(store, SqliteStore)
    assert store._writer is not None
    connection = store._writer.commits._connection
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {count + pages}")


def damage(path: Path, session_id: str, seq: int) -> None:
    """Change a byte of a stored event."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        changed = other.execute(
            "UPDATE events SET frame = replace(frame, 'e', 'E') WHERE seq = ? AND session ="
            " (SELECT key FROM sessions WHERE session_id = ?)",
            (seq, session_id),
        )
        assert changed.rowcount == 1


async def bad_disk(directory: Path) -> dict[str, str] | None:
    """Return the environment of a process whose fsync fails while `directory/bad` is there.

    None where there is no compiler to make it with.
    """
    source, library = directory / "eio.c", directory / "eio.so"
    source.write_text(_EIO, encoding="ascii")
    try:
        made = await trio.run_process(
            ["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=False
        )
    except FileNotFoundError:
        return None
    if made.returncode:
        return None
    return {"LD_PRELOAD": str(library), "FSYNC_FAILS": str(directory / "bad")}
