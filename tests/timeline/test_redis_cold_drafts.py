"""Files of cold sessions that are given up while a thread is writing them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from bargein.protocol.ids import Seq
from bargein.timeline.redis import cold_file
from bargein.timeline.redis.cold import Cold
from bargein.timeline.redis.cold_file import ColdDraft
from bargein.timeline.redis.cold_folder import ColdFolder
from bargein.timeline.store import Stored
from tests.timeline.appends import A

LONG_S = 60.0
"""A bound for what ends at once where all is well."""


@define(eq=False)
class Watched:
    """A connection that stops inside a statement, and knows when it is closed meanwhile."""

    connection: sqlite3.Connection
    stops_in: str
    reached: threading.Event = field(factory=threading.Event)
    go_on: threading.Event = field(factory=threading.Event)
    closings: list[bool] = field(factory=list[bool])
    is_inside: bool = False

    def execute(self, statement: str, *arguments: Any) -> Any:
        return self._run(self.connection.execute, statement, *arguments)

    def executemany(self, statement: str, rows: Any) -> Any:
        return self._run(self.connection.executemany, statement, rows)

    def close(self) -> None:
        self.closings.append(self.is_inside)
        if not self.is_inside:  # else this process would end here
            self.connection.close()

    def _run(self, work: Any, statement: str, *arguments: Any) -> Any:
        if statement.startswith(self.stops_in):
            self.is_inside = True
            self.reached.set()
            self.go_on.wait(LONG_S)
            self.is_inside = False
        return work(statement, *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> ColdFolder:
    (tmp_path / ("a" * 16)).mkdir()
    folder = ColdFolder(tmp_path)
    folder.name = "a" * 16
    return folder


@pytest.mark.parametrize("stops_in", ["INSERT INTO events", "COMMIT"])
async def test_a_thread_that_was_left_behind_closes_what_it_uses_itself_and_leaves_nothing(
    folder: ColdFolder, stops_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, made = cold_file._connect, list[Watched]()  # pyright: ignore[reportPrivateUsage]

    def watched(path: Path, how: str) -> Any:
        made.append(Watched(connect(path, how), stops_in))
        return made[0]

    ended = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(cold_file, "_connect", watched)
        draft = await folder.begin(A, Cold.new(Seq(2), folder.name))

    def write() -> None:
        try:
            draft.add([Stored(Seq(1), b"{}"), Stored(Seq(2), b"{}")])
            draft.seal()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(folder.do, write))
        assert await trio.to_thread.run_sync(made[0].reached.wait, LONG_S)
        nursery.cancel_scope.cancel(reason="the store ends")
    await folder.do(draft.drop)
    assert made[0].closings == []  # it is in use
    made[0].go_on.set()
    assert await trio.to_thread.run_sync(ended.wait, LONG_S)
    assert made[0].closings
    assert not any(made[0].closings)
    assert list(folder.path.glob("*/*")) == []


async def test_what_nobody_uses_is_closed_by_whoever_drops_it(folder: ColdFolder) -> None:
    draft = await folder.begin(A, Cold.new(Seq(1), folder.name))
    await folder.do(draft.drop)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        draft.add([Stored(Seq(1), b"{}")])
    assert list(folder.path.glob("*/*")) == []


CANCELS = """
import random, sys
from contextlib import suppress
from functools import partial
from pathlib import Path
import trio
from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.redis.cold import Cold
from bargein.timeline.redis.cold_folder import ColdFolder
from bargein.timeline.store import Stored, StoreUnavailable

async def main():
    folder, chance = ColdFolder(Path(sys.argv[1])), random.Random(1)
    folder.name = "a" * 16
    page = [Stored(Seq(seq), b"x" * 900) for seq in range(1, 1025)]
    for _ in range(120):
        draft = await folder.begin(SessionId("s"), Cold.new(Seq(1024), folder.name))
        with trio.move_on_after(chance.uniform(0.0002, 0.006)), suppress(StoreUnavailable):
            await folder.do(partial(draft.add, page))
            await folder.do(draft.seal)
        with trio.move_on_after(1, shield=True), suppress(StoreUnavailable):
            await folder.do(draft.drop)
    print("alive")

trio.run(main)
"""


def test_writing_that_is_cancelled_again_and_again_does_not_end_the_process(
    folder: ColdFolder,
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", CANCELS, str(folder.root)],
        capture_output=True,
        timeout=LONG_S,
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, b"alive\n")


def test_a_step_that_fails_leaves_the_next_one_free(folder: ColdFolder) -> None:
    draft = ColdDraft.begin(Cold.new(Seq(1), folder.name).path(folder.root, A), A)
    with pytest.raises(sqlite3.Error):
        draft.add([Stored(Seq(1), b"{}"), Stored(Seq(1), b"{}")])
    draft.drop()
    assert list(folder.path.glob("*/*")) == []
