from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from bargein.protocol.events import Effect
from bargein.tools import mcp
from bargein.tools.mcp import HttpServer, McpUnavailable, StdioServer, mcp_tools
from bargein.tools.running import ToolOutput, Workbench
from bargein.tools.tool import Tool, ToolContext, ToolInvalid
from tests.tools.notes import KeptNotes, context

# The SDK leaves its readers of event streams to the garbage collector, their connections closed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HERE = Path(__file__).parent
LIMIT_S = 30


def _stdio(*options: str, **more: Any) -> StdioServer:
    return StdioServer(
        sys.executable, (str(HERE / "mcp_server.py"), "stdio", "-", *options), **more
    )


def _odd(oddity: str) -> StdioServer:
    return StdioServer(
        sys.executable, (str(HERE / "odd_server.py"), oddity), handshake="initialize"
    )


@contextmanager
def _http_server(*options: str) -> Generator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    command = [sys.executable, HERE / "mcp_server.py", "http", str(listener.fileno()), *options]
    process = subprocess.Popen(command, pass_fds=[listener.fileno()])
    listener.close()
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def http_url() -> Generator[str]:
    with _http_server() as url:
        yield url


class Desk:
    """The tools of a server, by name, at a workbench."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self._bench = Workbench()

    async def call(
        self, name: str, args: Mapping[str, Any] | None = None, given: ToolContext | None = None
    ) -> ToolOutput:
        return await self._bench.run(self.tools[name], args or {}, given or context())


@asynccontextmanager
async def _desk(server: StdioServer | HttpServer, **more: Any) -> AsyncGenerator[Desk]:
    with trio.fail_after(LIMIT_S):
        async with mcp_tools(server, **more) as tools:
            yield Desk(tools)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that nobody has taken off the list counts as dead.
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"


# --- what a server offers ------------------------------------------------------------------------


async def test_the_tools_of_a_process_are_tools():
    notes = KeptNotes()
    async with _desk(_stdio()) as desk:
        effects = {name: tool.effect for name, tool in desk.tools.items()}
        assert (effects["echo"], effects["put"], effects["fail"]) == (
            "read",
            "idempotent",
            "side_effect",
        )
        echo, put = desk.tools["echo"], desk.tools["put"]
        assert echo.description == "Say the same."
        assert echo.schema["required"] == ["text"]
        assert not echo.in_thread
        assert put.shown({"amount": 1, "pin": "4711"}) == {"amount": 1, "pin": "[secret]"}
        assert "odd_name_here" in desk.tools

        assert (await desk.call("echo", {"text": "hi ä"})).result == {"result": "hi ä"}
        put_in = await desk.call("put", {"amount": 1, "pin": "4711"})
        assert put_in.result == {"total": 2, "note": "4"}
        assert (await desk.call("odd_name_here")).result == {"result": "odd"}
        failed = await desk.call("fail")
        assert (failed.status, "fail" in failed.text) == ("error", True)
        refused = await desk.call("put", {"amount": "x", "pin": "1"})
        assert refused.status == "error"
        assert "valid integer" in refused.text

        await desk.call("count", {}, context(notes))
        assert notes.told == [("a quarter", 0.25), ("2", None)]
        assert (await desk.call("key", {}, context(key="k-1"))).result == {"result": "k-1"}
        assert (await desk.call("key")).result == {"result": "None"}
        picture = await desk.call("picture")
        assert picture.result == ["look:", {"type": "image", "mime_type": "image/png", "chars": 8}]


@pytest.mark.parametrize("handshake", ["auto", "initialize"])
async def test_the_tools_of_an_http_server_are_tools(http_url: str, handshake: Any):
    notes = KeptNotes()
    async with _desk(HttpServer(http_url, handshake=handshake), prefix="bank_") as desk:
        assert desk.tools["bank_echo"].effect == "read"
        assert (await desk.call("bank_echo", {"text": "hi"})).result == {"result": "hi"}
        await desk.call("bank_count", {}, context(notes))
        assert notes.told == [("a quarter", 0.25), ("2", None)]


async def test_many_calls_over_http_leave_no_descriptors_open(http_url: str):
    async with _desk(HttpServer(http_url)) as desk:
        await desk.call("echo", {"text": "hi"})
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(30):
            assert (await desk.call("echo", {"text": "hi"})).status == "ok"
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


async def test_a_process_sees_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    async with _desk(_stdio(env={"MINE": "1"})) as desk:
        seen = (await desk.call("environment")).text
    assert "ANTHROPIC_API_KEY" not in seen
    assert "MINE" in seen
    assert "PATH" in seen


def test_secrets_of_a_server_are_not_shown():
    assert "canary" not in repr(StdioServer("x", env={"TOKEN": "canary"}))
    assert "canary" not in repr(HttpServer("http://h", {"Authorization": "canary"}))


async def test_what_an_app_knows_of_an_effect_goes_before_the_hint():
    effects: dict[str, Effect] = {"act": "idempotent"}
    async with _desk(_odd("texts"), effects=effects) as desk:
        assert desk.tools["act"].effect == "idempotent"
        assert desk.tools["act"].description == "Act!"


async def test_an_effect_for_a_tool_that_is_not_there_is_refused():
    with pytest.raises(ToolInvalid, match="no such tool"):
        async with _desk(_odd("texts"), effects={"actt": "side_effect"}):
            pass


async def test_names_that_no_model_takes_are_left_out():
    with capture_logs() as logs:
        async with _desk(_odd("names")) as desk:
            assert list(desk.tools) == ["a_b"]
    assert [entry["event"] for entry in logs].count("mcp.tool_left_out") == 3


async def test_what_the_app_raises_comes_out_as_it_is():
    with pytest.raises(ZeroDivisionError):
        async with _desk(_odd("texts")):
            raise ZeroDivisionError


@pytest.mark.parametrize(
    ("oddity", "result"),
    [
        ("texts", "one\ntwo"),
        (
            "blocks",
            [
                "one",
                {"type": "image", "mime_type": "image/png", "chars": 8},
                {"type": "audio", "mime_type": "audio/wav", "chars": 8},
                {"type": "resource_link", "uri": "file:///a.txt", "name": "a"},
                {"type": "resource", "text": "inside"},
                {"type": "resource", "text": None},
            ],
        ),
    ],
)
async def test_what_a_tool_answers_is_kept_as_text_and_json(oddity: str, result: Any):
    async with _desk(_odd(oddity)) as desk:
        output = await desk.call("act")
    assert (output.status, output.result) == ("ok", result)


# --- cancellation ---------------------------------------------------------------------------------


async def _cancel_one(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.call, "hang")
        assert (await desk.call("hanging")).status == "ok"
        nursery.cancel_scope.cancel()
    assert (await desk.call("was_cancelled")).result == {"result": "yes"}


@pytest.mark.parametrize("handshake", ["auto", "initialize"])
async def test_a_process_sees_that_a_call_is_cancelled(handshake: Any):
    async with _desk(_stdio(handshake=handshake)) as desk:
        await _cancel_one(desk)


@pytest.mark.parametrize(
    ("handshake", "options"), [("auto", ()), ("initialize", ()), ("initialize", ("json",))]
)
async def test_an_http_server_sees_that_a_call_is_cancelled(
    handshake: Any, options: tuple[str, ...]
):
    with _http_server(*options) as url:
        async with _desk(HttpServer(url, handshake=handshake)) as desk:
            await _cancel_one(desk)


async def test_a_call_that_takes_too_long_is_cancelled_at_the_server():
    async with _desk(_stdio(), timeout_s=0.5) as desk:
        output = await desk.call("hang")
        assert (output.status, output.text) == ("timeout", "The tool did not finish within 0.5 s.")
        assert (await desk.call("was_cancelled")).result == {"result": "yes"}


async def test_a_cancel_does_not_wait_for_a_server_that_does_not_read():
    async with _desk(_odd("deaf")) as desk:
        began_s = trio.current_time()
        with trio.move_on_after(0.05):
            await desk.call("act", {"text": "x" * 1_000_000})
        assert trio.current_time() - began_s < 1  # the SDK's own patience would be 5 s


# --- failures -------------------------------------------------------------------------------------


async def test_a_server_that_dies_fails_the_call_and_comes_back_for_the_next():
    with capture_logs() as logs:
        async with _desk(_stdio(), pause_s=0) as desk:
            died = await desk.call("die")
            assert died.status == "error"
            assert "whether the call took effect is not known" in died.text
            assert (await desk.call("echo", {"text": "again"})).result == {"result": "again"}
            # It may die as often as it likes.
            assert (await desk.call("die")).status == "error"
            assert (await desk.call("echo", {"text": "again"})).status == "ok"
    lost = [entry for entry in logs if entry["event"] == "mcp.lost"]
    assert [entry["reason"] for entry in lost] == ["it ended the connection"] * 2


async def test_a_server_that_was_killed_while_nobody_called_is_started_again():
    async with _desk(_stdio(), pause_s=0) as desk:
        (pid,) = (await desk.call("pids")).result["result"]
        os.kill(pid, signal.SIGKILL)
        while _is_alive(pid):
            await trio.lowlevel.checkpoint()
        outputs = [await desk.call("echo", {"text": "hi"}) for _ in range(2)]
        assert outputs[-1].status == "ok"


async def test_a_server_that_keeps_failing_is_not_started_in_a_loop():
    async with _desk(_odd("gone"), pause_s=60) as desk:
        assert "not known" in (await desk.call("act")).text
        assert (await desk.call("act")).text == mcp.UNREACHABLE


async def test_the_calls_of_a_server_that_dies_fail_all():
    outputs: list[ToolOutput] = []
    async with _desk(_stdio(), pause_s=60) as desk:

        async def call(name: str) -> None:
            outputs.append(await desk.call(name))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call, "hang")
            await desk.call("hanging")
            await desk.call("die")
    assert [output.status for output in outputs] == ["error"] * 3


async def test_an_http_server_that_restarts_is_found_again():
    listener = socket.create_server(("127.0.0.1", 0))
    fd = listener.fileno()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, HERE / "mcp_server.py", "http", str(fd)]
        return subprocess.Popen(command, pass_fds=[fd])

    process = start()
    try:
        async with _desk(HttpServer(url, handshake="initialize"), pause_s=0) as desk:
            assert (await desk.call("echo", {"text": "hi"})).status == "ok"
            process.kill()
            process.wait(LIMIT_S)
            process = start()
            outputs = [await desk.call("echo", {"text": "hi"}) for _ in range(3)]
            assert outputs[-1].status == "ok"
    finally:
        listener.close()
        process.kill()
        process.wait(LIMIT_S)


async def test_an_http_server_that_is_gone_is_a_failed_call_and_no_crash():
    with _http_server() as url:
        server = HttpServer(url)
        async with _desk(server, pause_s=0) as desk:
            assert (await desk.call("die")).status == "error"
            assert (await desk.call("echo", {"text": "hi"})).text == mcp.UNREACHABLE
            assert (await desk.call("echo", {"text": "hi"})).text == mcp.UNREACHABLE
        with pytest.raises(McpUnavailable) as refused:
            async with _desk(server):
                pass
    assert refused.value.server == url
    assert "Error" in refused.value.reason


async def test_a_tool_that_changed_while_its_server_was_away_is_not_called(tmp_path: Path):
    # The same command, which finds another program the second time.
    program = tmp_path / "server.py"
    original = (HERE / "odd_server.py").read_text("utf-8")
    program.write_text(original, "utf-8")
    server = StdioServer(sys.executable, (str(program), "gone"), handshake="initialize")
    async with _desk(server, pause_s=0) as desk:
        program.write_text(original.replace('"Act!"', '"Obey!"'), "utf-8")
        assert "not known" in (await desk.call("act")).text
        assert (await desk.call("act")).text == mcp.CHANGED


@pytest.mark.parametrize(
    ("oddity", "words"),
    [
        ("wrong", "something that is no answer"),
        ("mismatch", "something that is no answer"),
        ("refuses", "The tool's server refused: not so"),
        ("wordless", "The tool failed."),
        ("flood", "ended before it answered"),
        ("endless", "ended before it answered"),
        ("gone", "ended before it answered"),
    ],
)
async def test_nonsense_is_a_failed_call_and_no_crash(oddity: str, words: str):
    async with _desk(_odd(oddity), timeout_s=3) as desk:
        output = await desk.call("act")
    assert output.status in ("error", "timeout")
    assert words in output.text


async def test_a_server_that_stops_reading_is_lost_as_soon_as_it_is_told_something():
    async with _desk(_odd("shut"), timeout_s=0.5, pause_s=0) as desk:
        assert (await desk.call("act")).status == "timeout"
        assert "ended before it answered" in (await desk.call("act")).text


async def test_a_few_stray_lines_are_no_harm():
    async with _desk(_odd("stray")) as desk:
        assert (await desk.call("act")).text == "done"


async def test_a_server_may_complain_as_long_as_it_likes():
    with capture_logs() as logs:
        async with _desk(_stdio()) as desk:
            assert (await desk.call("complain")).result == {"result": "complained"}
    assert "a complaint" in [entry.get("pii.text") for entry in logs]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (StdioServer("/no/such/program"), "FileNotFoundError"),
        (StdioServer(sys.executable, ("-c", "pass")), "Connection closed"),
        (_odd("many"), "more than 256 tools"),
        (_odd("pages"), "more than 256 tools, or than 32 pages"),
        (HttpServer("http://user:canary@127.0.0.1:1/mcp?key=canary"), "ConnectError"),
        (HttpServer("ftp://127.0.0.1/mcp"), "UnsupportedProtocol"),
    ],
)
async def test_a_server_that_can_t_be_had_is_told_at_the_start(server: Any, reason: str):
    with pytest.raises(McpUnavailable) as refused:
        async with _desk(server):
            pass
    assert reason in refused.value.reason
    assert "canary" not in str(refused.value)


async def test_a_server_that_never_answers_is_given_up():
    with pytest.raises(McpUnavailable, match=r"it did not answer within 0\.5 s"):
        async with _desk(_odd("mute"), connect_limit_s=0.5):
            pass


async def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mcp, "_CLIENT", "bargein.tools.nothing_here")
    with pytest.raises(McpUnavailable, match="extra `mcp`"):
        async with _desk(_stdio()):
            pass


# --- the end --------------------------------------------------------------------------------------


async def test_a_tool_that_is_called_after_the_end_fails():
    async with _desk(_odd("texts")) as desk:
        pass
    assert (await desk.call("act")).text == mcp.UNREACHABLE


async def test_calls_under_way_fail_at_the_end():
    outputs: list[ToolOutput] = []
    async with trio.open_nursery() as nursery, _desk(_stdio()) as desk:

        async def call() -> None:
            outputs.append(await desk.call("hang"))

        nursery.start_soon(call)
        await desk.call("hanging")
    assert [output.status for output in outputs] == ["error"]


async def test_a_process_ends_with_its_group():
    async with _desk(_stdio("children")) as desk:
        pids = (await desk.call("pids")).result["result"]
        assert len(pids) == 2
        assert all(map(_is_alive, pids))
    assert not any(map(_is_alive, pids))


async def test_a_process_that_does_not_want_to_end_is_killed_even_when_we_are_cancelled():
    pid = 0
    with trio.CancelScope() as server:
        async with _desk(_stdio("stubborn")) as desk:
            (pid,) = (await desk.call("pids")).result["result"]
            server.cancel()
            await trio.lowlevel.checkpoint()
    assert server.cancelled_caught
    assert pid
    assert not _is_alive(pid)


async def test_a_cancel_while_connecting_leaves_no_process(tmp_path: Path):
    marker = tmp_path / "pid"
    code = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with trio.CancelScope() as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_use, StdioServer(sys.executable, ("-c", code)))
            while not (marker.exists() and marker.read_text()):
                await trio.lowlevel.checkpoint()
            waiting.cancel()
    assert waiting.cancelled_caught
    assert not _is_alive(int(marker.read_text()))


async def _use(server: StdioServer) -> None:
    async with _desk(server):
        pass
