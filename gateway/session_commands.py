"""`bargein sessions`: the commands with which an operator looks after stored sessions."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio

from bargein.gateway.audit_commands import on_store
from bargein.gateway.flags import settings_of, with_settings
from bargein.gateway.session_lines import Owner, erase_sessions, export_sessions, print_sessions
from bargein.gateway.settings import Settings
from bargein.timeline.archive import Archive

WAIT_S: Final = 30.0
"""How long a server may take to erase what it was asked to, before this command gives up."""

TRY_LATER: Final = 75
"""EX_TEMPFAIL of sysexits.h."""

Work = Callable[[Archive], Awaitable[bool]]


def session_commands(
    open_store: Callable[[Settings], Archive], is_in_use: Callable[[Path], bool]
) -> click.Group:
    """Return `bargein sessions`, for the stores that *open_store* makes of settings."""

    @click.group("sessions")
    def sessions() -> None:
        """List, export and erase what is stored."""

    @sessions.command("list")
    @_whose(required=False)
    @with_settings
    def list_(principal: str | None, tenant: str | None, config: Path | None, **flags: Any) -> None:
        """Print a JSON line for each stored session, oldest first."""
        owner = None if principal is None else Owner(principal, tenant)
        settings = settings_of(config, flags)
        on_store(
            settings, lambda: _with(open_store(settings), partial(print_sessions, owner=owner))
        )

    @sessions.command("export")
    @_whose(required=True)
    @with_settings
    def export(principal: str, tenant: str | None, config: Path | None, **flags: Any) -> None:
        """Print all that is stored of a principal, as JSON lines; exit 1 if some is damaged."""
        work = partial(export_sessions, owner=Owner(principal, tenant))
        settings = settings_of(config, flags)
        if not on_store(settings, lambda: _with(open_store(settings), work)):
            sys.exit(1)

    @sessions.command("erase")
    @_whose(required=True)
    @click.option("--wait-s", type=click.FloatRange(0), default=WAIT_S, help="For a server.")
    @with_settings
    def erase(
        principal: str, tenant: str | None, wait_s: float, config: Path | None, **flags: Any
    ) -> None:
        """Erase all sessions of a principal; a server that runs on the store is asked to.

        Exits with 75 if it has not done so in time; it does as soon as it can. What is
        remembered of them is no session: `bargein memory erase` takes that away.
        """
        settings = settings_of(config, flags)

        async def work(store: Archive, *, alone: bool) -> bool:
            owner = Owner(principal, tenant)
            return await erase_sessions(store, owner, _operator(), alone=alone, wait_s=wait_s)

        async def main() -> bool:
            path = settings.store_path
            alone = path is None or not is_in_use(path)
            return await _with(open_store(settings), partial(work, alone=alone))

        if not on_store(settings, main):
            sys.exit(TRY_LATER)

    return sessions


def _whose(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        tenant = click.option("--tenant", help="The tenant that the principal belongs to, if any.")
        principal = click.option("--principal", required=required, help="Whose sessions.")
        return principal(tenant(command))

    return decorate


async def _with(store: Archive, work: Work) -> bool:
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        result = await work(store)
        nursery.cancel_scope.cancel(reason="all is done")
    return result


def _operator() -> str:
    try:
        return f"operator {getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name, as in a container
        return "operator"
