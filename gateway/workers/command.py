"""`bargein workers`: how those are that serve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bargein.gateway.flags import fail, settings_of, until_seen_enough, with_settings
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
_MIB: Final = 1024 * 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


@click.command("workers")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each.")
@with_settings
def workers_command(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show the workers that serve on the port, as their supervisor on this machine knows them.

    Exit 1 if there is none.
    """
    settings = settings_of(config, flags)
    try:
        rows = asked(socket_path(settings.host, settings.port))
    except StatusUnavailable:
        where = f"port {settings.port} of {settings.host}"
        fail(f"nobody watches workers on {where} for this user (serve --workers)", 1)
    with until_seen_enough():
        for line in map(_json, rows) if as_json else table_of(rows):
            click.echo(line)


def _json(row: Row) -> str:
    return msgspec.json.encode(row).decode()


def table_of(rows: Iterable[Row]) -> Iterator[str]:
    """Yield lines with the figures of workers in columns."""
    lines = [HEADS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


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
