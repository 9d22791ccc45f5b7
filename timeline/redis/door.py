"""Looks at each Redis server that is met: will it do, and does somebody serve from it?"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define, field

from bargein.timeline.redis.keys import SERVING, VERSION
from bargein.timeline.redis.link import Ask, Link, LinkLost, Refused
from bargein.timeline.redis.scripts import LOADS, SERVE, Command
from bargein.timeline.store import (
    SchemaTooNew,
    StoreDead,
    StoreUnopened,
    StoreUnsuitable,
)

LAYOUT: Final = 1
"""Version of the keys and scripts; a higher one was written by newer code."""

LEASE_S: Final = 3.0
"""How long a server that says nothing more is taken to serve; a killed one can be followed then."""

RENEW_S: Final = 0.5


@define(eq=False)
class Door:
    """Lets one server in at a time, and visitors that only look.  Lives as long as its store.

    Attributes:
        is_server: Whether the store is to be served from.
        on_ousted: Told if another server has taken its place, as after a long pause.
        history: Names the life of the Redis server: another one after each restart and failover.
    """

    is_server: bool
    on_ousted: Callable[[StoreDead], None]
    history: str = field(default="", init=False)
    _name: str = field(factory=lambda: secrets.token_hex(8), init=False)
    _serves: bool = field(default=False, init=False)

    async def greet_reader(self, ask: Ask) -> None:
        """Make a connection good for reading.

        Raises:
            LinkLost: If it was lost.
            StoreUnopened: If this user may not do what has to be done.
        """
        _allowed(await ask(LOADS))

    async def greet_writer(self, ask: Ask) -> None:
        """Look whether what is written through this connection will last.

        Raises:
            LinkLost: If it is lost, leads to a replica, or another server serves.
            StoreUnopened: If this user may not do what has to be done.
            StoreUnsuitable: If Redis would throw timelines away.
            SchemaTooNew: If newer code has written to it.
        """
        *_, info = _allowed(await ask((*LOADS, (b"INFO",))))
        facts = _facts_in(info)
        if facts.get("role", "master") != "master":
            raise LinkLost("it is a replica")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):
            raise StoreUnsuitable(f"Redis may evict timelines: its maxmemory-policy is {policy}")
        await self._enter(ask)
        self.history = facts.get("run_id", "")

    async def keep(self, link: Link) -> None:
        """Say again and again that this server serves, until cancelled."""
        while self.is_server:
            await trio.sleep(RENEW_S)
            try:
                await link.until_up()
                (answer,) = await link.ask((self._call(LEASE_S),))
            except LinkLost:
                continue  # it is said with the next connection
            if answer[1] != 1:
                self._oust()

    async def leave(self, link: Link) -> None:
        """Let the next server in at once."""
        if self._serves:
            await link.ask((self._call(0),))

    async def _enter(self, ask: Ask) -> None:
        if not self.is_server:
            (version,) = await ask(((b"GET", VERSION),))
            _check_version(version or b"0")
            return
        (answer,) = _allowed(await ask((self._call(LEASE_S),)))
        _check_version(answer[0])
        if answer[1] != 1:
            if self._serves:
                self._oust()
            raise LinkLost("another server serves from it")
        self._serves = True

    def _oust(self) -> None:
        self._serves = False
        self.on_ousted(StoreDead("another server has taken it over"))

    def _call(self, lease_s: float) -> Command:
        return SERVE.call([SERVING, VERSION], self._name, round(lease_s * 1000), LAYOUT)


def _check_version(version: bytes) -> None:
    found = int(version) if version.isdigit() else LAYOUT + 1
    if found > LAYOUT:
        raise SchemaTooNew(found, LAYOUT)


def _allowed(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Refused):
            raise StoreUnopened(answer.text)
    return answers


def _facts_in(info: bytes) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
