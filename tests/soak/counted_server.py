"""The server with one more figure on `/metrics`: how many tasks live.  The rest is the real one."""

from __future__ import annotations

import trio
from prometheus_client import Gauge

from bargein.server import main

if __name__ == "__main__":
    tasks = Gauge("soak_tasks", "Tasks that live in the event loop.")
    tasks.set_function(lambda: trio.lowlevel.current_statistics().tasks_living)
    main()
