"""Whether Redis can do, and its user may do, all that a server does, asked before it is needed.

An access list that leaves a right out would else be met in the middle of a turn, or when a server
has died and another is to take over. `ACL DRYRUN` would say it, to whoever may use that; so each
command is tried where it changes nothing: Redis looks at rights before it looks at what is asked.
One that is old, or where commands have other names, lacks some: that is met in the same way.
"""

from __future__ import annotations

from typing import Final

from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.redis.keys import LINES, events_key, inbox_key, lease_key, row_key
from bargein.timeline.redis.link import Ask, Refused
from bargein.timeline.redis.scripts import Command
from bargein.timeline.store import StoreUnopened

_KEY: Final = "bargein:{index}:rights"
"""Holds a string while rights are tried, so that nothing else can be made of it."""

KEPT_MS: Final = 10_000

_ON_A_STRING: Final[tuple[Command, ...]] = (
    (b"EXISTS", _KEY),
    (b"GET", _KEY),
    (b"HDEL", _KEY, "f"),
    (b"HEXISTS", _KEY, "f"),
    (b"HGET", _KEY, "f"),
    (b"HGETALL", _KEY),
    (b"HINCRBY", _KEY, "f", 1),
    (b"HKEYS", _KEY),
    (b"HLEN", _KEY),
    (b"HMGET", _KEY, "f"),
    (b"HSET", _KEY, "f", "v"),
    (b"HSETNX", _KEY, "f", "v"),
    (b"LLEN", _KEY),
    (b"LPOS", _KEY, "v"),
    (b"LPUSH", _KEY, "v"),
    (b"LRANGE", _KEY, 0, 0),
    (b"LREM", _KEY, 0, "v"),
    (b"LTRIM", _KEY, 0, 0),
    (b"MGET", _KEY),
    (b"RPUSH", _KEY, "v"),
    (b"SADD", _KEY, "v"),
    (b"SISMEMBER", _KEY, "v"),
    (b"SMEMBERS", _KEY),
    (b"SMISMEMBER", _KEY, "v"),
    (b"SREM", _KEY, "v"),
    (b"TYPE", _KEY),
    (b"XADD", _KEY, "*", "f", "v"),
    (b"XLEN", _KEY),
    (b"XRANGE", _KEY, "-", "+", "COUNT", 1),
    (b"XREAD", "COUNT", 1, "STREAMS", _KEY, "0"),
    (b"XREVRANGE", _KEY, "+", "-", "COUNT", 1),
    (b"XTRIM", _KEY, "MAXLEN", 0),
    (b"ZADD", _KEY, 1, "v"),
    (b"ZCARD", _KEY),
    (b"ZPOPMIN", _KEY),
    (b"ZRANGE", _KEY, 0, 0),
    (b"ZRANGEBYSCORE", _KEY, 0, 0),
    (b"ZREM", _KEY, "v"),
    (b"ZREVRANGE", _KEY, 0, 0),
    (b"ZREVRANGEBYSCORE", _KEY, 0, 0),
    (b"ZSCORE", _KEY, "v"),
)

COMMANDS: Final[tuple[Command, ...]] = (
    (b"SET", _KEY, "v", "PX", KEPT_MS),
    *_ON_A_STRING,
    (b"PING",),
    (b"TIME",),
    (b"WAIT", 0, 1),
    (b"EVAL", "return 0", 0),
    (b"MULTI",),
    (b"EXEC",),
    (b"PERSIST", _KEY),
    (b"PEXPIRE", _KEY, KEPT_MS),
    (b"DEL", _KEY),
    (b"UNLINK", _KEY),
)
"""All that a server and its scripts use, as it changes nothing, but what greets a connection."""

_UNKNOWN: Final = "unknown command"
_NOBODY: Final = "rights"
KEYS: Final = (
    lease_key(NodeId(_NOBODY)),
    inbox_key(NodeId(_NOBODY)),
    row_key(SessionId(_NOBODY)),
    events_key(SessionId(_NOBODY)),
    LINES,
    f"bargein:{{{_NOBODY}}}",
)
"""One of each kind; all but the audit's are nobody's."""


async def require_all(ask: Ask) -> None:
    """Look whether Redis can do, and the user of a connection may do, what servers do.

    Raises:
        LinkLost: If the connection is lost.
        StoreUnopened: If rights or commands are missing; it names them all.
    """
    names = [*(command[0].decode() for command in COMMANDS), *KEYS]
    reaches: list[Command] = [(b"EXISTS", key) for key in KEYS]
    answers = await ask((*COMMANDS, *reaches))
    refused = {
        name: answer
        for name, answer in zip(names, answers, strict=True)
        if isinstance(answer, Refused)
    }
    forbidden = [name for name, answer in refused.items() if answer.is_forbidden]
    unknown = [name for name, answer in refused.items() if _UNKNOWN in answer.text.lower()]
    if forbidden:
        raise StoreUnopened(f"the user of Redis lacks rights: {', '.join(forbidden)}")
    if unknown:
        raise StoreUnopened(f"Redis lacks commands: {', '.join(unknown)}")
