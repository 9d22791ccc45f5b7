"""Where scenarios run, and what they bring home."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from attrs import field, frozen

from examples.bench.processes import Cores

FETCH_S: Final = 10.0


@frozen
class Ground:
    """The circumstances of all scenarios.

    Attributes:
        directory: Where stores are kept; the system's place for such files where it is None.
        long: Take the time to do it thoroughly.
    """

    cores: Cores
    directory: Path | None = None
    seed: int = 0
    long: bool = False

    @contextmanager
    def place(self) -> Generator[Path]:
        """Yield an empty directory that goes with the block."""
        with TemporaryDirectory(prefix="bargein-bench-", dir=self.directory) as place:
            yield Path(place)


@frozen
class Outcome:
    """What a scenario came to for one contender in one round.

    Attributes:
        figures: By the keys that the goals know.
        notes: What a reader of the table has to know of it.
        raw: All that was measured, as plain values.
        headlines: What a person asks for first, with its names.
    """

    figures: Mapping[str, float]
    notes: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(factory=dict[str, Any])
    headlines: tuple[tuple[str, str], ...] = ()


async def until(happened: Callable[[], bool], look_s: float) -> None:
    """Look every *look_s* whether it *happened*: bots count, and tell nobody."""
    while True:
        if happened():
            return
        await trio.sleep(look_s)


async def fetch(url: str) -> tuple[int, str]:
    """Return status and body of a plain GET.

    Raises:
        OSError: If there is no answer; ask again, or give up.
    """
    return await trio.to_thread.run_sync(partial(_fetch, url), abandon_on_cancel=True)


def _fetch(url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=FETCH_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
