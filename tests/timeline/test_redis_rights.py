"""A server is told at its start what the user of Redis may not do, whatever that is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

import bargein.cluster
import bargein.timeline.redis
from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.redis.keys import HEAD, NODES, inbox_key, row_key
from bargein.timeline.redis.rights import COMMANDS
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreUnopened
from tests.timeline.appends import A, Notes, running
from tests.timeline.redis_server import IN_MEMORY, RedisServer, redis_server

LATEST_S = 60.0
PASSWORD = "hunter22"  # noqa: S105 - of a server that lives as long as a test
DOCUMENTED = "~bargein:* +@read +@write +@connection +@transaction +@scripting +info +time +wait"
GREETING = {"INFO", "SCRIPT LOAD", "SENTINEL", "EVALSHA"}
"""What is refused by itself when a connection is greeted."""


def address_of(server: RedisServer, *rights: str) -> Address:
    server.say("ACL", "SETUSER", "bargein", "reset", "on", f">{PASSWORD}", *rights)
    return Address("127.0.0.1", server.port, user="bargein", password=PASSWORD)


async def refusal_of(address: Address) -> str:
    with pytest.RaisesGroup(StoreUnopened, flatten_subgroups=True) as caught:
        async with running(RedisStore(address)):
            pass
    return str(caught.value.exceptions[0])


def test_all_that_is_asked_of_redis_is_tried() -> None:
    folders = [Path(package.__path__[0]) for package in (bargein.cluster, bargein.timeline.redis)]
    tried = {command[0].decode() for command in COMMANDS}
    assert set(used_in(folders)) - GREETING <= tried


def used_in(folders: Iterable[Path]) -> Iterable[str]:
    """Return the names of all commands that stand in scripts, and in Python as they are sent."""
    for folder in folders:
        for script in folder.glob("*.lua"):
            yield from re.findall(r"redis\.p?call\('([A-Z]+)'", script.read_text(encoding="utf-8"))
        for module in folder.glob("*.py"):
            text = module.read_text(encoding="utf-8")
            yield from re.findall(r"\(\s*b\"([A-Z]+(?: [A-Z]+)?)\",", text)


async def test_each_command_that_may_not_be_used_is_named(tmp_path: Path) -> None:
    names = {command[0].decode().lower() for command in COMMANDS}
    with redis_server(tmp_path / "acl") as server, trio.fail_after(LATEST_S):
        for name in sorted(names):
            said = await refusal_of(address_of(server, "~*", "+@all", f"-{name}"))
            assert f"lacks rights: {name.upper()}" in said
        said = await refusal_of(address_of(server, "~*", "+@all", "-wait", "-zscore", "-multi"))
        assert "lacks rights: ZSCORE, WAIT, MULTI" in said


async def test_each_command_that_redis_does_not_have_is_named(tmp_path: Path) -> None:
    gone = ("UNLINK", "SMISMEMBER", "ZSCORE")
    other_names = [word for name in gone for word in ("--rename-command", name, f"X{name}")]
    with redis_server(tmp_path / "old", *IN_MEMORY, *other_names) as server:
        with trio.fail_after(LATEST_S):
            said = await refusal_of(Address("127.0.0.1", server.port))
    assert said.endswith("Redis lacks commands: SMISMEMBER, ZSCORE, UNLINK")


async def test_a_key_that_may_not_be_reached_is_named(tmp_path: Path) -> None:
    node, session = NodeId("rights"), SessionId("rights")
    with redis_server(tmp_path / "acl") as server, trio.fail_after(LATEST_S):
        only = ("~bargein:{index}:*", "~bargein:{node:*", "~bargein:{audit}:*", "+@all")
        said = await refusal_of(address_of(server, *only))
        assert row_key(session) in said
        assert inbox_key(node) not in said
        assert HEAD not in said


async def test_a_user_with_the_documented_rights_is_let_in_and_nothing_is_left_of_the_try(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "acl") as server, trio.fail_after(LATEST_S):
        store = RedisStore(address_of(server, *DOCUMENTED.split()))
        async with running(store):
            await notes.stored(store, A, 1, 3)
            assert server.say("KEYS", "*rights*") == b"*0\r\n"
        assert server.say("EXISTS", NODES) == b":0\r\n"
    operations = Path(bargein.cluster.__path__[0]).parent / "docs" / "operations.md"
    assert DOCUMENTED in operations.read_text(encoding="utf-8")
