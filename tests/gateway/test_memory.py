"""What the process has and may have, against the system's own figures."""

from __future__ import annotations

import os
from pathlib import Path

from bargein.gateway.memory import allowed_bytes, limits_of_groups, resident_bytes

MIB = 1024 * 1024


def test_what_is_held_grows_and_shrinks_with_what_is_held() -> None:
    before = resident_bytes()
    assert before > 10 * MIB
    ballast = bytearray(os.urandom(MIB)) * 64
    assert 60 * MIB < resident_bytes() - before < 80 * MIB
    ballast.clear()
    assert resident_bytes() - before < 8 * MIB


def test_what_is_allowed_is_no_more_than_the_machine_has() -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 16 * MIB < allowed_bytes() <= machine


def test_every_group_above_the_process_counts(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/pods/one\n")
    for folder, limit in (("", "max"), ("pods", "4000"), ("pods/one", "8000")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(limit + "\n")
    assert list(limits_of_groups(own, tmp_path)) == [8000, 4000]


def test_the_older_kind_of_group_is_read_too(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("3:cpu,cpuacct:/x\n2:memory:/x\n")
    (tmp_path / "memory" / "x").mkdir(parents=True)
    (tmp_path / "memory" / "x" / "memory.limit_in_bytes").write_text("5000\n")
    assert list(limits_of_groups(own, tmp_path)) == [5000]


def test_without_groups_there_is_no_limit_of_theirs(tmp_path: Path) -> None:
    assert list(limits_of_groups(tmp_path / "none", tmp_path)) == []
