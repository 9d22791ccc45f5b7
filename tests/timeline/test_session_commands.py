"""`bargein sessions`: listed, exported and erased, with and without a server on the file."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from bargein.actors.clock import SystemClock
from bargein.actors.retention import Retention
from bargein.memory.facts import Owner as FactsOwner
from bargein.memory.schema import path_beside
from bargein.memory.sqlite import SqliteFacts
from bargein.protocol.ids import Seq, SessionId
from bargein.server import main
from bargein.timeline.sqlite import SqliteStore
from tests.memory.facts import running as facts_running
from tests.memory.facts import save, ticking
from tests.timeline.appends import OPENED_AT, A, B, C, Notes, frame, new_session, running

ANN = ("--principal", "ann")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store with two sessions of ann, and one of hers within a tenant."""
    path = tmp_path / "timelines.sqlite3"

    async def write() -> None:
        store, notes = SqliteStore(path), Notes()
        async with running(store):
            for name, tenant in ((A, None), (B, None), (C, "acme")):
                notes.submit(store, name, 1, 3, opened=new_session(name, "ann", tenant))
            await notes.all_answered()

    trio.run(write)
    return path


def sessions(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["sessions", *arguments, "--store", f"sqlite:///{path}"])


def lines_of(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def ids_in(path: Path, *arguments: str) -> list[str]:
    return [line["session_id"] for line in lines_of(sessions(path, "list", *arguments))]


def acts_in(path: Path) -> list[tuple[str, str]]:
    shown = CliRunner().invoke(main, ["audit", "show", "--store", f"sqlite:///{path}"])
    return [(line["act"], line["session_id"]) for line in lines_of(shown)]


@pytest.mark.parametrize(
    "command", [("sessions", "list"), ("sessions", "export", *ANN), ("audit", "show")]
)
def test_who_has_seen_enough_causes_no_error(path: Path, command: tuple[str, ...]) -> None:
    reads, writes = os.pipe()
    os.close(reads)  # as `head` does, and before the first line at that
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "bargein.server", *command, "--store", f"sqlite:///{path}"],
            stdout=writes,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writes)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_sessions_are_listed_all_or_those_of_a_principal(path: Path) -> None:
    first = lines_of(sessions(path, "list"))[0]
    assert first["session_id"] == A
    assert (first["principal"], first["tenant"], first["last_seq"]) == ("ann", None, 3)
    assert (first["opened_at"], first["last_at"]) == (OPENED_AT, OPENED_AT)
    assert ids_in(path) == [A, B, C]
    assert ids_in(path, *ANN) == [A, B]
    assert ids_in(path, *ANN, "--tenant", "acme") == [C]
    assert ids_in(path, "--principal", "eve") == []


def test_an_export_has_every_row_and_every_event(path: Path) -> None:
    exported = lines_of(sessions(path, "export", *ANN))
    rows = [line["session"] for line in exported if "session" in line]
    assert [row["session_id"] for row in rows] == [A, B]
    events = [line["event"] for line in exported if "event" in line]
    assert events == [json.loads(frame(name, seq)) for name in (A, B) for seq in (1, 2, 3)]
    assert len(exported) == 8


