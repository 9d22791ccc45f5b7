"""`bargein workers`: how those are that serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bargein.cluster.nodes import Node
from bargein.gateway.audit_commands import on_store
from bargein.gateway.flags import fail, settings_of, until_seen_enough, with_settings
from bargein.gateway.settings import Settings
from bargein.gateway.workers.status import Row, StatusUnavailable, asked, socket_path

HEADS: Final = (
    "worker",
    "pid",
    "state",
    "sessions",
    "connections",
    "lag ms",
    "cpu %",
    "MiB",
    "restarts",
    "up",
)
NODE_HEADS: Final = ("node", "state", "sessions", "guests")
_MIB: Final = 1024 * 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def workers_command(nodes_of: Callable[[Settings], Awaitable[list[Node]]]) -> click.Command:
    """Return `bargein workers`; *nodes_of* lists who serves from a Redis."""

    @click.command("workers")
    @click.option("--json", "as_json", is_flag=True, help="A JSON line for each.")
    @with_settings
    def workers(config: Path | None, *, as_json: bool, **flags: Any) -> None:
        """Show the workers that serve on the port, as their supervisor on this machine knows them.

        With --store redis://…, all that serve from it, on every machine.  Exit 1 if there is none.
        """
        settings = settings_of(config, flags)
        if flags["store"] is not None and settings.store_on_redis:
            nodes = on_store(settings, lambda: nodes_of(settings))
            lines = [_json_of(node) for node in nodes] if as_json else list(table_of_nodes(nodes))
            if not nodes:
                fail(f"nobody serves from {settings.store}", 1)
        else:
            rows = _watched(settings)
            lines = [_json_of(row) for row in rows] if as_json else list(table_of(rows))
        with until_seen_enough():
            for line in lines:
                click.echo(line)

    return workers


def _watched(settings: Settings) -> list[Row]:
    try:
        return asked(socket_path(settings.host, settings.port))
    except StatusUnavailable:
        where = f"port {settings.port} of {settings.host}"
        fail(f"nobody watches workers on {where} for this user (serve --workers)", 1)


def _json_of(one: Row | Node) -> str:
    return msgspec.json.encode(one).decode()


def table_of(rows: Iterable[Row]) -> Iterator[str]:
    """Yield lines with the figures of workers in columns."""
    return _in_columns([HEADS, *(_cells(row) for row in rows)])


def table_of_nodes(nodes: Iterable[Node]) -> Iterator[str]:
    """Yield lines with what nodes say of themselves."""
    return _in_columns([NODE_HEADS, *(_node_cells(node) for node in nodes)])


def _in_columns(lines: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


def _node_cells(node: Node) -> tuple[str, ...]:
    said = node.facts
    state = "draining" if said.get("draining") else "ready"
    return (str(node.id), state, *(str(said.get(name, "-")) for name in NODE_HEADS[2:]))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        str(row.worker),
        str(row.pid),
        row.state,
        str(row.sessions),
        str(row.connections),
        f"{row.lag_s * 1000:.1f}",
        f"{row.cpu_share * 100:.0f}",
        f"{row.memory_bytes / _MIB:.0f}",
        str(row.restarts),
        _time(row.up_s),
    )


def _time(length_s: float) -> str:
    whole_s = int(length_s)
    if whole_s < _MINUTE_S:
        return f"{whole_s}s"
    if whole_s < _HOUR_S:
        return f"{whole_s // _MINUTE_S}m{whole_s % _MINUTE_S:02}s"
    return f"{whole_s // _HOUR_S}h{whole_s % _HOUR_S // _MINUTE_S:02}m"
