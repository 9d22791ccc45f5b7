"""Looks at each Redis server that is met: will it do, and what is known of its history?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio
from attrs import define, field

from bargein.timeline.redis.keys import NODES, VERSION
from bargein.timeline.redis.lease import LAYOUT, LEASE_S, RENEW_S, Lease
from bargein.timeline.redis.link import Ask, Link, LinkLost, Refused
from bargein.timeline.redis.rights import require_all
from bargein.timeline.redis.scripts import LOADS
from bargein.timeline.store import (
    SchemaTooNew,
    StoreUnopened,
    StoreUnsuitable,
)


@define(eq=False)
class Door:
    """Lets servers in, and visitors that only look.  Lives as long as its store.

    Attributes:
        lease: By which others know that this process serves; a visitor has none.
        on_lapsed: Called when others may have taken what was ours, before anything else is done.
            Not where no other is listed: it would have been, for longer than Redis may forget.
        history: Names the life of the Redis server that is written to: another one after each
            restart and failover.
        history_read: Likewise of the one that is read from, which may be met later, or earlier.
    """

    lease: Lease | None
    on_lapsed: Callable[[], None] = field(default=lambda: None)
    history: str = field(default="", init=False)
    history_read: str = field(default="", init=False)
    _serves: bool = field(default=False, init=False)

    async def greet_reader(self, ask: Ask) -> None:
        """Make a connection good for reading.

        Raises:
            LinkLost: If it was lost.
            StoreUnopened: If this user may not do what has to be done.
        """
        *_, info = _allowed(await ask((*LOADS, (b"INFO",))))
        self.history_read = _life_of(_facts_in(info))

    async def greet_writer(self, ask: Ask) -> None:
        """Look whether what is written through this connection will last.

        Raises:
            LinkLost: If it is lost, leads to a replica, or a server of older code serves.
            StoreUnopened: If this user may not do what has to be done.
            StoreUnsuitable: If Redis would throw timelines away.
            SchemaTooNew: If newer code has written to it.
        """
        *_, info = _allowed(await ask((*LOADS, (b"INFO",))))
        facts = _facts_in(info)
        if facts.get("role", "master") != "master":
            raise LinkLost("it is a replica")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            # With volatile-… it is leases and inboxes that go.
            raise StoreUnsuitable(
                f"Redis may evict what is there: its maxmemory-policy is {policy}"
            )
        if self.lease is None:
            (version,) = await ask(((b"GET", VERSION),))
            _check_version(version or b"0")
        else:
            await require_all(ask)
            # Who served from a Redis that has just started may not have come back to it.
            self.lease.doubt(LEASE_S - int(facts.get("uptime_in_seconds", "0")))
            await self._renew(self.lease, ask)
        self.history = _life_of(facts)

    async def keep(self, link: Link) -> None:
        """Say again and again that this server serves, until cancelled.

        Raises:
            SchemaTooNew: If newer code has come to serve from it meanwhile.
        """
        while self.lease is not None:
            await trio.sleep(RENEW_S)
            try:
                await link.until_up()
                await self._renew(self.lease, link.ask)
            except (LinkLost, StoreUnopened):
                continue  # it is said again soon, or with the next connection

    async def hold(self, ask: Ask) -> None:
        """Have the lease again before anything else is done, where it has run out by our clock.

        Raises:
            LinkLost: If it may not be held.
            SchemaTooNew: If newer code has come to serve from it meanwhile.
        """
        if self.lease is not None and self.lease.has_run_out:
            with suppress(StoreUnopened):  # a Redis without memory refuses the rest, too
                await self._renew(self.lease, ask)

    async def leave(self, link: Link) -> None:
        """Say that this server serves no more."""
        if self.lease is not None and self._serves:
            await link.ask((self.lease.farewell(),))

    async def _renew(self, lease: Lease, ask: Ask) -> None:
        asked_s, commands = trio.current_time(), [lease.renewal()]
        if lease.has_run_out:
            commands.append((b"SMEMBERS", NODES))
        answer, *listed = _allowed(await ask(commands))
        version, serves, was_there = answer
        _check_version(version)
        if serves == 2:  # noqa: PLR2004 - as the script says
            raise LinkLost("somebody has said that this process has ended")
        if serves != 1:
            raise LinkLost("another server serves from it, of an older version")
        self._serves = True
        is_alone = [set(names) for names in listed] == [{lease.me.encode()}]
        if lease.renewed(asked_s, was_there=bool(was_there)) and not is_alone:
            self.on_lapsed()


def _check_version(version: bytes) -> None:
    found = int(version) if version.isdigit() else LAYOUT + 1
    if found > LAYOUT:
        raise SchemaTooNew(found, LAYOUT)


def _allowed(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Refused):
            raise StoreUnopened(answer.text)
    return answers


def _life_of(facts: dict[str, str]) -> str:
    # A server that was the primary, is not, and is again has the same run_id, and has lost
    # something; each promotion draws another id of the replication.
    return f"{facts.get('run_id', '')} {facts.get('master_replid', '')}"


def _facts_in(info: bytes) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
