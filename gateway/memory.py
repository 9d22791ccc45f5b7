"""How much memory the process has, and how much it may have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_OWN_GROUP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Return the memory that the process holds now; 0 where the system does not say."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def allowed_bytes() -> int:
    """Return the least of what the machine has and what the process's control groups allow."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *limits_of_groups(_OWN_GROUP, _GROUPS)])


def limits_of_groups(own: Path, root: Path) -> Iterator[int]:
    """Yield the limits of the group that the process is in, and of those above it."""
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            base, name = (
                (root / "memory", "memory.limit_in_bytes") if kinds else (root, "memory.max")
            )
            group = base / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(base):
                    yield from _limit_in(folder / name)


def _limit_in(file: Path) -> Iterator[int]:
    # "max" says that there is none; so does a file that is not there.
    with suppress(OSError, ValueError):
        yield int(file.read_text(encoding="ascii"))
