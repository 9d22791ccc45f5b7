"""Runs tools: within their time, their share of the process and their size of result."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import structlog
import trio
from attrs import define, field, frozen

from bargein.tools.arguments import without_secrets
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.context import with_context
from bargein.tools.results import Status, ToolOutput, output_of
from bargein.tools.tool import ArgumentsRefused, Tool, ToolContext, ToolFailed, is_async

__all__ = ["THREADS", "WAIT_LIMIT_S", "Status", "ToolOutput", "Workbench", "output_of"]

THREADS: Final = 40
WAIT_LIMIT_S: Final = 5.0
"""How long a call waits for a place; with 40 hung tools more waiting does not help."""

MOST_LOGGED: Final = 5
"""Of a group of errors, so many are told apart."""

MOST_LOGGED_CHARS: Final = 1000

MOST_TOLD_CHARS: Final = 16 * 1024
"""Of why a tool did not do it."""

FAILED: Final = "The tool failed."

_log = structlog.get_logger()


@define(eq=False)
class _Share:
    """What one call takes of the process: a place at its tool, and a thread where it needs one.

    A thread can't be stopped.  So a thread's call lends its share to the thread, and the
    share comes back with it, however long ago the call was given up.  This is why it is
    passed to trio as if it were a limiter.
    """

    _limiters: tuple[trio.CapacityLimiter, ...]
    _taken: list[trio.CapacityLimiter] = field(factory=list[trio.CapacityLimiter], init=False)
    lent: bool = field(default=False, init=False)

    @property
    def held(self) -> bool:
        return bool(self._taken)

    async def take(self) -> None:
        for limiter in self._limiters:
            await limiter.acquire_on_behalf_of(self)
            self._taken.append(limiter)

    def give_back(self) -> None:
        while self._taken:
            self._taken.pop().release_on_behalf_of(self)

    async def acquire_on_behalf_of(self, _thread: object) -> None:
        """Lend the share to a thread that starts now."""
        self.lent = True

    def release_on_behalf_of(self, _thread: object) -> None:
        """Take the share back from a thread that is over."""
        self.give_back()


@frozen(eq=False)
class _Work:
    """A call of somebody else's code.

    Attributes:
        args: What it was given, of which secrets must not reach the log.
    """

    call: Callable[[], Any]
    in_thread: bool
    args: Mapping[str, Any] = field(factory=dict[str, Any])


@define(eq=False)
class Workbench:
    """Where all tools of the process run.  Lives as long as the process."""

    _threads: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(THREADS))
    # Weak, because tools come and go while the server runs.
    _places: WeakKeyDictionary[Tool, trio.CapacityLimiter] = field(
        factory=WeakKeyDictionary[Tool, trio.CapacityLimiter], init=False
    )
    _abandoned: set[_Share] = field(factory=set["_Share"], init=False)

    @property
    def abandoned(self) -> int:
        """How many threads still run a call that nobody waits for any more."""
        return sum(share.held for share in self._abandoned)

    async def run(self, tool: Tool, args: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run one call to its end; never raises but for a cancel.

        A plain function that is cancelled goes on in its thread; its result is
        thrown away, and its place is free again when it has come back.
        """
        try:
            call = tool.bind(args, context)
        except ArgumentsRefused as refused:
            return _not_done(str(refused))
        return await self._perform(tool, _Work(call, tool.in_thread, args), context)

    async def revert(self, tool: Tool, done: Commitment, context: ToolContext) -> ToolOutput:
        """Undo what *tool* did, as it declares; as `run` otherwise."""
        undo = tool.revert
        if undo is None:
            return _not_done("Nothing can undo this.")
        revert = with_context(undo, context)
        work = _Work(lambda: revert(done), not is_async(undo), done.args)
        return await self._perform(tool, work, context)

    async def settlement(self, tool: Tool, key: str, context: ToolContext) -> Settlement:
        """Ask *tool* what became of *key*; None where it does not say, or can't."""
        status = tool.status
        if status is None:
            return None
        told: list[object] = []
        answer = with_context(status, context)
        if is_async(status):

            async def ask() -> None:
                told.append(await cast("Any", answer(key)))

            work = _Work(ask, in_thread=False)
        else:
            work = _Work(lambda: told.append(answer(key)), in_thread=True)
        await self._perform(tool, work, context)
        match told:
            case [Happened(result)]:
                return Happened(output_of(result, tool.most_result_bytes).result)
            case [NeverHappened(reason)]:  # somebody else's words, whatever they are
                return NeverHappened(_short(str(reason)))
            case _:
                return None

    async def _perform(self, tool: Tool, work: _Work, context: ToolContext) -> ToolOutput:
        place = self._places.setdefault(tool, trio.CapacityLimiter(tool.at_once))
        share = _Share((place, self._threads) if work.in_thread else (place,))
        try:
            with trio.move_on_after(WAIT_LIMIT_S) as wait:
                await share.take()
            if wait.cancelled_caught:
                return _not_done("The tool has more work than it can take; try again later.")
            call = _threaded(work.call, share) if work.in_thread else work.call
            return await _within_time(tool, call, work.args, context)
        finally:
            if not share.lent:
                share.give_back()
            elif share.held:
                self._abandon(share, tool)

    def _abandon(self, share: _Share, tool: Tool) -> None:
        self._abandoned = {share, *(other for other in self._abandoned if other.held)}
        _log.warning("tool.thread_abandoned", tool=tool.name, abandoned=self.abandoned)


