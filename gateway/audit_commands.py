"""`bargein audit`: the commands with which an operator looks at the audit."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from bargein.gateway.audit_lines import head_of, print_audit, verify_audit
from bargein.gateway.flags import (
    BAD_CONFIGURATION,
    STORE_DIED,
    fail,
    first_of,
    settings_of,
    until_seen_enough,
    with_settings,
)
from bargein.gateway.settings import Settings
from bargein.protocol.ids import SessionId
from bargein.timeline.archive import Archive
from bargein.timeline.audit import AuditCheck, AuditHead
from bargein.timeline.store import StoreError

R = TypeVar("R")


def audit_commands(open_store: Callable[[Settings], Archive]) -> click.Group:
    """Return `bargein audit`, for the stores that *open_store* makes of settings."""

    @click.group("audit")
    def audit() -> None:
        """Look at who confirmed, was refused and erased what."""

    @audit.command("verify")
    @click.option("--head", metavar="N:HASH", help="A head noted earlier: it has to be on the way.")
    @with_settings
    def verify(head: str | None, config: Path | None, **flags: Any) -> None:
        """Check the chain of lines; exit 1 and name the first bad one if it is broken."""
        settings = settings_of(config, flags)
        noted = _noted(head)
        _report(on_store(settings, lambda: verify_audit(open_store(settings), noted)))

    @audit.command("show")
    @click.option("--session", "session_id", metavar="ID", help="Only lines of this session.")
    @with_settings
    def show(session_id: str | None, config: Path | None, **flags: Any) -> None:
        """Print the lines as JSON, one a line, oldest first."""
        settings = settings_of(config, flags)
        only = None if session_id is None else SessionId(session_id)
        with until_seen_enough():
            on_store(settings, lambda: print_audit(open_store(settings), only))

    return audit


def on_store(settings: Settings, work: Callable[[], Awaitable[R]]) -> R:
    """Run *work*, which opens the store; exit if there is none or it can't be read."""
    if not settings.store_is_there:
        fail(f"there is nothing stored in {settings.store}", BAD_CONFIGURATION)
    result: list[R] = []

    async def main() -> None:
        result.append(await work())

    try:
        trio.run(main)
    except* StoreError as group:
        fail(first_of(group), STORE_DIED)
    return result[0]


def _noted(head: str | None) -> AuditHead | None:
    try:
        return None if head is None else head_of(head)
    except ValueError:
        raise click.BadParameter("a head is printed as N:HASH", param_hint="--head") from None


def _report(check: AuditCheck) -> None:
    if check.damage is None:
        click.echo(f"{check.reached.n} lines, all sound; head {check.reached}")
        return
    click.echo(f"line {check.damage.n} is bad: {check.damage.what}")
    click.echo(f"sound up to {check.reached}")
    sys.exit(1)
