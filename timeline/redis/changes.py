"""What is done to a session besides appending: erased, fenced, given a new epoch."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import structlog
from attrs import define

from bargein.protocol.ids import Epoch, SessionId
from bargein.timeline.archive import Erasure
from bargein.timeline.audit import AuditEntry
from bargein.timeline.redis.chain import Chain, Item
from bargein.timeline.redis.cold import Remains
from bargein.timeline.redis.keys import (
    ALL,
    ASKED,
    MARKS,
    UNSETTLED,
    events_key,
    outbox_key,
    row_key,
)
from bargein.timeline.redis.known import Grant, Known, new_token
from bargein.timeline.redis.link import Link, Refused
from bargein.timeline.redis.rows import StoredRow, renewed_crc
from bargein.timeline.redis.scripts import ERASE, FENCE, RENEW, Command
from bargein.timeline.store import StoreUnavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)

MOST_TRIES: Final = 10
"""A move may come between the look at a session and its erasure, hardly twice."""


@define(eq=False)
class Changes:
    """Changes sessions through the connection that writes.

    Each of its calls may be tried again where an answer was lost, and is then done once.

    Attributes:
        wait_s: How long a change waits for a lost connection.
        history: Says in which life of the Redis server it is being written.
        on_rest: Told where something is left in an outbox.
    """

    link: Link
    chain: Chain
    known: Known
    history: Callable[[], str]
    on_rest: Callable[[], None]
    wait_s: float

    async def erase(self, session_id: SessionId, audit: tuple[AuditEntry, ...]) -> bool:
        """Erase a session; see `Archive.erase`."""
        for _ in range(MOST_TRIES):
            made = await self._item(session_id, audit)
            if made is None:
                await self._erase_rest(session_id)
                return False
            if audit:
                await self._again(self.chain.check)
            found = await self._erased(*made)
            if found >= 0:
                return found == 1
        raise StoreUnavailable("its events are moved again and again")

    async def ask_erasure(self, erasures: Iterable[Erasure]) -> None:
        """Note what is to be erased; see `Archive.ask_erasure`."""
        words = [(one.session_id, json.dumps([one.asked_at, one.by])) for one in erasures]
        if words:
            await self._ask([(b"HSETNX", ASKED, name, text) for name, text in words])

    async def fence(self, session_id: SessionId) -> Grant | None:
        """Shut out what is still under way to a session, which will be opened anew.

        Return with what that is; None where there was nothing to do, because another has
        raised the fence.

        Raises:
            StoreUnavailable: If that can't be done now.
        """
        known, token = self.known.grant(session_id), self._token()
        (fence,) = await self._ask((FENCE.call([row_key(session_id)], known.text, token),))
        return Grant(fence, token) if fence else None

    async def renew(self, found: StoredRow) -> None:
        """Give a session that may have lost events a new epoch, unless somebody was faster.

        Raises:
            StoreUnavailable: If that can't be done now.
        """
        row, epoch, token = found.row, Epoch(secrets.token_hex(4)), self._token()
        crc = renewed_crc(row, epoch)
        call = RENEW.call(
            [row_key(row.session_id)], row.epoch, row.last_seq, epoch, crc, self.history(), token
        )
        (fence,) = await self._ask((call,))
        if fence:
            known = self.known.acknowledged(row.session_id, found.grant)
            log.warning(
                "session.epoch_changed",
                session=row.session_id,
                last_seq=row.last_seq,
                known=None if known is None else known.seq,
            )
            self.known.let_in(row.session_id, Grant(fence, token))
            self.known.note(row.session_id, row.last_seq)

    def _token(self) -> str:
        return new_token(self.chain.me)

    async def _item(
        self, session_id: SessionId, audit: tuple[AuditEntry, ...]
    ) -> tuple[Item, bytes] | None:
        """Make the item that says it; with it what the row says of a file."""
        read = (b"HMGET", row_key(session_id), "epoch", "principal", "tenant", "cold")
        ((*parts,),) = await self._ask((read,))
        if all(part is None for part in parts):
            return None
        _, principal, tenant, cold = (
            None if p is None else p.decode(errors="replace") for p in parts
        )
        remains = Remains.of(cold or "", time.time())
        return Item.new(session_id, audit, (principal or "", tenant), remains), parts[-1] or b""

    async def _erased(self, item: Item, cold: bytes) -> int:
        """Erase the session of *item*; return what the script does."""
        session_id = item.session_id
        listed = self.chain.listing((session_id,))
        try:
            async with self.chain.delivery:
                call = ERASE.call(_keys(session_id), item.text, cold)
                _, found = await self._ask((listed, call))
            if found == 1:
                await self._clear(session_id, item.remains)
                async with self.chain.delivery:
                    await self._again(lambda: self.chain.deliver((item,)))
        except BaseException:  # a cancel, too
            self.on_rest()
            raise
        if found >= 0:
            self.known.forget(session_id)
        if found == 0:
            await self._forget(session_id)
        return found

    async def _erase_rest(self, session_id: SessionId) -> None:
        # Events that have lost their row, and files that have.
        await self._ask((ERASE.call(_keys(session_id), "", ""),))
        await self._clear(session_id, Remains(None, time.time()))
        await self._forget(session_id)

    async def _clear(self, session_id: SessionId, remains: Remains | None) -> None:
        if remains is not None:
            await self._again(lambda: self.chain.clear(session_id, remains))

    async def _forget(self, session_id: SessionId) -> None:
        await self._ask(
            (
                (b"ZREM", ALL, session_id),
                (b"ZREM", UNSETTLED, session_id),
                (b"HDEL", MARKS, session_id),
                (b"HDEL", ASKED, session_id),
            )
        )

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        async def ask() -> list[Any]:
            return await self.link.ask(commands)

        answers = await self._again(ask)
        for answer in answers:
            if isinstance(answer, Refused):
                raise StoreUnavailable(answer.text)
        return answers

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do *work* until its answers are there, or until it has taken too long."""
        return await self.link.persist(work, self.wait_s)


def _keys(session_id: SessionId) -> list[str]:
    return [row_key(session_id), events_key(session_id), outbox_key(session_id)]
