"""What comes of code of others that has tasks of its own."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
from trio.testing import MockClock

from bargein.actors.adapters import failure_in

FAILED = OSError("closed")


async def cancelled() -> trio.Cancelled:
    """Return what a cancel raises; nobody else may make one."""
    found: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            found.append(error)
            raise
    return found[0]


def raised(error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as found:  # noqa: PT011 - which, is the question
        failure_in(error)
    return found.value


def test_a_failure_is_what_failed_alone_or_in_a_group():
    assert failure_in(FAILED) is FAILED
    assert failure_in(ExceptionGroup("", [ExceptionGroup("", [FAILED])])) is FAILED
    both = ExceptionGroup("", [FAILED, ValueError()])
    assert failure_in(both) is both


async def test_a_cancel_goes_on_without_the_failures_that_it_caused_and_they_are_logged(
    autojump_clock: MockClock,
):
    cancel = await cancelled()
    assert raised(cancel) is cancel
    inner = BaseExceptionGroup("", [cancel, FAILED])
    with structlog.testing.capture_logs() as logs:
        assert raised(BaseExceptionGroup("", [cancel, inner])) is cancel
    assert [line["event"] for line in logs] == ["adapter.failed_at_cancel"]
    with structlog.testing.capture_logs() as logs:
        assert raised(BaseExceptionGroup("", [cancel, cancel])) is cancel
    assert logs == []


async def test_what_ends_the_process_goes_before_a_cancel(autojump_clock: MockClock):
    key = KeyboardInterrupt()
    assert raised(key) is key
    assert raised(BaseExceptionGroup("", [await cancelled(), FAILED, key])) is key
