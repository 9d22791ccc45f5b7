"""What a SIGHUP does with the app: its file is read anew where it has changed."""

from __future__ import annotations

from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.agents.app import App, Apps
from bargein.agents.loading import AppNotFound, app_named, file_of
from bargein.agents.sources import opened
from bargein.gateway.auth.watched_file import Stamp, stamp_of

LOOK_LIMIT_S: Final = 5.0
"""A disk that hangs is given up for this time; the app of before is served."""

OPEN_LIMIT_S: Final = 60.0
"""For all sources of its tools together; one MCP server alone may take 20 s."""

_log = structlog.get_logger()


def stamp_of_app(spec: str | None) -> Stamp | None:
    """Return what the app's own file looks like now; None where none can be told.

    Look before the app is read, and a change that comes in between is seen later.  Blocks.
    """
    file = file_of(spec)
    try:
        return None if file is None else stamp_of(file)
    except OSError:
        return None  # whoever reads the app will say why


@define(eq=False)
class AppRenewal:
    """Puts the app's next version in the place of the one that is served.

    One at a time, and each in its own task: tools that take long to open, or never do, hold up
    nothing else that a SIGHUP does.  Lives as long as the server.

    Attributes:
        _spec: Where the app is, as the settings name it.
        _seen: What its file looked like before the app was read that is served now; None where
            that is not known, and it is read again in any case.
    """

    _apps: Apps
    _spec: str | None
    _seen: Stamp | None
    _asked: trio.Event = field(factory=trio.Event, init=False)

    def renew_soon(self) -> None:
        """Look at the app's file soon; if that is being done, once more after it."""
        self._asked.set()

    async def run(self) -> None:
        """Renew the app whenever that is asked for, until cancelled; running turns keep theirs."""
        async with trio.open_nursery() as holders:
            while True:
                await self._asked.wait()
                self._asked = trio.Event()
                await self._renew(holders)

    async def _renew(self, holders: trio.Nursery) -> None:
        try:
            with trio.fail_after(LOOK_LIMIT_S):
                stamp = await trio.to_thread.run_sync(
                    stamp_of_app, self._spec, abandon_on_cancel=True
                )
            if stamp is not None and stamp == self._seen:
                _log.info("app.unchanged", app=self._apps.current.name)
                return
            app = _loaded(self._spec)
            with trio.fail_after(OPEN_LIMIT_S):
                await holders.start(self._hold, app)
            self._seen = stamp
        except Exception as error:  # noqa: BLE001 - it is somebody else's file
            _log.exception("app.not_renewed", error=type(error).__name__)

    async def _hold(self, app: App, *, task_status: trio.TaskStatus[None]) -> None:
        # Held until the server ends: turns that began with it may run for long.
        async with opened(app) as ready:
            self._apps.current = ready
            _log.info("app.renewed", app=ready.name)
            task_status.started()
            await trio.sleep_forever()


def _loaded(spec: str | None) -> App:
    # Not in a thread: what an app makes when it is imported, such as a connection to SQLite, may
    # belong to the thread that made it; and one given up in the middle would hold import locks.
    try:
        return app_named(spec)
    except SystemExit as ends:
        raise AppNotFound(spec or "", "it ends the process when it is imported") from ends
