"""Starts the supervisor in the place of a server: `bargein serve --workers N`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from bargein.gateway.settings import Settings, options
from bargein.gateway.workers.scaling import Bounds
from bargein.gateway.workers.supervisor import Supervisor
from bargein.gateway.workers.worker import Launch

MODULE: Final = "bargein.server"


def supervise(
    settings: Settings,
    bounds: Bounds,
    app: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Run workers until a signal asks for the end; return the exit code.

    Each worker is given the command line and the environment that this process was given, and reads
    the file by itself: one that is restarted has what it says then.

    Raises:
        PortTaken: Stop the other program, or choose another port.
        AddressUnusable: Choose an address of this machine, and a port that it lets you have.
    """
    launch = partial(launch_of, app, config, flags)
    return trio.run(Supervisor(settings, bounds, launch).run)


def launch_of(app: str | None, config: Path | None, flags: Mapping[str, Any], port: int) -> Launch:
    """Return how a worker is started that is to serve on *port*."""
    own = {"workers": "1", "port": str(port)}
    # Without -P a file of the working directory would be taken for a module of Python's own.
    command = [sys.executable, "-P", "-m", MODULE, "serve", *_spelt({**flags, **own})]
    command += [] if config is None else ["--config", str(config)]
    command += [] if app is None else ["--", app]
    return Launch(tuple(command), dict(os.environ))


def _spelt(flags: Mapping[str, Any]) -> Iterator[str]:
    known = {option.key: option.flag for option in options()}
    for key, value in flags.items():
        flag = known[key.replace("__", ".")]
        if value is not None and flag is not None:
            yield from (flag, str(value))
