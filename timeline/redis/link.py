"""One connection to Redis, made anew whenever it is lost; coredis is met here alone.

A connection of coredis carries the commands of many tasks at once, answers them in order and does
not mind a task that is cancelled while it waits. So the store has two of them, one to write and one
to read, and no pool: where nothing is lent, no slot is lost, as coredis 6.9's pool loses one with
each lease that is cancelled.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

import structlog
import trio
from attrs import define, evolve, field, frozen

from bargein.timeline.health import RETRY_S
from bargein.timeline.redis.scripts import Argument, Command
from bargein.timeline.redis_address import Address, Sentinel
from bargein.timeline.store import StoreError, StoreUnavailable, StoreUnopened

T = TypeVar("T")

log = structlog.get_logger(__name__)

CONNECT_S: Final = 2.0
"""How long one try to connect may take, names and TLS included."""

SENTINEL_S: Final = 0.5
"""How long one sentinel may take to say where the primary is; then the next one is asked."""

SOONEST_S: Final = 0.05
"""When a connection that could not be made is tried again; then later and later, up to a second."""

LATE: Final = "no answer came in time"

CLIENT_NAME: Final = "bargein"

_STREAMS: Final = tuple(
    f"_{name}_buffer_{end}"
    for name in ("push_message", "streamed_message", "write")
    for end in ("in", "out")
)
"""What a connection of coredis 6.9 leaves open where it could not be made."""

# Its own lines come with tracebacks, and say nothing that isn't said here.
logging.getLogger("coredis").setLevel(logging.CRITICAL + 1)


class LinkLost(Exception):
    """There is no connection, or none any more: nobody knows what became of what was asked.

    Attributes:
        reason: What happened, as a few words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@frozen
class Refused:
    """Redis has refused a command, and done nothing of it.

    Attributes:
        text: What it said.
        is_forbidden: Whether its user lacks the right.
    """

    text: str
    is_forbidden: bool = False


