"""Holds every principal to its quotas: connections, sessions, turns, tokens, bytes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeAlias

import structlog
import trio
from attrs import define, evolve, field

from bargein.actors.allowance import Allowance, Unlimited
from bargein.actors.slot_queue import Standing
from bargein.actors.slots import FREE, Slots
from bargein.gateway.account import Account, Share, Shortage
from bargein.gateway.auth.identity import Credential, Identity
from bargein.gateway.auth.trail import Trail
from bargein.gateway.counters import QUOTA_REFUSED
from bargein.protocol.frames import Problem
from bargein.protocol.ids import SessionId
from bargein.timeline.log import Timeline

Owner: TypeAlias = tuple[str, str | None]
"""Principal and tenant."""

_SWEPT_ACCOUNTS: Final = 1000
"""Above this many, the accounts of those who use nothing are forgotten from time to time."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@define(eq=False)
class Accounts:
    """Count what every principal uses.  Lives as long as the process.

    What was used before a restart is forgotten.

    Args:
        share_of: Says what a tier may use; None where nobody is counted.
        trail: Is told of refusals; None: nobody is.
        slots: Where everybody's turns get their model slots.
    """

    _share_of: Callable[[str], Share] | None = None
    _trail: Trail | None = None
    slots: Slots = FREE
    _accounts: dict[Owner, Account] = field(factory=dict[Owner, Account], init=False)
    _sweep_at: int = field(default=_SWEPT_ACCOUNTS, init=False)

    @contextmanager
    def connected(self, identity: Identity) -> Generator[Problem | None]:
        """Count a connection for as long as the block runs; or yield why it is one too many."""
        account = self._account_of(identity)
        if account is None:
            yield None
            return
        if (shortage := account.short_of_connections()) is not None:
            yield self.refuse(account, shortage)
            return
        account.connections += 1
        try:
            yield None
        finally:
            account.connections -= 1

    @contextmanager
    def seated(
        self, identity: Identity, session_id: SessionId, *, new: bool
    ) -> Generator[Problem | None]:
        """Count a live session for as long as the block runs; or yield why it is one too many.

        Args:
            identity: Whose it is.
            session_id: Which one.
            new: It is about to be opened.
        """
        account = self._account_of(identity)
        if account is None:
            yield None
            return
        now_s = trio.current_time()
        shortage = account.short_of_seats(session_id, now_s, new=new)
        if shortage is not None:
            yield self.refuse(account, shortage, session_id)
            return
        if new:
            account.opened.add(now_s)
        with account.seat(session_id):
            yield None

    def share_out(self, share_of: Callable[[str], Share]) -> None:
        """Let everybody use so much from now on, who is counted at all; what runs goes on."""
        if self._share_of is None:
            return
        self._share_of = share_of
        for account in self._accounts.values():
            account.share = share_of(account.identity.tier)

    def renewed(self, identity: Identity) -> None:
        """Take note of a fresh token, which may be of another tier."""
        self._account_of(identity)

    def allowance(self, principal: str, tenant: str | None, timeline: Timeline) -> Allowance:
        """Return the share of a session that comes into memory; close it when that leaves."""
        account = self._accounts.get((principal, tenant)) or self._account_of(
            Identity(principal, tenant)
        )
        if account is None:
            return Unlimited(slots=self.slots)
        purse = Purse(self, account, timeline)
        account.live.add(purse)
        return purse

    def refuse(
        self, account: Account, shortage: Shortage, session_id: SessionId | None = None
    ) -> Problem:
        """Count a refusal, tell the audit of the first in a while, and return what to say."""
        quota, identity = shortage.quota, account.identity
        QUOTA_REFUSED.labels(quota).inc()
        if account.is_to_be_noted(quota, trio.current_time()):
            _log.info("quota.refused", principal=identity.principal, quota=quota)
            if self._trail is not None:
                credential = Credential(identity)
                self._trail.note("quota.refused", credential, session_id=session_id, subject=quota)
        return shortage.problem

    def _account_of(self, identity: Identity) -> Account | None:
        if self._share_of is None:
            return None
        share = self._share_of(identity.tier)
        account = self._accounts.get(identity.owner)
        if account is None:
            self._sweep()
            account = self._accounts[identity.owner] = Account(identity, share)
        account.identity, account.share = identity, share
        return account

    def _sweep(self) -> None:
        if len(self._accounts) < self._sweep_at:
            return
        now_s = trio.current_time()
        idle = [owner for owner, account in self._accounts.items() if account.is_idle(now_s)]
        for owner in idle:
            del self._accounts[owner]
        self._sweep_at = max(_SWEPT_ACCOUNTS, 2 * len(self._accounts))


@define(eq=False)
class Purse:
    """One session's hand in its principal's account.  Lives as long as the session."""

    _accounts: Accounts
    _account: Account
    _timeline: Timeline
    _turns: int = field(default=0, init=False)

    @property
    def session_id(self) -> SessionId:
        """The session that it belongs to."""
        return self._timeline.session_id

    @property
    def slots(self) -> Slots:
        """Who shares out model slots."""
        return self._accounts.slots

    @property
    def standing(self) -> Standing:
        """How its principal stands among those who want one, by its latest token."""
        identity, share = self._account.identity, self._account.share
        return Standing(identity.principal, identity.tenant, share.tier, share.rank, share.weight)

    @property
    def takes_words(self) -> bool:
        """Whether words may be taken now."""
        return self._short_of(begins_turn=False) is None

    def refusal(self, *, begins_turn: bool) -> Problem | None:
        """Return why words are refused; None if they may be taken."""
        return self._refusal(self._short_of(begins_turn=begins_turn))

    def refusal_to_grow(self) -> Problem | None:
        """Return why nothing more goes onto the timeline; None if it may."""
        return self._refusal(self._short_of_room())

    def begin_turn(self) -> None:
        """Count a turn that runs."""
        self._turns += 1
        self._account.turns += 1

    def end_turn(self) -> None:
        """Count it no more."""
        self._turns -= 1
        self._account.turns -= 1

    def spend(self, tokens: int) -> None:
        """Count what a call of a model has cost."""
        self._account.spent.add(trio.current_time(), tokens)

    def renewed(self, tier: str) -> None:
        """Hold its principal to *tier* from now on."""
        self._accounts.renewed(evolve(self._account.identity, tier=tier))

    def close(self) -> None:
        """Count the session no more, nor what it has running."""
        self._account.live.discard(self)
        self._account.turns -= self._turns
        self._turns = 0

    def _refusal(self, shortage: Shortage | None) -> Problem | None:
        if shortage is None:
            return None
        return self._accounts.refuse(self._account, shortage, self.session_id)

    def _short_of(self, *, begins_turn: bool) -> Shortage | None:
        full = self._short_of_room()
        tokens = full or self._account.short_of_tokens(trio.current_time())
        return tokens or (self._account.short_of_turns() if begins_turn else None)

    def _short_of_room(self) -> Shortage | None:
        if self._timeline.size_bytes < self._account.share.timeline_bytes:
            return None
        message = "This session's timeline is as long as it may be; go on in a new session."
        return Shortage("timeline", message, retryable=False)
