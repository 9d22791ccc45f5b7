"""The scripts that Redis runs, and how they are called."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Final, TypeAlias

from attrs import frozen

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[bytes, *tuple[Argument, ...]]
"""A command's name and what it is given."""


@frozen
class Script:
    """A script as it lies beside the code; its theory stands on top of it."""

    text: bytes
    digest: bytes

    @classmethod
    def named(cls, name: str, package: str = "bargein.timeline.redis", after: str = "") -> Script:
        """Read the script of this name, which lies in *package*, behind the text of *after*."""
        texts = (files(package).joinpath(f"{part}.lua") for part in (after, name) if part)
        text = b"\n".join(part.read_bytes() for part in texts)
        # Redis names scripts so; nobody is kept out by it.
        return cls(text, sha1(text, usedforsecurity=False).hexdigest().encode())

    def call(self, keys: list[str], *arguments: Argument) -> Command:
        """Return the command that runs it."""
        return (b"EVALSHA", self.digest, len(keys), *keys, *arguments)


APPEND: Final = Script.named("append")
CLAIM: Final = Script.named("claim")
CHAIN: Final = Script.named("chain")
COOL: Final = Script.named("cool")
ERASE: Final = Script.named("erase")
FENCE: Final = Script.named("fence")
INDEX: Final = Script.named("index")
PAGE: Final = Script.named("page")
RELEASE: Final = Script.named("release")
RENEW: Final = Script.named("renew")
SERVE: Final = Script.named("serve")
UNLIST: Final = Script.named("unlist")

LOADS: Final[tuple[Command, ...]] = tuple(
    (b"SCRIPT LOAD", script.text)
    for script in (
        APPEND,
        CHAIN,
        CLAIM,
        COOL,
        ERASE,
        FENCE,
        INDEX,
        PAGE,
        RELEASE,
        RENEW,
        SERVE,
        UNLIST,
    )
)
"""Makes a server know all of them; it forgets them when it ends."""
