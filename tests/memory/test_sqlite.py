"""The file of the memory: whose it is, how it is written, and what becomes of a bad one."""

from __future__ import annotations

import random
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from bargein.memory import rows
from bargein.memory.errors import FactsInDoubt, FactsUnavailable, FactsUnreadable
from bargein.memory.facts import Erased
from bargein.memory.schema import SCHEMA, open_facts, path_beside
from bargein.memory.sqlite import MOST_WAITING, SqliteFacts
from tests.memory.facts import ANN, BOB, LATEST_S, forget, running, save, texts, ticking, undo
from tests.scale import scaled

CANARY = "canary-in-a-fact"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "facts.sqlite3"


def at(path: Path, **limits: float) -> SqliteFacts:
    return SqliteFacts(path, ticking(), **limits)


async def remember(path: Path, key: str = "diet", text: str = "vegetarian") -> None:
    facts = at(path)
    async with running(facts):
        await facts.change(ANN, save(key, text))


class Gate:
    """Holds the thread of a call, as a slow disk would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        through: Callable[..., Any] = getattr(rows, name)

        def held(*args: Any) -> Any:
            self.entered.set()
            assert self.opened.wait(LATEST_S)
            return through(*args)

        monkeypatch.setattr(rows, name, held)

    async def until_entered(self) -> None:
        assert await trio.to_thread.run_sync(self.entered.wait, LATEST_S)


# --- the file -----------------------------------------------------------------------------------


def test_the_facts_lie_beside_the_timelines():
    assert path_beside(Path("/var/lib/x/bargein.sqlite3")) == Path(
        "/var/lib/x/bargein.memory.sqlite3"
    )
    assert path_beside(Path("timelines")) == Path("timelines.memory")


async def test_whoever_remembers_nothing_leaves_no_file(path: Path):
    facts = at(path)
    async with running(facts):
        assert await facts.of(ANN) == ()
        assert await facts.erase(ANN) == Erased(0, 0)
        assert not path.exists()
        await facts.change(ANN, save("diet", "vegetarian"))
        assert path.exists()


async def test_the_files_are_for_their_owner_alone(path: Path):
    facts = at(path)
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)


async def test_a_file_that_others_may_read_is_closed_to_them(path: Path):
    await remember(path)
    path.chmod(0o644)
    await remember(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_commit_is_fsynced_before_it_returns(path: Path):
    opened = open_facts(path, locked_s=1.0)
    (synchronous,) = opened.connection.execute("PRAGMA synchronous").fetchone()
    (journal,) = opened.connection.execute("PRAGMA journal_mode").fetchone()
    opened.connection.close()
    assert (synchronous, journal) == (2, "wal")


async def test_a_file_of_newer_code_is_refused_and_left_alone(path: Path):
    await remember(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.RaisesGroup(pytest.RaisesExc(FactsUnreadable, match="run the newer code again")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at(path).run)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["CREATE TABLE theirs (x)", None])
async def test_what_is_no_memory_is_refused_and_left_alone(path: Path, content: str | None):
    if content is None:
        path.write_bytes(b"no database at all, but long enough for a header " * 50)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute(content)
        connection.close()
    before = path.read_bytes()
    with pytest.RaisesGroup(FactsUnreadable):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at(path).run)
    assert path.read_bytes() == before


async def test_a_damaged_fact_is_left_out_and_the_others_are_told(path: Path):
    await remember(path)
    await remember(path, "home", "Delft")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE facts SET fact = replace(fact, 'vege', 'Vege')")
    connection.close()
    facts = at(path)
    with capture_logs() as logs:
        async with running(facts):
            assert await texts(facts, ANN) == {"home": "Delft"}
            await facts.change(ANN, save("diet", "vegan"))
            assert await texts(facts, ANN) == {"diet": "vegan", "home": "Delft"}
    assert {line["event"] for line in logs} == {"fact.damaged"}


async def test_a_damaged_change_is_neither_told_nor_denied(path: Path):
    await remember(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE changes SET crc = crc + 1")
    connection.close()
    facts = at(path)
    with capture_logs():
        async with running(facts):
            assert await facts.changes(ANN) == ()
            with pytest.raises(FactsUnavailable, match="is damaged"):
                await facts.outcome(ANN, "save diet vegetarian")


async def test_what_was_erased_is_in_no_byte_of_the_files(path: Path):
    facts = at(path)
    async with running(facts):
        await facts.change(BOB, save("diet", "carnivore"))
        await facts.change(ANN, save("secret", CANARY, "k1"))
        await facts.change(ANN, save("secret", "other", "k2"))
        await facts.change(ANN, forget("secret", "k3"))
        assert any(CANARY.encode() in file.read_bytes() for file in path.parent.iterdir())
        await facts.erase(ANN)
        for file in path.parent.iterdir():
            assert CANARY.encode() not in file.read_bytes(), file.name
        assert await texts(facts, BOB) == {"diet": "carnivore"}


# --- other processes ------------------------------------------------------------------------------


async def test_what_another_process_changed_is_seen_by_the_next_turn(path: Path):
    served, other = at(path), at(path)
    async with running(served), running(other):
        await served.change(ANN, save("diet", "vegetarian"))
        assert await texts(served, ANN) == {"diet": "vegetarian"}
        await other.change(ANN, save("home", "Delft"))
        assert await texts(served, ANN) == {"diet": "vegetarian", "home": "Delft"}
        await other.erase(ANN)
        assert await served.of(ANN) == ()


async def test_a_file_that_another_process_made_is_found(path: Path):
    served = at(path)
    async with running(served):
        assert await served.of(ANN) == ()
        await remember(path)
        assert await texts(served, ANN) == {"diet": "vegetarian"}


async def test_a_locked_file_refuses_a_change_and_nothing_is_done(path: Path):
    await remember(path)
    facts = at(path, locked_s=0.05)
    locking = sqlite3.connect(path, isolation_level=None)
    async with running(facts):
        locking.execute("BEGIN IMMEDIATE")
        with pytest.raises(FactsUnavailable, match="locked by someone else"):
            await facts.change(ANN, save("home", "Delft", "k2"))
        locking.execute("ROLLBACK")
        assert await facts.outcome(ANN, "k2") is None
        await facts.change(ANN, save("home", "Delft", "k2"))
        assert await texts(facts, ANN) == {"diet": "vegetarian", "home": "Delft"}
    locking.close()


async def test_a_file_that_is_locked_at_the_start_is_opened_by_a_later_call(path: Path):
    await remember(path)
    facts = at(path, locked_s=0.05)
    locking = sqlite3.connect(path, isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    with capture_logs() as logs:
        async with running(facts):
            with pytest.raises(FactsUnavailable, match="locked by someone else"):
                await facts.of(ANN)
            locking.execute("ROLLBACK")
            assert await texts(facts, ANN) == {"diet": "vegetarian"}
    locking.close()
    assert [line["event"] for line in logs] == ["memory.not_opened"]


async def test_a_change_of_a_file_that_was_replaced_is_in_doubt_and_the_last(path: Path):
    facts = at(path)
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        path.rename(path.with_suffix(".gone"))
        with capture_logs() as logs, pytest.raises(FactsInDoubt, match="replaced by another"):
            await facts.change(ANN, save("home", "Delft"))
        with pytest.raises(FactsUnavailable, match="needs a new process"):
            await facts.change(ANN, save("home", "Delft"))
    assert [line["event"] for line in logs] == ["memory.in_doubt"]


async def test_after_an_error_of_the_disk_nothing_is_written_any_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any) -> Any:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise rows.fault_of(error) from error

    await remember(path)
    facts = at(path)
    async with running(facts):
        monkeypatch.setattr(rows, "make_change", broken)
        with capture_logs(), pytest.raises(FactsInDoubt, match="disk I/O error"):
            await facts.change(ANN, save("home", "Delft"))
        monkeypatch.undo()
        with pytest.raises(FactsUnavailable, match="needs a new process"):
            await facts.change(ANN, save("home", "Delft"))
        with pytest.raises(FactsUnavailable, match="needs a new process"):
            await facts.outcome(ANN, "save home Delft")


# --- time ----------------------------------------------------------------------------------------


async def test_what_was_read_is_not_read_again_until_it_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    reads: list[Any] = []
    through = rows.facts_of

    def counted(*args: Any) -> Any:
        reads.append(args)
        return through(*args)

    monkeypatch.setattr(rows, "facts_of", counted)
    await remember(path)
    facts = at(path)
    async with running(facts):
        for _ in range(3):
            assert await texts(facts, ANN) == {"diet": "vegetarian"}
        assert len(reads) == 2  # the first is of the process that has saved it
        await facts.change(ANN, undo("save diet vegetarian"))
        assert await facts.of(ANN) == ()


async def test_a_read_that_takes_too_long_fails_and_the_next_one_is_served(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    await remember(path)
    gate = Gate(monkeypatch, "facts_of")
    facts = at(path, call_s=0.1)
    async with running(facts):
        with pytest.raises(FactsUnavailable, match=r"longer than 0\.1 s"):
            await facts.of(ANN)
        gate.opened.set()
        facts.call_s = LATEST_S
        assert await texts(facts, ANN) == {"diet": "vegetarian"}


async def test_a_change_that_takes_too_long_is_in_doubt_and_its_outcome_is_known_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    await remember(path)
    gate = Gate(monkeypatch, "make_change")
    facts = at(path, call_s=0.1)
    async with running(facts):
        with capture_logs(), pytest.raises(FactsInDoubt, match="the disk took longer"):
            await facts.change(ANN, save("home", "Delft", "k2"))
        facts.call_s = LATEST_S
        async with trio.open_nursery() as nursery:
            found: list[Any] = []

            async def ask() -> None:
                found.append(await facts.outcome(ANN, "k2"))
                found.append(await texts(facts, ANN))

            nursery.start_soon(ask)
            gate.opened.set()
        change, told = found
        assert change.after.text == "Delft"
        assert told == {"diet": "vegetarian", "home": "Delft"}


async def test_a_change_that_never_began_is_no_doubt_and_never_happens(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    await remember(path)
    gate = Gate(monkeypatch, "facts_of")
    facts = at(path, call_s=0.2)
    async with running(facts), trio.open_nursery() as nursery:

        async def slow() -> None:
            with pytest.raises(FactsUnavailable):
                await facts.of(ANN)

        nursery.start_soon(slow)
        await gate.until_entered()
        with pytest.raises(FactsUnavailable, match=r"longer than 0\.2 s"):
            await facts.change(ANN, save("home", "Delft", "k2"))
        facts.call_s = LATEST_S
        gate.opened.set()
        assert await facts.outcome(ANN, "k2") is None
        assert await texts(facts, ANN) == {"diet": "vegetarian"}


async def test_no_more_calls_wait_than_are_allowed(path: Path, monkeypatch: pytest.MonkeyPatch):
    await remember(path)
    gate = Gate(monkeypatch, "changes_of")
    facts = at(path, call_s=LATEST_S)
    refused: list[str] = []

    async def ask() -> None:
        try:
            await facts.changes(ANN)
        except FactsUnavailable as error:
            refused.append(error.reason)
            gate.opened.set()

    async with running(facts), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await gate.until_entered()
        for _ in range(MOST_WAITING + 1):
            nursery.start_soon(ask)
    assert refused == ["too many calls wait for it"]


async def test_a_memory_that_is_not_open_says_so(path: Path):
    facts = at(path)
    with pytest.raises(FactsUnavailable, match="has not been opened"):
        await facts.of(ANN)
    async with running(facts):
        pass
    with pytest.raises(FactsUnavailable, match="has been closed"):
        await facts.change(ANN, save("diet", "vegetarian"))


# --- power ----------------------------------------------------------------------------------------


async def test_a_log_that_is_cut_anywhere_holds_what_was_saved_up_to_there(
    path: Path, tmp_path: Path
):
    log = path.with_name(f"{path.name}-wal")
    sizes: list[int] = []
    facts = at(path)
    async with running(facts):
        await facts.change(ANN, save("fact_0", "x"))
        base = log.stat().st_size
        for number in range(1, 6):
            await facts.change(ANN, save(f"fact_{number}", "x"))
            sizes.append(log.stat().st_size)
        database, whole = path.read_bytes(), log.read_bytes()
    chance = random.Random(1)  # noqa: S311
    cuts = {base, *sizes, *(chance.randint(base, len(whole)) for _ in range(scaled(200)))}
    for cut in sorted(cuts):
        there = tmp_path / f"cut_{cut}"
        there.mkdir()
        (there / path.name).write_bytes(database)
        (there / log.name).write_bytes(whole[:cut])
        expected = 1 + sum(size <= cut for size in sizes)
        again = at(there / path.name)
        async with running(again):
            assert [fact.key for fact in await again.of(ANN)] == [
                f"fact_{number}" for number in range(expected)
            ]
            assert len(await again.changes(ANN)) == expected
