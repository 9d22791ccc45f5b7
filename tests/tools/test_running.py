from __future__ import annotations

import math
import sys
import threading
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from bargein.tools.running import THREADS, WAIT_LIMIT_S, ToolOutput, Workbench, output_of
from bargein.tools.tool import SECRET, Tool, ToolContext, ToolFailed, tool
from tests.tools.notes import KeptNotes, context

CANARY = "canary-4711"
NONE: dict[str, Any] = {}
BUSY = "The tool has more work than it can take; try again later."


async def _run(made: Tool, args: Mapping[str, Any] | None = None) -> ToolOutput:
    return await Workbench().run(made, args or {}, context())


# --- results and failures -----------------------------------------------------------------------


async def test_a_tool_runs_and_its_result_is_kept():
    @tool
    async def add(a: int, b: int) -> int:
        return a + b

    assert await _run(add, {"a": 1, "b": 2}) == ToolOutput("ok", 3, "3")


async def test_a_plain_tool_runs_in_a_thread_of_its_own():
    @tool
    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert (await _run(where)).result is False


async def test_a_tool_may_tell_how_far_it_is():
    notes = KeptNotes()

    @tool
    async def slow(call: ToolContext) -> None:
        call.notes.progress("half", 0.5)

    await Workbench().run(slow, {}, context(notes))
    assert notes.told == [("half", 0.5)]


async def test_arguments_that_don_t_fit_are_told_and_the_tool_does_not_start():
    started: list[int] = []

    @tool
    async def act(n: int) -> None:
        started.append(n)

    output = await _run(act, {"n": True})
    assert output.status == "error"
    assert "Expected `int`, got `bool`" in output.text
    assert started == []


@pytest.mark.parametrize(("words", "told"), [("no such account", None), ("", "The tool failed.")])
async def test_a_tool_says_itself_why_it_failed(words: str, told: str | None):
    @tool
    async def act() -> None:
        raise ToolFailed(words)

    with capture_logs() as logs:
        output = await _run(act)
    assert output == ToolOutput("error", told or words, told or words, happened=False)
    assert logs == []


def _leaving() -> None:
    sys.exit("bye")


def _stopping() -> None:
    raise StopIteration


def _raising() -> None:
    raise ValueError(CANARY)


def _grouped() -> None:
    raise ExceptionGroup("several", [ValueError(CANARY), KeyError("k")])


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (_raising, ["ValueError"]),
        (_leaving, ["SystemExit"]),
        (_stopping, ["RuntimeError"]),
        (_grouped, ["ValueError", "KeyError"]),
    ],
)
@pytest.mark.parametrize("in_thread", [False, True])
async def test_whatever_a_tool_raises_the_agent_learns_that_it_failed(
    fault: Any, kinds: list[str], in_thread: bool
):
    async def act() -> None:
        fault()

    made = tool(fault if in_thread else act)
    with capture_logs() as logs:
        output = await Workbench().run(made, NONE, context())
    assert output == ToolOutput("error", "The tool failed.", "The tool failed.", happened=None)
    assert [entry["error"] for entry in logs] == kinds
    assert all(entry["event"] == "tool.raised" for entry in logs)
    assert all(CANARY not in str({**entry, "pii.message": ""}) for entry in logs)
    if fault is _raising:
        assert "in _raising" in logs[0]["frames"]
        assert logs[0]["pii.message"] == CANARY


async def test_a_tool_that_fails_in_a_nursery_says_why():
    @tool
    async def act() -> None:
        async with trio.open_nursery():
            raise ToolFailed("no such account")

    assert (await _run(act)).text == "no such account"


async def test_a_group_is_logged_but_for_what_the_tool_says_itself():
    @tool
    async def act() -> None:
        raise ExceptionGroup("two", [ToolFailed("no such account"), ValueError("v")])

    with capture_logs() as logs:
        assert (await _run(act)).text == "no such account"
    assert [entry["error"] for entry in logs] == ["ValueError"]


async def test_at_most_five_errors_of_a_group_are_logged():
    @tool
    async def act() -> None:
        raise ExceptionGroup("many", [ValueError(str(n)) for n in range(20)])

    with capture_logs() as logs:
        await _run(act)
    assert len(logs) == 5


