"""`bargein memory`: the commands with which an operator reads and erases what is remembered."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from bargein.gateway.flags import (
    BAD_CONFIGURATION,
    STORE_DIED,
    fail,
    first_of,
    settings_of,
    with_settings,
)
from bargein.gateway.settings import Settings
from bargein.memory.errors import FactsError
from bargein.memory.facts import Erased, Facts, Owner
from bargein.memory.report import document_of, lines_of, sentence_of

R = TypeVar("R")

Opened = Callable[[Settings], Facts]


def memory_commands(open_facts: Opened) -> click.Group:
    """Return `bargein memory`, for the memories that *open_facts* makes of settings.

    A server may run beside: what is erased is told to no model from its next turn on.
    """

    @click.group("memory")
    def memory() -> None:
        """Read or erase what is remembered of a principal, over all sessions."""

    @memory.command("list")
    @_with_owner
    @with_settings
    def list_command(principal: str, tenant: str | None, config: Path | None, **flags: Any) -> None:
        """Print the facts, one a line: key, time, text."""
        owner, settings = Owner(principal, tenant), settings_of(config, flags)
        for line in lines_of(on_facts(open_facts, settings, lambda facts: facts.of(owner))):
            click.echo(line)

    @memory.command("export")
    @_with_owner
    @with_settings
    def export_command(
        principal: str, tenant: str | None, config: Path | None, **flags: Any
    ) -> None:
        """Print all that is kept as JSON: facts, and the changes that could be undone."""
        owner, settings = Owner(principal, tenant), settings_of(config, flags)

        async def document(facts: Facts) -> str:
            return document_of(owner, await facts.of(owner), await facts.changes(owner))

        click.echo(on_facts(open_facts, settings, document))

    @memory.command("forget")
    @click.argument("key")
    @_with_owner
    @with_settings
    def forget_command(
        key: str, principal: str, tenant: str | None, config: Path | None, **flags: Any
    ) -> None:
        """Erase one fact, so that nobody can bring it back; exit 1 if there is none."""
        owner, settings = Owner(principal, tenant), settings_of(config, flags)
        _say(on_facts(open_facts, settings, lambda facts: facts.erase(owner, key)))

    @memory.command("erase")
    @_with_owner
    @with_settings
    def erase_command(
        principal: str, tenant: str | None, config: Path | None, **flags: Any
    ) -> None:
        """Erase all facts of a principal; exit 1 if there are none.  Sessions are not touched."""
        owner, settings = Owner(principal, tenant), settings_of(config, flags)
        _say(on_facts(open_facts, settings, lambda facts: facts.erase(owner)))

    return memory


def _with_owner(command: Callable[..., R]) -> Callable[..., R]:
    tenant = click.option("--tenant", metavar="NAME", help="Theirs, where there are tenants.")
    principal = click.option("--principal", metavar="NAME", required=True, help="Whose memory.")
    return principal(tenant(command))


def on_facts(open_facts: Opened, settings: Settings, work: Callable[[Facts], Awaitable[R]]) -> R:
    """Run *work* on the memory that the settings name, and return its result.

    Exits with a line for the operator where there is none, or where it can't be asked.
    """
    if settings.store_path is None and not settings.store_on_redis:
        fail(f"nothing is kept in {settings.store}", BAD_CONFIGURATION)
    result: list[R] = []

    async def main() -> None:
        facts = open_facts(settings)
        async with trio.open_nursery() as nursery:
            await nursery.start(facts.run)
            result.append(await work(facts))
            nursery.cancel_scope.cancel(reason="it is answered")

    try:
        trio.run(main)
    except* FactsError as group:
        fail(first_of(group), STORE_DIED)
    return result[0]


def _say(erased: Erased) -> None:
    click.echo(sentence_of(erased))
    if not (erased.facts or erased.changes):
        sys.exit(1)