def test_an_export_says_what_is_damaged_and_goes_on_with_the_rest(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE events SET frame = x'7b7d' WHERE session = 1 AND seq = 2")
    result = sessions(path, "export", *ANN)
    assert result.exit_code == 1
    said = [json.loads(line) for line in result.output.splitlines()]
    assert {"damaged": {"session_id": A, "seq": 2}} in said
    assert [line["session"]["session_id"] for line in said if "session" in line] == [A, B]


def test_without_a_server_sessions_are_erased_at_once_and_the_audit_says_so(path: Path) -> None:
    result = sessions(path, "erase", *ANN)
    assert result.exit_code == 0
    assert result.output == "2 sessions erased\n"
    assert ids_in(path) == [C]
    assert acts_in(path) == [("session.erased", A), ("session.erased", B)]
    assert sessions(path, "erase", *ANN).output == "0 sessions erased\n"


def test_a_principal_has_to_be_named(path: Path) -> None:
    for command in ("erase", "export"):
        assert sessions(path, command).exit_code == 2
    assert ids_in(path) == [A, B, C]


class Nobody:
    """A house in which no session is live."""

    def __init__(self) -> None:
        self.dismissed: list[SessionId] = []

    def holds(self, session_id: SessionId) -> bool:
        return False

    async def is_ours(self, session_id: SessionId) -> bool:
        del session_id
        await trio.lowlevel.checkpoint()
        return True

    async def dismiss(self, session_id: SessionId) -> None:
        self.dismissed.append(session_id)


async def beside_a_server(
    path: Path, command: Callable[[], Result], house: Nobody | None
) -> Result:
    """Run *command* while a store is open, with the server's retention if there is a *house*."""
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await store.row(A)
        notes.submit(store, A, 4)  # it knows the place of this session
        await notes.all_answered()
        async with trio.open_nursery() as nursery:
            if house is not None:
                nursery.start_soon(Retention(store, SystemClock(), house, None).run)
            result = await trio.to_thread.run_sync(command)
            nursery.cancel_scope.cancel()
        assert store.failure is None
        assert await store.read(C, Seq(0), limit=9, most_bytes=999)
    return result


async def test_a_server_that_has_the_file_open_is_asked_and_does_it(path: Path) -> None:
    house = Nobody()
    result = await beside_a_server(path, lambda: sessions(path, "erase", *ANN), house)
    assert (result.exit_code, result.output) == (0, "2 sessions erased\n")
    assert house.dismissed == [A, B]
    assert await trio.to_thread.run_sync(ids_in, path) == [C]
    assert await trio.to_thread.run_sync(acts_in, path) == [
        ("session.erased", A),
        ("session.erased", B),
    ]


async def test_what_a_server_does_not_do_in_time_stays_asked_for(path: Path) -> None:
    command = ("erase", *ANN, "--wait-s", "0")
    result = await beside_a_server(path, lambda: sessions(path, *command), None)
    assert result.exit_code == 75
    assert "0 sessions erased\n2 are still asked for" in result.output
    assert await trio.to_thread.run_sync(ids_in, path) == [A, B, C]
    store, house = SqliteStore(path), Nobody()
    async with running(store):
        assert await Retention(store, SystemClock(), house, None).fulfil() == 2
        assert await store.session_ids_of("ann", None) == []


# --- and what is remembered ------------------------------------------------------------------


@pytest.fixture
def remembered(path: Path) -> Path:
    """Return the store beside which two facts about ann are kept, and one about bob."""

    async def save_all() -> None:
        facts = SqliteFacts(path_beside(path), ticking())
        async with facts_running(facts):
            await facts.change(FactsOwner("ann"), save("diet", "no nuts"))
            await facts.change(FactsOwner("ann"), save("seat", "by the window"))
            await facts.change(FactsOwner("bob"), save("diet", "no fish"))

    trio.run(save_all)
    return path


def facts_of(path: Path, principal: str) -> list[str]:
    asked = ["memory", "list", "--principal", principal, "--store", f"sqlite:///{path}"]
    return CliRunner().invoke(main, asked).output.splitlines()


def test_who_erases_sessions_is_told_of_facts_that_stay(remembered: Path) -> None:
    result = sessions(remembered, "erase", *ANN)
    assert result.exit_code == 0
    assert result.output == (
        "2 sessions erased\n2 facts are still remembered; --facts erases them, too\n"
    )
    assert len(facts_of(remembered, "ann")) == 2


def test_sessions_and_facts_are_erased_together_where_that_is_asked(remembered: Path) -> None:
    result = sessions(remembered, "erase", *ANN, "--facts")
    assert result.exit_code == 0
    assert result.output.startswith("2 sessions erased\nerased: 2 facts, and ")
    assert facts_of(remembered, "ann") == []
    assert len(facts_of(remembered, "bob")) == 1
    assert ids_in(remembered, *ANN) == []


def test_to_erase_facts_that_are_not_there_is_no_failure(path: Path) -> None:
    result = sessions(path, "erase", *ANN, "--facts")
    assert result.exit_code == 0
    assert result.output.endswith("erased: 0 facts, and 0 changes that could be undone\n")
    assert not path_beside(path).exists()
