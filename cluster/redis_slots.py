"""Model slots that all servers of one Redis share: the same decisions as in one process.

Redis decides, in one script; this process tells it what its turns want, and renews twice a second
what they have. What another node's call has decided about a turn of this one comes by letter, and
where that is lost with the next renewal.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NoReturn

import msgspec
import structlog
import trio
from attrs import define, evolve, field

from bargein.actors.counters import SLOTS_MOST
from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.actors.slots import Claim, Wish, overloaded, slots_away
from bargein.cluster.letters import SlotsMoved
from bargein.cluster.redis_slots_call import LOADS, Answer, Caller, Outlook, Request, answer_in
from bargein.cluster.redis_slots_claims import SharedClaim
from bargein.cluster.slots import Tell
from bargein.protocol.frames import Problem
from bargein.protocol.ids import NodeId
from bargein.timeline.health import RETRY_S
from bargein.timeline.redis.lease import LEASE_S, RENEW_S
from bargein.timeline.redis.link import Ask as AskRedis
from bargein.timeline.redis.link import Asked, Link, LinkLost, Refused
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreUnopened

log = structlog.get_logger(__name__)

MOST_TOGETHER: Final = 64
"""Claims that one call asks for or gives back: others wait while Redis looks at them."""

AWAY_S: Final = 5.0
"""How long a turn waits while nothing is heard of Redis; then it fails, and can be said again."""

INSIST_S: Final = 0.005
"""A turn that can't be stopped yet is asked again after this."""

OPEN_S: Final = 2.0
"""How long the start waits for the first answer."""

LEAVE_S: Final = 0.5
"""How long an orderly end may take to give back what is left."""