Ask: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""Sends commands together and returns an answer to each; see `Link.ask`."""


@define(eq=False)
class Link:
    """Keeps one connection.  Lives as long as its store runs.

    Attributes:
        greet: Called with each new connection before anybody else may use it; raises
            `LinkLost` if it will not do now, another `StoreError` if it never will.
        on_down: Told why whenever a connection could not be made.
        answer_s: How long Redis may take for an answer; then the connection counts as lost.
    """

    address: Address
    greet: Callable[[Ask], Awaitable[None]]
    on_down: Callable[[str], None]
    answer_s: float = 2.0
    _connection: Any = field(default=None, init=False)
    _runs: bool = field(default=False, init=False)
    _reason: str = field(default="it has not been opened", init=False)
    _refusal: StoreError | None = field(default=None, init=False)
    _turned: trio.Event = field(factory=trio.Event, init=False)

    @property
    def runs(self) -> bool:
        """Whether there is a connection, or one is sought."""
        return self._runs

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that can be used."""
        return self._connection is not None

    @property
    def reason(self) -> str:
        """Why there is no connection, as a few words."""
        return self._reason

    async def until_up(self) -> None:
        """Wait until there is a connection."""
        while self._connection is None:
            await self._turned.wait()

    async def until_first(self) -> None:
        """Wait until there is a connection for the first time.

        Raises:
            StoreError: If this Redis will not do, or doesn't let us in; an operator has to look.
        """
        while self._connection is None:
            if self._refusal is not None:
                raise self._refusal
            await self._turned.wait()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* together, in order; return an answer to each, which may be `Refused`.

        Raises:
            LinkLost: If an answer is missing: any of them may have been done, or none.
        """
        if self._connection is None:
            raise LinkLost(self._reason)
        connection = self._connection
        try:
            return await self._exchange(connection, commands)
        except LinkLost as lost:
            # Known at once: whoever tries again must not meet the dead one.
            if self._connection is connection:
                self._connection, self._reason = None, lost.reason
            raise

    async def persist(self, work: Callable[[], Awaitable[T]], wait_s: float) -> T:
        """Do *work*, which may be done twice, until its answers are there.

        Raises:
            StoreUnavailable: If that took more than *wait_s*; nobody knows what was done.
        """
        with trio.move_on_after(wait_s):
            while True:
                await self.until_up()
                with suppress(LinkLost):
                    return await work()
        slow = f"Redis did not answer within {wait_s:g} s"
        raise StoreUnavailable(slow if self.is_up else self._reason)

    def drop(self, why: str) -> None:
        """Give the connection up: it may lead to a server that is not the right one any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reason = why
            connection.invalidate(why)

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        pause_s = SOONEST_S
        self._runs = True
        try:
            while True:
                try:
                    await self._hold_one()
                    pause_s = SOONEST_S
                except LinkLost as lost:
                    self._reason = lost.reason
                    self.on_down(lost.reason)
                    await trio.sleep(pause_s)
                    pause_s = min(pause_s * 2, RETRY_S)
        finally:
            self._runs, self._connection, self._reason = False, None, "it has been closed"

    async def _hold_one(self) -> None:
        """Connect, let others use it, and return when it is lost."""
        async with trio.open_nursery() as nursery:
            connection = None
            try:
                place = await _located(self.address)
                with trio.fail_after(CONNECT_S):
                    connection = await _connected(place, nursery)
                    await self.greet(lambda commands: self._exchange(connection, commands))
            except (trio.TooSlowError, LinkLost, StoreError) as error:
                nursery.cancel_scope.cancel(reason="it is no good")
                trouble = error
            else:
                trouble = None
                self._connection = connection
                self._turn()
        if trouble is None:
            self._connection = None
            self._reason = "the connection was lost"
            log.warning("redis.connection_lost", address=str(self.address))
            return
        if isinstance(trouble, StoreError):
            self._refusal = trouble
            self._turn()
            raise LinkLost(str(trouble))
        raise trouble if isinstance(trouble, LinkLost) else LinkLost(LATE)

    def _turn(self) -> None:
        self._turned.set()
        self._turned = trio.Event()

    async def _exchange(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        return await _exchange(connection, commands, self.answer_s)


@frozen
class _Sent:
    """A command as a batch of coredis wants it."""

    name: bytes
    serialized_arguments: Sequence[Argument]
    decode: bool = False


async def _exchange(connection: Any, commands: Sequence[Command], answer_s: float) -> list[Any]:
    if not commands:
        return []
    try:
        # As one, and not command by command, each of which would cost it 20 us more.
        batch = connection.create_request_batch(
            [_Sent(command[0], command[1:]) for command in commands]
        )
        batch.disconnect_on_cancellation = False  # the answers come, and go to nobody
        with trio.fail_after(answer_s):
            answers: list[Any] = list(await batch)
    except trio.TooSlowError:
        connection.invalidate("no answer came in time")
        raise LinkLost(f"Redis did not answer within {answer_s:g} s") from None
    except Exception as error:
        # A boundary: whatever was raised, not all of it can have been sent and answered.
        connection.invalidate("it failed")
        raise LinkLost(_words(error)) from error
    passing, forbidden = _kinds_of_errors()
    for place, answer in enumerate(answers):
        if isinstance(answer, passing):
            # It has become a replica, is still loading, or has forgotten the scripts.
            connection.invalidate("it can't serve at the moment")
            raise LinkLost(_words(answer)) from None
        if isinstance(answer, Exception):
            words = _words(answer)
            # A transaction says in words alone why it was discarded.
            answers[place] = Refused(words, isinstance(answer, forbidden) or "NOPERM" in words)
    return answers


async def _located(address: Address) -> Address:
    """Return where the primary is at the moment, as the first sentinel says that answers.

    Raises:
        LinkLost: If none says so; what each said instead is in its reason.
        StoreUnopened: If none lets us in.
    """
    troubles: list[str] = []
    refusals: list[StoreUnopened] = []
    for sentinel in address.sentinels:
        try:
            with trio.fail_after(SENTINEL_S):
                return await _told_by(sentinel, address)
        except trio.TooSlowError:
            why = LATE
        except LinkLost as lost:
            why = lost.reason
        except StoreUnopened as refusal:
            refusals.append(refusal)
            why = refusal.cause
        troubles.append(f"{sentinel.host}:{sentinel.port}: {why}")
    if not troubles:
        return address
    if len(refusals) == len(troubles):
        raise refusals[0]
    raise LinkLost(
        f"no sentinel says where the primary of {address.primary} is ({'; '.join(troubles)})"
    )


async def _told_by(sentinel: Sentinel, address: Address) -> Address:
    question = (b"SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.primary)
    trouble: LinkLost | StoreUnopened | None = None
    answers: list[Any] = [None]
    async with trio.open_nursery() as nursery:
        try:
            there = Address(sentinel.host, sentinel.port, tls=address.tls)
            connection = await _connected(there, nursery)
            answers = await _exchange(connection, (question,), SENTINEL_S)
        except (LinkLost, StoreUnopened) as error:
            trouble = error
        nursery.cancel_scope.cancel(reason="it has said what it knows")
    match answers:
        case [[bytes() as host, bytes() as port]] if port.isdigit():
            return evolve(address, host=host.decode(), port=int(port), sentinels=())
        case [Refused() as refused]:
            raise LinkLost(refused.text)
        case _:
            raise trouble or LinkLost("it knows no primary of that name")


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


async def _connected(address: Address, nursery: trio.Nursery) -> Any:
    try:
        from coredis.connection import TCPConnection, TCPLocation
        from coredis.exceptions import (
            AuthenticationError,
            AuthorizationError,
            RedisError,
        )
    except ImportError:
        raise StoreUnopened("its client is not installed: pip install 'bargein[redis]'") from None
    connection = TCPConnection(
        TCPLocation(address.host, address.port),
        connect_timeout=CONNECT_S,
        username=address.user,
        password=address.password,
        db=address.database,
        ssl_context=ssl.create_default_context() if address.tls else None,
        client_name=CLIENT_NAME,
    )
    try:
        await nursery.start(connection.run)
    except BaseException as error:  # a cancel, too
        for stream in _STREAMS:
            getattr(connection, stream).close()
        if isinstance(error, AuthenticationError | AuthorizationError):
            raise StoreUnopened("Redis refuses the user or the password") from None
        if isinstance(error, RedisError):
            # It says of a cancel, too, that it could not connect.
            is_late = trio.current_effective_deadline() <= trio.current_time()
            raise LinkLost(LATE if is_late else _cause(error)) from error
        raise
    return connection


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Redis has a certificate that is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):  # an OSError too, whose number means something else
        return f"TLS with Redis failed: {error.reason}"
    if isinstance(error, OSError) and error.errno:
        return f"Redis can't be reached: {os.strerror(error.errno)}"
    return _words(error)


def _kinds_of_errors() -> tuple[tuple[type[Exception], ...], type[Exception]]:
    """Return those by which a connection is lost, and the one that says that a right is missing."""
    from coredis import exceptions as kinds

    passing = (
        kinds.ConnectionError,  # which it also calls it when Redis is still loading
        kinds.ReadOnlyError,
        kinds.NoScriptError,
        kinds.TryAgainError,
        kinds.ClusterDownError,
    )
    return passing, kinds.AuthorizationError
