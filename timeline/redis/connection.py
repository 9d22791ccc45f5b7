"""Connections to Redis as coredis makes them, which is met here alone; and where the primary is.

A connection of coredis carries the commands of many tasks at once, answers them in order and does
not mind a task that is cancelled while it waits.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from typing import Any, Final

import trio
from attrs import evolve, frozen

from bargein.timeline.redis.scripts import Argument, Command
from bargein.timeline.redis_address import Address, Sentinel
from bargein.timeline.store import StoreUnopened

CONNECT_S: Final = 2.0
"""How long one try to connect may take, names and TLS included."""

SENTINEL_S: Final = 0.5
"""How long one sentinel may take to say where the primary is; then the next one is asked."""

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


@frozen
class _Sent:
    """A command as a batch of coredis wants it."""

    name: bytes
    serialized_arguments: Sequence[Argument]
    decode: bool = False


async def exchange(connection: Any, commands: Sequence[Command], answer_s: float) -> list[Any]:
    """Send commands together, and return an answer to each; see `answered`."""
    return await answered(connection, begun(connection, commands), answer_s)


def begun(connection: Any, commands: Sequence[Command]) -> Any:
    """Send commands, and return what their answers come to; None where there are none.

    Raises:
        LinkLost: If they can't be sent through this connection any more.
    """
    if not commands:
        return None
    try:
        # As one, and not command by command, each of which would cost it 20 us more.
        batch = connection.create_request_batch(
            [_Sent(command[0], command[1:]) for command in commands]
        )
    except Exception as error:
        # A boundary: whatever was raised, this connection is not what it should be.
        connection.invalidate("it failed")
        raise LinkLost(_words(error)) from error
    batch.disconnect_on_cancellation = False  # the answers come, and go to nobody
    return batch


async def answered(connection: Any, batch: Any, answer_s: float) -> list[Any]:
    """Return the answers to what was begun, each of which may be `Refused`.

    Raises:
        LinkLost: If one is missing: any of it may have been done, or nothing.
    """
    if batch is None:
        return []
    try:
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


async def located(address: Address) -> Address:
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
            connection = await connected(there, nursery)
            answers = await exchange(connection, (question,), SENTINEL_S)
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


async def connected(address: Address, nursery: trio.Nursery) -> Any:
    """Return a new connection, which lives in *nursery*.

    Raises:
        LinkLost: If it can't be made now.
        StoreUnopened: If it never can: user, password, or the client itself are missing.
    """
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
