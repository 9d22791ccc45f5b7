"""A process that remembers, forgets and undoes until it is killed, and says what is done.

Where it does so is the path of a file, or the URL of a Redis.

It waits for a line on its standard input before it opens the memory, so that a test may start
it early.  Then each line that it prints is what is remembered under a key, after a change of
that key has returned; and before each change, in a line of its own, what it is about to be.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import trio

from bargein.cluster.redis_facts import RedisFacts
from bargein.memory.facts import Facts, Owner, Wish
from bargein.memory.sqlite import SqliteFacts
from bargein.timeline.redis_address import Address
from tests.memory.facts import forget, save, ticking, undo

KEYS = 6
STDOUT = 1
NOTHING = "-"


def facts_at(place: str) -> Facts:
    if place.startswith("redis:"):
        return RedisFacts(Address.of(place), ticking())
    return SqliteFacts(Path(place), ticking())


async def change_for_ever(facts: Facts, key: str, run: str, chance: random.Random) -> None:
    owner = Owner(f"owner of {key}")
    number = 0
    while True:
        number += 1
        now = {fact.key: fact.text for fact in await facts.of(owner)}.get(key, NOTHING)
        kind = "save" if now == NOTHING else chance.choice(("save", "forget", "undo"))
        done_key = f"{run}.{number}"
        wish: Wish
        if kind == "undo":
            (*_, last) = await facts.changes(owner)
            wish, after = undo(last.source.done_key), last.before
            then = NOTHING if after is None else after.text
        elif kind == "forget":
            wish, then = forget(key, done_key), NOTHING
        else:
            wish, then = save(key, f"{key}/{done_key}", done_key), f"{key}/{done_key}"
        os.write(STDOUT, f"about {key} {then} {wish.source.done_key}\n".encode())
        await facts.change(owner, wish)
        os.write(STDOUT, f"done {key} {then} {wish.source.done_key}\n".encode())


async def main(place: str, run: str) -> None:
    facts = facts_at(place)
    async with trio.open_nursery() as nursery:
        await nursery.start(facts.run)
        for number in range(KEYS):
            chance = random.Random(f"{run} {number}")  # noqa: S311
            nursery.start_soon(change_for_ever, facts, f"key_{number}", run, chance)


if __name__ == "__main__":
    sys.stdin.readline()
    trio.run(main, sys.argv[1], sys.argv[2])
