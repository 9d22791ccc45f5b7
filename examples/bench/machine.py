"""Where and on what a benchmark ran: figures without it are worth little."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from examples.bench.figures import Spread

FSYNCS = 50
ROOT = Path(__file__).resolve().parents[2]


@frozen
class Machine:
    """The circumstances of a run.

    Attributes:
        load: Processes that wanted to run over the last minute, before we began: with more than
            a few tenths the figures are noisy.
        fsync_ms: One write of 4 KiB and its fsync, where the server's store will be.
    """

    cpu: str
    cores: int
    python: str
    system: str
    revision: str
    date: str
    load: float
    fsync_ms: Spread | None

    @classmethod
    def here(cls, directory: Path) -> Machine:
        """Look around; *directory* is where the store will be."""
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            system=f"{platform.system()} {platform.release()}",
            revision=_revision(),
            date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            load=os.getloadavg()[0],
            fsync_ms=_fsync(directory),
        )

    def text(self) -> str:
        """Return the circumstances for people."""
        fsync = f"{self.fsync_ms.p50} / {self.fsync_ms.p99} ms" if self.fsync_ms else "unknown"
        return (
            f"{self.cpu}, {self.cores} cores, {self.system}, {self.python}\n"
            f"revision {self.revision}, {self.date}\n"
            f"load before {self.load:.2f}, fsync p50 / p99 {fsync}"
        )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown CPU")


def _revision() -> str:
    try:
        done = subprocess.run(
            ("git", "describe", "--always", "--dirty"),  # noqa: S607 - git is found on PATH
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _fsync(directory: Path) -> Spread | None:
    path = directory / "fsync-probe"
    took_s: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            began_s = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    path.unlink()
    return Spread.of(took_s)