@define(eq=False)
class RedisSlots:
    """Shares slots with the other servers of one Redis; see `SharedSlots`.

    Where these terms have no limit, nobody is asked, and nobody counts the turns of this process.

    Attributes:
        address: Where Redis is.
        me: This process.
        answer_s: How long Redis may take for an answer; then the connection counts as lost.
    """

    address: Address
    me: NodeId
    answer_s: float = field(default=2.0, kw_only=True)
    _terms: SlotTerms = field(factory=SlotTerms, init=False)
    _link: Link = field(init=False)
    _caller: Caller = field(init=False)
    _claims: dict[int, SharedClaim] = field(factory=dict[int, SharedClaim], init=False)
    _unasked: dict[int, None] = field(factory=dict[int, None], init=False)
    _put_off: dict[int, None] = field(factory=dict[int, None], init=False)
    _given_back: dict[int, None] = field(factory=dict[int, None], init=False)
    _gone: dict[NodeId, None] = field(factory=dict[NodeId, None], init=False)
    _stubborn: dict[int, SharedClaim] = field(factory=dict[int, SharedClaim], init=False)
    _under_way: Asked | None = field(default=None, init=False)
    _is_away: bool = field(default=False, init=False)
    _is_more: bool = field(default=False, init=False)
    _number: int = field(default=0, init=False)
    _outlook: Outlook | None = field(default=None, init=False)
    _outlook_s: float = field(default=0.0, init=False)
    _answered_s: float = field(default=0.0, init=False)
    _renew_at_s: float = field(default=0.0, init=False)
    _some: trio.Event = field(factory=trio.Event, init=False)
    _some_stubborn: trio.Event = field(factory=trio.Event, init=False)
    _tell: Tell | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._caller = Caller(self.me)
        self._link = Link(self.address, self._greet, self._miss, self.answer_s)
        SLOTS_MOST.set(0)

    def hold_to(self, terms: SlotTerms) -> None:
        """Share slots in another way from now on; whoever has one keeps it."""
        was_limited, self._terms = self._is_limited, terms
        SLOTS_MOST.set(terms.most or 0)
        if was_limited and not self._is_limited:
            for claim in self._claims.values():
                claim.grant()
                self._forget(claim)
        elif self._is_limited and not was_limited:
            self._unasked.update(dict.fromkeys(self._claims))
            if self._tell is not None:
                self._answered_s = trio.current_time()
        self._hurry()

    def refusal(self, standing: Standing) -> Problem | None:
        """Return why a new turn would be one too many; None if it is not."""
        if not self._is_limited:
            return None
        if trio.current_time() - self._answered_s > AWAY_S:
            return slots_away(RETRY_S)
        if self._outlook is None:
            return None
        later = [
            one.standing
            for one in self._claims.values()
            if one.asked_s > self._outlook_s or self._waits_outside(one)
        ]
        after_s = self._outlook.overload_s(standing, self._terms, later)
        return None if after_s is None else overloaded(after_s)

    def ask(self, standing: Standing, wish: Wish) -> Claim:
        """Ask for a slot; it is granted later, but where there is no limit."""
        self._number += 1
        claim = SharedClaim(self._number, standing, wish, self._take_back)
        self._claims[claim.number] = claim
        if self._is_limited:
            self._unasked[claim.number] = None
            self._some.set()
        else:
            claim.grant()
        return claim

    def moved(self, letter: SlotsMoved) -> None:
        """Take note of what another node has found out; see `SharedSlots.moved`."""
        if trio.current_time() - self._answered_s > LEASE_S:
            self._hurry()  # others may have what it says by now
            return
        self._enact(letter)

    def lost(self, node: NodeId) -> None:
        """Let others have the slots of a node that has gone; see `SharedSlots.lost`."""
        if self._is_limited:
            self._gone[node] = None
            self._some.set()

    async def run(
        self, tell: Tell, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Ask for slots and give them back until cancelled; see `SharedSlots.run`."""
        self._tell = tell
        self._answered_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            # Shielded because what is given back last needs it; ended below.
            kept = trio.CancelScope(shield=True)
            nursery.start_soon(_kept, self._link, kept)
            try:
                with trio.move_on_after(OPEN_S):
                    await self._link.until_up()
                nursery.start_soon(self._insist)
                nursery.start_soon(self._give_up)
                task_status.started()
                await self._serve()
            finally:
                # Shielded because others wait for it; bounded because Redis may hang.
                with trio.move_on_after(LEAVE_S, shield=True):
                    await self._leave()
                kept.cancel(reason="the slots have been given back")

    # --- what Redis is told ------------------------------------------------------------

    async def _serve(self) -> NoReturn:
        while True:
            with trio.move_on_at(self._renew_at_s if self._is_limited else float("inf")):
                await self._some.wait()
            self._some = trio.Event()
            await self._link.until_up()
            try:
                await self._exchange()
            except LinkLost:
                self._some.set()

    async def _exchange(self) -> None:
        """Tell Redis what is new, and renew all where it is time."""
        asked_s = trio.current_time()
        renews = self._is_limited and asked_s >= self._renew_at_s
        if renews:
            again = sorted(self._put_off, key=lambda number: self._claims[number].place)
            self._unasked = dict.fromkeys((*again, *self._unasked))
            self._put_off.clear()
        request = self._request(asked_s, renews=renews)
        if not (renews or request.backs or request.asks or request.gone or request.goes_on):
            return
        answer = await self._asked(request)
        if answer is None:
            self._some.set()
            await trio.sleep(RETRY_S)
            return
        self._caller = evolve(self._caller, known=True)
        self._answered_s = asked_s
        if renews:
            self._renew_at_s = asked_s + RENEW_S
        for node in request.gone:
            self._gone.pop(node, None)
        for number in request.backs:
            self._given_back.pop(number, None)
        for wish in request.asks:
            self._unasked.pop(wish.number, None)
        self._take_in(answer, asked_s)
        if self._unasked or self._given_back or self._gone or self._is_more:
            self._some.set()

    def _request(self, now_s: float, *, renews: bool) -> Request:
        backs = tuple(self._given_back)[:MOST_TOGETHER]
        asks = [self._claims[number] for number in tuple(self._unasked)[:MOST_TOGETHER]]
        for claim in asks:
            claim.told = True
        lists = None
        if renews:
            known = [
                one
                for one in self._claims.values()
                if one.told and not (one.number in self._unasked or one.number in self._put_off)
            ]
            held = tuple(one.number for one in known if one.is_granted)
            lists = held, tuple(one.number for one in known if not one.is_granted)
        wishes = tuple(claim.to_ask(now_s) for claim in asks)
        gone = tuple(self._gone)[:MOST_TOGETHER]
        return Request(
            self._caller, self._terms, backs, wishes, lists, gone=gone, goes_on=self._is_more
        )

    async def _asked(self, request: Request) -> Answer | None:
        """Return the answer; None where Redis refuses to give one."""
        self._under_way = self._link.begin((request.call(),))
        return await self._answer(self._under_way)

    async def _answer(self, asked: Asked) -> Answer | None:
        (said,) = await self._link.answers(asked)
        self._under_way = None
        if isinstance(said, Refused):
            log.warning("slots.refused", reason=said.text)
            return None
        try:
            return answer_in(said)
        except (msgspec.MsgspecError, TypeError) as error:
            log.warning("slots.odd_answer", error=str(error))
            return None

    async def _leave(self) -> None:
        """Give back all that is left, and tell those who have it now."""
        asked = self._under_way
        if asked is not None and not self._link.carries(asked):
            asked = None
        if asked is None and not self._caller.known:
            return
        try:
            if asked is not None:  # the end came before the answer, and others wait for that
                self._take_in(await self._answer(asked), trio.current_time())
            self._is_more = True
            while self._is_more:
                answer = await self._asked(Request(self._caller, self._terms, leaves=True))
                self._is_more = False
                self._take_in(answer, trio.current_time())
        except LinkLost:
            log.info("slots.left", node=self.me)  # until the lease has run out

    # --- what Redis has decided --------------------------------------------------------

    def _take_in(self, answer: Answer | None, asked_s: float) -> None:
        if answer is None:
            return
        granted, stopped = _by_node(answer.granted), _by_node(answer.stopped)
        for node in granted.keys() | stopped.keys():
            moves = SlotsMoved(tuple(granted[node]), tuple(stopped[node]))
            if node == self.me:
                self._enact(moves)
            elif self._tell is not None:
                self._tell(node, moves)
        self._unasked.update(dict.fromkeys(n for n in answer.missing if n in self._claims))
        self._put_off_all({n: self._claims[n] for n in answer.full if n in self._claims})
        self._is_more = answer.more
        if answer.outlook is not None:
            self._outlook, self._outlook_s = answer.outlook, asked_s

    def _put_off_all(self, refused: dict[int, SharedClaim]) -> None:
        """Ask for them later, and for those that come behind them, too."""
        if not refused:
            return
        self._put_off.update(dict.fromkeys(refused))
        rank = max(claim.standing.rank for claim in refused.values())
        for number in list(self._unasked):
            claim = self._claims[number]
            if not claim.is_granted and claim.standing.rank <= rank:
                del self._unasked[number]
                self._put_off[number] = None

    def _waits_outside(self, claim: SharedClaim) -> bool:
        """Whether it waits without the knowledge of Redis, for there are too many."""
        return not claim.is_granted and (
            claim.number in self._put_off or claim.number in self._unasked
        )

    def _enact(self, moves: SlotsMoved) -> None:
        for number in (*moves.granted, *moves.stopped):
            if claim := self._claims.get(number):
                claim.grant()
        for number in moves.stopped:
            claim = self._claims.get(number)
            if claim is not None and not claim.stop():
                self._stubborn[number] = claim
                self._some_stubborn.set()

    def _take_back(self, claim: SharedClaim) -> None:
        del self._claims[claim.number]
        self._forget(claim)
        self._some.set()

    def _forget(self, claim: SharedClaim) -> None:
        """See that Redis knows nothing of a claim any more."""
        for numbers in (self._unasked, self._put_off, self._stubborn):
            numbers.pop(claim.number, None)
        if claim.told:
            claim.told = False
            self._given_back[claim.number] = None

    async def _insist(self) -> NoReturn:
        """Stop turns that could not be stopped when they were to be: they were about to begin."""
        while True:
            await self._some_stubborn.wait()
            await trio.sleep(INSIST_S)
            for claim in list(self._stubborn.values()):
                if claim.stop():
                    self._stubborn.pop(claim.number, None)
            if not self._stubborn:
                self._some_stubborn = trio.Event()

    async def _give_up(self) -> NoReturn:
        """Let no turn wait for ever for a Redis that is away."""
        while True:
            looked_s = trio.current_time()
            await trio.sleep(RENEW_S)
            now_s = trio.current_time()
            if now_s - looked_s > AWAY_S:
                continue  # it is this process that stood still
            if self._is_limited and now_s - self._answered_s > AWAY_S:
                for claim in list(self._claims.values()):
                    claim.lose()

    # --------------------------------------------------------------------------------

    @property
    def _is_limited(self) -> bool:
        return self._terms.most is not None

    def _hurry(self) -> None:
        self._renew_at_s = 0.0
        self._some.set()

    def _miss(self, reason: str) -> None:
        """Say once that nobody can be given a slot: the store may well be there."""
        if not self._is_away:
            self._is_away = True
            log.warning("slots.away", node=self.me, reason=reason)

    async def _greet(self, ask: AskRedis) -> None:
        """Know which Redis this is: another life of it may have forgotten what was decided."""
        *_, facts = await ask((*LOADS, (b"INFO", "server")))
        if isinstance(facts, Refused):
            raise StoreUnopened(facts.text)
        lines = facts.decode(errors="replace").splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        doubt_s = LEASE_S - int(told.get("uptime_in_seconds", "0"))
        self._caller = evolve(self._caller, life=told.get("run_id", ""), doubt_s=max(0.0, doubt_s))
        if self._is_away:
            self._is_away = False
            log.info("slots.back", node=self.me)
        self._renew_at_s = 0.0
        self._some.set()


def _by_node(tickets: tuple[str, ...]) -> defaultdict[NodeId, list[int]]:
    found = defaultdict[NodeId, list[int]](list)
    for ticket in tickets:
        node, _, number = ticket.rpartition("/")
        found[NodeId(node)].append(int(number))
    return found


async def _kept(link: Link, scope: trio.CancelScope) -> None:
    with scope:
        await link.run()