async def test_secret_arguments_are_in_no_log():
    @tool
    async def log_in(
        password: Annotated[str, SECRET],
        codes: Annotated[list[str], SECRET],
        more: Annotated[dict[str, int], SECRET],
        empty: Annotated[str, SECRET] = "",
    ) -> None:
        raise ValueError(f"{password} {codes} {more} {empty}")

    args = {"password": "pw-4711", "codes": ["c-4712"], "more": {"x": 4713}, "empty": ""}
    with capture_logs() as logs:
        await _run(log_in, args)
    assert logs[0]["pii.message"] == "[secret] ['[secret]'] {'x': [secret]} "
    assert all(canary not in str(logs) for canary in ("4711", "4712", "4713"))


async def test_a_result_that_can_t_be_read_is_the_tool_s_failure():
    class Torn(dict[str, int]):
        def items(self) -> Any:
            raise OSError("torn")

    @tool
    async def act() -> Any:
        return Torn()

    assert (await _run(act)).text == "The tool failed."


async def test_a_result_that_is_too_long_is_cut():
    @tool(most_result_bytes=3)
    async def act() -> str:
        return "abcdef"

    output = await _run(act)
    assert output == output_of("abcdef", 3)
    assert output.result["text"] == "abc"


async def test_a_plain_function_that_returns_a_coroutine_is_a_failure():
    async def later() -> int:
        return 1

    @tool
    def act() -> Any:
        return later()

    assert (await _run(act)).status == "error"


# --- time and cancellation ----------------------------------------------------------------------


async def test_a_tool_that_hangs_is_stopped_after_its_time(autojump_clock: MockClock):
    @tool(timeout_s=7)
    async def hang() -> None:
        await trio.sleep_forever()

    output = await _run(hang)
    assert trio.current_time() == 7
    assert output.status == "timeout"
    assert output.text == output.result == "The tool did not finish within 7 s."


async def test_a_tool_that_fails_while_it_is_stopped_has_timed_out(autojump_clock: MockClock):
    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("late")

    @tool(timeout_s=7)
    async def hang() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            nursery.start_soon(trio.sleep_forever)

    with capture_logs() as logs:
        output = await _run(hang)
    assert output.status == "timeout"
    assert [entry["error"] for entry in logs] == ["OSError"]


async def test_a_cancel_passes_on_and_leaves_no_place_taken():
    bench = Workbench()
    running = trio.Event()

    @tool(at_once=1)
    async def hang(n: int) -> int:
        running.set()
        if n == 0:
            await trio.sleep_forever()
        return n

    with trio.CancelScope() as turn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run, hang, {"n": 0}, context())
            await running.wait()
            turn.cancel()
    assert turn.cancelled_caught
    with trio.fail_after(5):
        assert (await bench.run(hang, {"n": 1}, context())).result == 1


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_call_that_is_cancelled_before_it_starts_leaves_no_place_taken(in_thread: bool):
    bench = Workbench()

    def act() -> int:
        return 1

    async def act_async() -> int:
        return 1

    made = tool(at_once=1)(act if in_thread else act_async)
    with trio.CancelScope() as turn:
        turn.cancel()
        await bench.run(made, NONE, context())
    assert turn.cancelled_caught
    assert (await bench.run(made, NONE, context())).result == 1
    assert bench.abandoned == 0


async def test_a_cancel_while_a_call_waits_for_its_place_leaves_nothing_taken():
    bench = Workbench(trio.CapacityLimiter(1))
    release = threading.Event()
    started = trio.Event()
    token = trio.lowlevel.current_trio_token()

    @tool
    def hold() -> str:
        token.run_sync_soon(started.set)
        release.wait(10)
        return "held"

    @tool(at_once=1)
    def other() -> str:
        return "ran"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run, hold, NONE, context())
        await started.wait()
        with trio.CancelScope() as turn:  # it has its place, and waits for the thread
            nursery.start_soon(_cancel_when_blocked, turn)
            await bench.run(other, NONE, context())
        assert turn.cancelled_caught
        release.set()
    assert (await bench.run(other, NONE, context())).result == "ran"


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_cancel_that_meets_a_failure_passes_on_without_it():
    running = trio.Event()

    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("late")

    @tool
    async def act() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            nursery.start_soon(trio.sleep_forever)
            running.set()

    with capture_logs() as logs, trio.CancelScope() as turn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, act)
            await running.wait()
            await trio.testing.wait_all_tasks_blocked()
            turn.cancel()
    assert turn.cancelled_caught
    assert [entry["error"] for entry in logs] == ["OSError"]


