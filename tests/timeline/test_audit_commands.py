"""`bargein audit`: what an operator sees and which exit code they get."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from bargein.server import main
from bargein.timeline.sqlite import SqliteStore
from tests.timeline.appends import A, B, Notes, entry, running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store with five lines in its audit, three of them of session A."""
    path = tmp_path / "timelines.sqlite3"

    async def write() -> None:
        store, notes = SqliteStore(path), Notes()
        async with running(store):
            notes.submit(store, A, 1, audit=(entry(A, 1), entry(A, 2)))
            notes.submit(store, B, 1, audit=(entry(B, 1), entry(B, 2)))
            notes.submit(store, A, 2, audit=(entry(A, 3),))
            await notes.all_answered()

    trio.run(write)
    return path


def audit(path: Path | str, *arguments: str) -> Result:
    store = path if isinstance(path, str) else f"sqlite:///{path}"
    return CliRunner().invoke(main, ["audit", *arguments, "--store", store])


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(statement)


def head_in(output: str) -> str:
    return output.rsplit(maxsplit=1)[-1]


def test_a_sound_audit_exits_with_0_and_prints_its_head(path: Path) -> None:
    result = audit(path, "verify")
    assert result.exit_code == 0
    assert result.output.startswith("5 lines, all sound; head 5:")
    assert audit(path, "verify", "--head", head_in(result.output)).exit_code == 0


@pytest.mark.parametrize(
    ("statement", "n"),
    [
        ("UPDATE audit SET text = replace(text, 'act_2', 'act_9') WHERE n = 2", 2),
        ("DELETE FROM audit WHERE n = 3", 3),
        ("DELETE FROM audit WHERE n > 4", 5),
    ],
)
def test_a_broken_audit_exits_with_1_and_names_the_line(path: Path, statement: str, n: int) -> None:
    change(path, statement)
    result = audit(path, "verify")
    assert result.exit_code == 1
    assert result.output.startswith(f"line {n} is bad: ")
    assert f"sound up to {n - 1}:" in result.output


def test_a_chain_written_anew_is_found_by_a_head_noted_before(path: Path, tmp_path: Path) -> None:
    noted = head_in(audit(path, "verify").output)
    fresh = tmp_path / "forged.sqlite3"

    async def forge() -> None:
        store, notes = SqliteStore(fresh), Notes()
        async with running(store):
            notes.submit(store, A, 1, audit=tuple(entry(A, seq, "x.forged") for seq in range(9)))
            await notes.all_answered()

    trio.run(forge)
    assert audit(fresh, "verify").exit_code == 0
    result = audit(fresh, "verify", "--head", noted)
    assert result.exit_code == 1
    assert "line 5 is bad" in result.output


def test_a_head_that_is_none_is_refused(path: Path) -> None:
    for wrong in ("7", "x:00", "5:zz", ""):
        assert audit(path, "verify", "--head", wrong).exit_code == 2


def test_lines_are_shown_as_json_all_or_those_of_a_session(path: Path) -> None:
    everything = [json.loads(line) for line in audit(path, "show").output.splitlines()]
    assert [line["n"] for line in everything] == [1, 2, 3, 4, 5]
    assert all(len(line["hash"]) == len(line["digest"]) == 64 for line in everything)
    mine = [json.loads(line) for line in audit(path, "show", "--session", A).output.splitlines()]
    assert [(line["n"], line["subject"]) for line in mine] == [
        (1, "act_1"),
        (2, "act_2"),
        (5, "act_3"),
    ]


def test_a_line_that_cannot_be_read_is_shown_as_damaged(path: Path) -> None:
    change(path, "UPDATE audit SET text = x'ff' WHERE n = 3")
    shown = audit(path, "show", "--session", A).output.splitlines()
    assert json.loads(shown[2]) == {"n": 3, "damaged": True}


def test_where_nothing_is_stored_nothing_is_made_up(tmp_path: Path) -> None:
    for store in ("memory:", tmp_path / "missing.sqlite3"):
        for command in ("verify", "show"):
            result = audit(store, command)
            assert result.exit_code == 78
            assert "nothing stored" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    diary.write_bytes(b"my diary" * 1000)
    assert audit(diary, "verify").exit_code == 70
