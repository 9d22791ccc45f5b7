"""What came of the code of others that ran in here, where that may have tasks of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import TypeVar, cast

import structlog
import trio

T = TypeVar("T")

_log = structlog.get_logger()


async def unmixed(work: Awaitable[T]) -> T:
    """Wait for *work* of an app; what comes is its result, its failure or a cancel, and no mix.

    Whoever catches its failures would not catch one that comes together with a cancel, and that
    would end the session.

    Raises:
        Exception: What it raised; out of its group, where it is alone in one.
        trio.Cancelled: If there was a cancel, whatever failed because of it.
    """
    try:
        return await work
    except BaseExceptionGroup as group:
        raise failure_in(group) from None


def failure_in(error: BaseException) -> Exception:
    """Return what failed of *error*, which came out of an adapter; raise what is no failure.

    A nursery makes a group of whatever happens in it: where a cancel makes a task fail, that of the
    cancel and of the failure.  Then the failure is logged, and the cancel goes on alone.

    Raises:
        trio.Cancelled: If there was a cancel; let it pass.
        BaseException: If it is neither a failure nor a cancel, such as `KeyboardInterrupt`.
    """
    if isinstance(error, Exception):
        return _unwrapped(error)
    if not isinstance(error, BaseExceptionGroup):
        raise error
    group = cast("BaseExceptionGroup[BaseException]", error)
    failures, stopping = group.split(Exception)
    if failures is not None:
        _log.warning("adapter.failed_at_cancel", exc_info=failures)
    leaves = tuple(_leaves(stopping))
    # A cancel of many tasks is one cancel to whoever waited for them.
    raise next((leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)), leaves[0])


def _unwrapped(error: Exception) -> Exception:
    """Return the only failure in a group, as who expects that has to find it."""
    leaves = tuple(_leaves(error))
    only = leaves[0]
    return only if len(leaves) == 1 and isinstance(only, Exception) else error


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(part)
    elif error is not None:
        yield error