async def test_ctrl_c_in_a_tool_stops_the_process_and_not_the_tool():
    @tool
    async def act() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await _run(act)


# --- places and threads ------------------------------------------------------------------------


async def test_no_more_calls_of_a_tool_run_than_it_allows(autojump_clock: MockClock):
    bench = Workbench()
    most = now = 0

    @tool(at_once=2)
    async def act() -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await trio.sleep(1)
        now -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(bench.run, act, NONE, context())
    assert most == 2
    assert trio.current_time() == 3


async def test_a_call_without_a_place_gives_up_after_5_s(autojump_clock: MockClock):
    bench = Workbench()

    @tool(at_once=1)
    async def act() -> None:
        await trio.sleep(20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run, act, NONE, context())
        await trio.sleep(1)
        output = await bench.run(act, NONE, context())
        assert output == ToolOutput("error", BUSY, BUSY, happened=False)
        assert trio.current_time() == 1 + WAIT_LIMIT_S


async def test_the_same_context_may_be_in_two_calls(autojump_clock: MockClock):
    bench, same = Workbench(), context()

    @tool
    async def act() -> None:
        await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run, act, NONE, same)
        nursery.start_soon(bench.run, act, NONE, same)
    assert trio.current_time() == 1


async def test_with_40_hung_tools_another_gives_up_after_5_s(autojump_clock: MockClock):
    bench = Workbench()
    release = threading.Event()

    def hang() -> str:
        release.wait(30)
        return "back"

    hung = [tool(timeout_s=60)(hang) for _ in range(THREADS // 4)]
    other = tool(hang)
    quick = tool(_nothing)
    outputs: list[ToolOutput] = []

    async def call(made: Tool) -> None:
        outputs.append(await bench.run(made, NONE, context()))

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for made in hung * 4:
                nursery.start_soon(call, made)
            await trio.testing.wait_all_tasks_blocked()
            began_s = trio.current_time()
            assert (await bench.run(other, NONE, context())).text == BUSY
            assert trio.current_time() == began_s + WAIT_LIMIT_S
            # Other tools don't need a thread, and don't notice.
            assert (await bench.run(quick, NONE, context())).status == "ok"
    assert [output.status for output in outputs] == ["timeout"] * THREADS
    assert bench.abandoned == THREADS
    assert (await bench.run(other, NONE, context())).text == BUSY
    # The threads are real, so the virtual clock must stand still while they come back.
    autojump_clock.autojump_threshold = math.inf
    release.set()
    while bench.abandoned:
        await trio.lowlevel.checkpoint()
    assert (await bench.run(other, NONE, context())).result == "back"


async def _nothing() -> None: ...


async def test_an_abandoned_thread_keeps_its_place_until_it_is_back():
    bench = Workbench()
    release, started = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    @tool(at_once=1)
    def hold(wait: bool) -> str:
        if wait:
            token.run_sync_soon(started.set)
            release.wait(10)
        return "back"

    with capture_logs() as logs, trio.CancelScope() as turn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run, hold, {"wait": True}, context())
            await started.wait()
            turn.cancel()
    assert bench.abandoned == 1
    assert logs == [
        {
            "event": "tool.thread_abandoned",
            "log_level": "warning",
            "tool": "hold",
            "abandoned": 1,
        }
    ]
    async with trio.open_nursery() as nursery:
        outputs: list[ToolOutput] = []

        async def call() -> None:
            outputs.append(await bench.run(hold, {"wait": False}, context()))

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        assert outputs == []  # it waits for the place
        release.set()
    assert [output.result for output in outputs] == ["back"]
    assert bench.abandoned == 0


async def test_the_result_of_an_abandoned_thread_is_thrown_away():
    bench = Workbench()
    release, started = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    @tool
    def hold() -> None:
        token.run_sync_soon(started.set)
        release.wait(10)
        raise ValueError("nobody hears this")

    with capture_logs() as logs, trio.CancelScope() as turn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run, hold, NONE, context())
            await started.wait()
            turn.cancel()
    release.set()
    with trio.fail_after(5):
        while bench.abandoned:
            await trio.lowlevel.checkpoint()
    assert [entry["event"] for entry in logs] == ["tool.thread_abandoned"]


async def test_tools_that_are_gone_leave_nothing_behind():
    bench = Workbench()
    for _ in range(10):
        await bench.run(tool(_nothing), NONE, context())
    assert len(bench._places) == 0  # pyright: ignore[reportPrivateUsage]
