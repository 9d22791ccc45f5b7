"""Starts the supervisor in the place of a server: `bargein serve --workers N`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
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
    reread: Callable[[], Settings],
    app: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Run workers until a signal asks for the end; return the exit code.

    Each worker is given the command line that this process was given, and reads file and
    environment by itself: one that is restarted has what they say then.

    Raises:
        PortTaken: Stop the other program, or choose another port.
        AddressUnusable: Choose an address of this machine, and a port that it lets you have.
    """
    launch = partial(launch_of, app, config, flags)
    return trio.run(Supervisor(settings, bounds, launch, reread).run)


def launch_of(app: str | None, config: Path | None, flags: Mapping[str, Any], port: int) -> Launch:
    """Return how a worker is started that is to serve on *port*."""
    own = {"workers": "1", "port": str(port)}
    command = [sys.executable, "-m", MODULE, "serve", *_spelt({**flags, **own})]
    command += [] if config is None else ["--config", str(config)]
    command += [] if app is None else ["--", app]
    return Launch(tuple(command), dict(os.environ))


def _spelt(flags: Mapping[str, Any]) -> Iterator[str]:
    known = {option.key: option.flag for option in options()}
    for key, value in flags.items():
        flag = known[key.replace("__", ".")]
        if value is not None and flag is not None:
            yield from (flag, str(value))
