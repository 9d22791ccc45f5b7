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
from bargein.gateway.flags import settings_of, until_seen_enough, with_settings
from bargein.gateway.memory_commands import on_facts
from bargein.gateway.session_lines import Owner, erase_sessions, export_sessions, print_sessions
from bargein.gateway.settings import Settings
from bargein.memory.facts import Facts
from bargein.memory.facts import Owner as FactsOwner
from bargein.memory.report import sentence_of
from bargein.timeline.archive import Archive

WAIT_S: Final = 30.0
"""How long a server may take to erase what it was asked to, before this command gives up."""

TRY_LATER: Final = 75
"""EX_TEMPFAIL of sysexits.h."""

Work = Callable[[Archive], Awaitable[bool]]


def session_commands(
    open_store: Callable[[Settings], Archive],
    is_served: Callable[[Settings], Awaitable[bool]],
    open_facts: Callable[[Settings], Facts],
) -> click.Group:
    """Return `bargein sessions`, for the stores and memories that are opened by settings."""

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
        work = partial(print_sessions, owner=owner)
        with until_seen_enough():
            on_store(settings, lambda: _with(open_store(settings), work))

    @sessions.command("export")
    @_whose(required=True)
    @with_settings
    def export(principal: str, tenant: str | None, config: Path | None, **flags: Any) -> None:
        """Print all that is stored of a principal, as JSON lines; exit 1 if some is damaged."""
        work = partial(export_sessions, owner=Owner(principal, tenant))
        settings = settings_of(config, flags)
        with until_seen_enough():
            if not on_store(settings, lambda: _with(open_store(settings), work)):
                sys.exit(1)

    sessions.add_command(_erase_command(open_store, is_served, open_facts))
    return sessions


def _erase_command(
    open_store: Callable[[Settings], Archive],
    is_served: Callable[[Settings], Awaitable[bool]],
    open_facts: Callable[[Settings], Facts],
) -> click.Command:
    @click.command("erase")
    @_whose(required=True)
    @click.option("--wait-s", type=click.FloatRange(0), default=WAIT_S, help="For a server.")
    @click.option("--facts", is_flag=True, help="Erase what is remembered of them, too.")
    @with_settings
    def erase(
        principal: str,
        tenant: str | None,
        wait_s: float,
        config: Path | None,
        *,
        facts: bool,
        **flags: Any,
    ) -> None:
        """Erase all sessions of a principal; a server that runs on the store is asked to.

        Exits with 75 if it has not done so in time; it does as soon as it can. What is
        remembered of them stays without --facts, and is counted.
        """
        settings = settings_of(config, flags)

        async def work(store: Archive, *, alone: bool) -> bool:
            owner = Owner(principal, tenant)
            return await erase_sessions(store, owner, _operator(), alone=alone, wait_s=wait_s)

        async def main() -> bool:
            alone = not await is_served(settings)
            return await _with(open_store(settings), partial(work, alone=alone))

        gone = on_store(settings, main)
        if settings.store_on_redis or settings.store_path is not None:
            # After the sessions: one that is live could remember something new.
            owner = FactsOwner(principal, tenant)
            work_on_facts = partial(_erase_facts if facts else _count_facts, owner)
            click.echo(on_facts(open_facts, settings, work_on_facts), nl=False)
        if not gone:
            sys.exit(TRY_LATER)

    return erase


async def _erase_facts(owner: FactsOwner, facts: Facts) -> str:
    return sentence_of(await facts.erase(owner)) + "\n"


async def _count_facts(owner: FactsOwner, facts: Facts) -> str:
    """Say what is left of somebody; nothing, where nothing is."""
    kept = len(await facts.of(owner))
    return f"{kept} facts are still remembered; --facts erases them, too\n" if kept else ""


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