def _threaded(call: Callable[[], Any], share: _Share) -> Callable[[], Any]:
    limiter = cast("trio.CapacityLimiter", share)  # trio asks for these two methods alone
    return lambda: trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)


async def _within_time(
    tool: Tool, call: Callable[[], Any], args: Mapping[str, Any], context: ToolContext
) -> ToolOutput:
    timing = trio.CancelScope()
    try:
        with timing:
            timing.deadline = trio.current_time() + tool.timeout_s
            result = await call()
            return output_of(result, tool.most_result_bytes)
    except BaseException as error:  # a tool is somebody else's code: sys.exit() is in it, too
        stopping, failures = _split(error, (trio.Cancelled, KeyboardInterrupt, GeneratorExit))
        if failures is None:
            raise
        told = _told_of(failures, tool, args, context)
        if stopping is not None:
            raise stopping from None
        if not timing.cancelled_caught:
            return told
    message = f"The tool did not finish within {tool.timeout_s:g} s."
    return ToolOutput("timeout", message, message, happened=None)


def _told_of(
    error: BaseException, tool: Tool, args: Mapping[str, Any], context: ToolContext
) -> ToolOutput:
    said, failures = _split(error, (ToolFailed,))
    for failure in islice(_leaves(failures), MOST_LOGGED):
        message = without_secrets(str(failure), tool.secrets, args)
        _log.warning(
            "tool.raised",
            tool=tool.name,
            session=context.session_id,
            turn=context.turn_id,
            error=type(failure).__name__,
            frames="".join(traceback.format_tb(failure.__traceback__)),
            **{"pii.message": message[:MOST_LOGGED_CHARS]},
        )
    words = "; ".join(str(failed) for failed in islice(_leaves(said), MOST_LOGGED))
    words = _short(without_secrets(words, tool.secrets, args))
    if failures is None:  # the tool says itself that it did not do it
        return _not_done(words or FAILED)
    return ToolOutput("error", words or FAILED, words or FAILED, happened=None)


def _split(
    error: BaseException, kinds: tuple[type[BaseException], ...]
) -> tuple[BaseException | None, BaseException | None]:
    """Tell the part of *error* that is of *kinds* from the rest."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(kinds)
    return (error, None) if isinstance(error, kinds) else (None, error)


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    elif error is not None:
        yield error


def _short(words: str) -> str:
    return words if len(words) <= MOST_TOLD_CHARS else words[:MOST_TOLD_CHARS] + " … (cut)"


def _not_done(message: str) -> ToolOutput:
    return ToolOutput("error", message, message, happened=False)
