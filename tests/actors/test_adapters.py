"""What comes of code of others that has tasks of its own."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
from trio.testing import MockClock

from bargein.actors.adapters import failure_in
from bargein.models.client import Completion, Listener, ModelRequest
from tests.actors.calls import on_the_line
from tests.actors.stage import Puppet

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


async def test_a_model_whose_socket_breaks_when_its_turn_is_interrupted_ends_nothing_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
):
    plain = Puppet.stream

    async def stream(model: Puppet, request: ModelRequest, listener: Listener) -> Completion:
        async def socket() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("the connection was closed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket)
            await plain(model, request, listener)
        raise AssertionError

    async with on_the_line() as call:
        with monkeypatch.context() as patch:
            patch.setattr(Puppet, "stream", stream)
            await call.send("say", text="List my funds.")
            (await call.stage.model.line(0)).says("Your funds ")
            await call.viewer.event("model.token")
            await call.send("interrupt")
            await call.viewer.event("cancel.ack")
        await call.send("say", text="And my bonds?")
        line = await call.stage.model.line(1)
        line.says("Here.")
        line.ends()
        await call.viewer.event("response.end", status="completed")
        assert call.of("error") == []
