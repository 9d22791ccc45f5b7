"""What a process holds, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

PROC = Path("/proc")

MIB = 1024 * 1024


@frozen
class Vitals:
    """Memory in use, open descriptors, threads."""

    rss_bytes: int
    descriptors: int
    threads: int


def vitals(pid: int) -> Vitals:
    """Look at a running process."""
    resident = int((PROC / str(pid) / "statm").read_text().split()[1])
    return Vitals(
        resident * os.sysconf("SC_PAGE_SIZE"),
        len(list((PROC / str(pid) / "fd").iterdir())),
        len(list((PROC / str(pid) / "task").iterdir())),
    )
