"""The processes of a benchmark: started, pinned, measured, and ended without fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define, frozen

STOP_S = 10.0
"""How long a process may take to end when asked; then it is killed."""


class DidNotStart(Exception):
    """A process of the benchmark ended, or said nothing; its output says why.

    Attributes:
        name: Which process.
        output: The end of what it wrote.
    """

    def __init__(self, name: str, output: str) -> None:
        super().__init__(f"the {name} did not start:\n{output}")
        self.name = name
        self.output = output


@define(eq=False)
class Running:
    """A process of the benchmark.

    Attributes:
        log: What it writes.
        began_s: When it was started, on trio's clock.
    """

    name: str
    log: Path
    _process: trio.Process
    began_s: float

    @property
    def cpu_s(self) -> float:
        """CPU that it has used so far, in user and system mode."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_kib(self) -> int:
        """Memory that it holds now."""
        for line in self._read("status").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise DidNotStart(self.name, self.output)

    @property
    def output(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-4000:]

    def complaints(self) -> Iterator[str]:
        """Return the errors that it logged, oldest first."""
        with self.log.open(errors="replace") as lines:
            yield from (line.strip() for line in lines if '"level": "error"' in line)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


def pin(core: int | None, pid: int = 0) -> None:
    """Let a process (0: this one) run on *core* alone; on any, where it is None."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


@frozen
class Cores:
    """A core for the server and one for all else; None where there is no choice."""

    server: int | None
    others: int | None

    @classmethod
    def found(cls) -> Cores:
        """Divide the cores that this process may use; ask before it is pinned itself."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[1]) if len(cores) > 1 else cls(None, None)


@asynccontextmanager
async def running(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    environ: Mapping[str, str],
    core: int | None,
) -> AsyncGenerator[Running]:
    """Run *command* for as long as the context lasts, writing to *log*."""
    began_s = trio.current_time()
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(environ)
        )
    # At once, before it has threads: they inherit it.
    pin(core, process.pid)
    try:
        yield Running(name, log, process, began_s)
    finally:
        # Shielded, or it would outlive us; it has ten seconds, and is killed then.
        with trio.move_on_after(STOP_S, shield=True):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()
        if process.returncode is None:
            process.kill()
            # Shielded, or a zombie is left; a killed process ends at once.
            with trio.move_on_after(STOP_S, shield=True):
                await process.wait()
