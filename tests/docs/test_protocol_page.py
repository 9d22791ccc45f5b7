"""docs/protocol.md against the classes it speaks of, and against a server."""

from __future__ import annotations

import json
import re
from typing import Any

import trio

from bargein.protocol.codec import decode_event
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import COMMANDS, FOR_WATCHERS
from bargein.protocol.contract import document
from bargein.protocol.events import PAYLOADS
from bargein.protocol.frames import FRAMES
from bargein.protocol.lines import HELP
from tests.docs import pages, protocol_tables
from tests.docs.server_process import running
from tests.e2e.client import attached

PAGE = pages.read(protocol_tables.PAGE)
TEST_LIMIT_S = 60.0

SAID_TO_BE_MISSING = {
    "Speech": ("speech.", "audio.", "asr.", "tts."),
    "Commit points": ("action.",),
    "Memory": ("memory.",),
}
"""What the part `Not served yet` says by hand, and the events that would make it untrue."""

BODIES: dict[str, dict[str, Any]] = {
    "say": {"text": "Hello"},
    "speech.start": {"utterance_id": "u1"},
    "speech.stop": {"utterance_id": "u1"},
    "audio.chunk": {"utterance_id": "u1", "index": 0, "format": "pcm16", "data": ""},
    "asr.partial": {"utterance_id": "u1", "revision": 0, "text": "Hel"},
    "asr.final": {"utterance_id": "u1", "revision": 1, "text": "Hello"},
    "playback.start": {"turn_id": "turn_1"},
    "playback.progress": {"turn_id": "turn_1"},
    "playback.stop": {"turn_id": "turn_1"},
    "confirm": {"confirmation_id": "c"},
    "reject": {"confirmation_id": "c"},
    "revert": {"action_id": "a"},
    "ack": {"seq": 1},
    "projection": {"name": "session"},
    "auth": {"token": "t"},
}


def rows(name: str) -> list[str]:
    """Return the first cell of each row in a generated part."""
    part = PAGE.partition(f"<!-- generated: {name} -->")[2].partition("<!-- end -->")[0]
    cells = re.findall(r"^\| ([^|]+?) \|", part, re.MULTILINE)
    return [
        cell.strip("*`") for cell in cells if cell not in ("type", "code", "name", "path", "---")
    ]


def test_the_generated_parts_are_up_to_date():
    assert protocol_tables.generated(PAGE) == PAGE, "run `make docs`"


def test_every_name_of_the_protocol_stands_in_its_table():
    assert rows("events") == list(PAYLOADS)
    assert rows("commands") == list(COMMANDS)
    assert rows("frames") == list(FRAMES)
    assert rows("errors") == [code.value for code in ErrorCode]
    assert rows("closes") == [str(code.value) for code in CloseCode]


def test_everything_of_the_contract_stands_in_a_table():
    contract = document()
    by_sort: dict[str, list[str]] = {"command": [], "event": [], "frame": []}
    for message in contract["components"]["messages"]:
        sort, _, name = message.partition(".")
        by_sort[sort].append(name)
    assert rows("events") == by_sort["event"]
    assert rows("commands") == by_sort["command"]
    assert rows("frames") == by_sort["frame"]
    assert rows("errors") == list(contract["x-error-codes"])
    assert rows("closes") == list(contract["x-close-codes"])
    assert rows("projections") == list(contract["x-projections"])
    assert rows("http") == list(contract["x-http"])
    assert set(protocol_tables.regions(PAGE)) == set(protocol_tables.TABLES)


async def test_a_plain_get_finds_what_the_contract_says():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server:
            for path, said in document()["x-http"].items():
                answer = await asked_plainly(server.port, path)
                assert answer.startswith("HTTP/1.1 200 "), path
                assert f"\r\ncontent-type: {said['content']}" in answer.lower(), path


async def asked_plainly(port: int, path: str) -> str:
    """Return status line and headers of the answer to a GET."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        answer = b"".join([part async for part in stream])
    return answer.partition(b"\r\n\r\n")[0].decode()


def test_what_the_page_says_is_not_served_yet_is_not_written():
    part = PAGE.partition("## Not served yet")[2]
    written = protocol_tables.sent_today()
    for words, prefixes in SAID_TO_BE_MISSING.items():
        if f"- {words}:" in part:
            there = [name for name in written if name.startswith(prefixes)]
            assert there == [], f"mend `{words}` in docs/protocol.md, and the README's list"


def test_the_example_of_an_event_is_an_event():
    (example,) = pages.blocks(PAGE, "json")
    event = decode_event(example.strip().replace("…", "").encode())
    assert event.type == "model.token"


def test_the_lines_for_a_terminal_are_those_that_help_lists():
    part = PAGE.partition("## For people with wscat")[2]
    cells = " ".join(re.findall(r"^\| (`/.*?) \|", part, re.MULTILINE))
    listed = re.findall(r"^/(\w+)(?=\s)", HELP, re.MULTILINE)
    assert re.findall(r"/(\w+)", cells) == listed


async def test_a_command_is_served_unless_the_page_says_that_it_is_not():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, trio.open_nursery() as nursery:
            client = await attached(nursery, server.port)
            refused: set[str] = set()
            for name in COMMANDS:
                answer = await client.ask(name, **BODIES.get(name, {}))
                if answer.type == "error" and answer["error"]["code"] == "unknown_command":
                    refused.add(name)
            assert refused == protocol_tables.NOT_SERVED
            nursery.cancel_scope.cancel()


async def test_a_watcher_may_send_what_the_page_says():
    with trio.fail_after(TEST_LIMIT_S):
        async with (
            running("--limits-strikes-most", "100") as server,
            trio.open_nursery() as nursery,
        ):
            watcher = await attached(nursery, server.port, role="watch")
            allowed: set[str] = set()
            for name in COMMANDS:
                answer = await watcher.ask(name, **BODIES.get(name, {}))
                if answer.type == "reply" or answer["error"]["code"] != "forbidden":
                    allowed.add(name)
            assert allowed == {kind.type for kind in FOR_WATCHERS}
            nursery.cancel_scope.cancel()


VALUES = ("fsync", "server", "none")  # of `durability`, which the sentence names, too


async def test_hello_holds_the_limits_that_the_page_names():
    listed = re.search(r"\*\*`hello\.limits`\*\* holds (.*?)\.\n", PAGE, re.DOTALL)
    assert listed is not None
    names = [name for name in re.findall(r"`(\w+)`", listed[1]) if name not in VALUES]
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, trio.open_nursery() as nursery:
            client = await attached(nursery, server.port)
            assert list(client.hello["limits"]) == names
            nursery.cancel_scope.cancel()


async def test_a_page_of_history_and_a_read_sent_again_are_as_the_page_says():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, trio.open_nursery() as nursery:
            client = await attached(nursery, server.port)
            page = (await client.ask("history", id="h", limit=1))["result"]
            assert set(page) == {"events", "next"}
            assert [event["seq"] for event in page["events"]] == [1]
            assert page["next"] == 1
            before = (await client.ask("projection", id="p", name="session"))["result"]
            await client.converse("Who are you?")
            after = (await client.ask("projection", id="p", name="session"))["result"]
            assert after["seq"] > before["seq"]
            nursery.cancel_scope.cancel()


async def test_pong_comes_before_the_reply_to_its_ping():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server, trio.open_nursery() as nursery:
            client = await attached(nursery, server.port)
            reply = await client.ask("ping", nonce="n")
            pong = await client.until("pong")
            assert json.loads(pong.text)["nonce"] == "n"
            assert pong.place < reply.place
            nursery.cancel_scope.cancel()
