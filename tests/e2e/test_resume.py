"""Connections cut at random points.  `BARGEIN_TEST_SEED` sets at which."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from tests.e2e.client import path_of
from tests.e2e.evidence import check_timeline
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import BRIEF, by_words, words
from tests.fakes.anthropic_answers import saying
from tests.gateway.raw_client import TEXT, RawClient, dial, request
from tests.scale import scaled

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
CUTTERS = 4
CUTS = scaled(1000) // CUTTERS
LONG = saying(*words(2000), interval_s=0.005)


@define(eq=False)
class Cutter:
    """A client whose connection is cut after random numbers of bytes, and which resumes."""

    world: World
    session_id: str
    epoch: str
    chance: random.Random
    seen: list[bytes] = field(factory=list[bytes])
    replayed: int = 0

    async def run(self, cuts: int) -> None:
        for _ in range(cuts):
            await self.visit(self.chance.choice((0, 300, 1000, 5000)) + self.chance.randrange(3000))

    async def visit(self, size: int) -> None:
        """Resume, take about *size* bytes, and cut the connection, mostly inside a frame."""
        query = {"after": len(self.seen), "epoch": self.epoch, "role": "watch"}
        client = await dial(self.world.port)
        try:
            await client.send(request(path_of(self.session_id, query)))
            await client.read_head()
            with trio.move_on_after(0.2):  # a quiet moment of the session is cut, too
                while len(client.received) < size:
                    client.received += await client.stream.receive_some()
        finally:
            await trio.aclose_forcefully(client.stream)
        self.take(client)

    def take(self, client: RawClient) -> None:
        for place, text in enumerate(whole_frames(client)):
            frame: dict[str, Any] = json.loads(text)
            if "event_id" in frame:
                assert frame["seq"] == len(self.seen) + 1
                self.seen.append(text)
            elif frame["type"] == "hello":
                assert place == 0
                assert frame["resumed"] is True
                assert frame["replay_from"] == len(self.seen) + 1
                self.replayed = frame["replay_to"]
            elif frame["type"] == "live":
                assert frame["seq"] == len(self.seen) == self.replayed


def whole_frames(client: RawClient) -> list[bytes]:
    """Return the text frames that came whole; the rest of the bytes was cut off."""
    texts: list[bytes] = []
    left = bytes(client.received)
    while len(left) >= 2:
        size, start = left[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(left[2:start])
        if len(left) < start + size:
            break
        if left[0] & 0x0F == TEXT:
            texts.append(left[start : start + size])
        left = left[start + size :]
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["memory", "sqlite"])
async def test_connections_cut_at_random_points_resume_with_the_exact_suffix(
    stored: str, tmp_path: Path
):
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    store = tmp_path / "a.sqlite3" if stored == "sqlite" else None
    async with world(by_words({"Long": LONG}), store=store, deadline_s=600) as w:
        alice = await w.attach()
        talking = trio.CancelScope()

        async def talk() -> None:
            with talking:
                while True:
                    turn_id = (await alice.say("Long story"))["result"]["turn_id"]
                    await trio.sleep(0.5)
                    await alice.ask("interrupt", turn_id=turn_id)

        cutters = [
            Cutter(w, alice.session_id, alice.epoch, random.Random(SEED * CUTTERS + number))  # noqa: S311
            for number in range(CUTTERS)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            async with trio.open_nursery() as cutting:
                for cutter in cutters:
                    cutting.start_soon(cutter.run, CUTS)
            talking.cancel()
        await alice.ask("interrupt")
        timeline = [event.frame for event in await w.timeline(alice.session_id)]
        check_timeline(timeline)
        for cutter in cutters:
            assert len(cutter.seen) > 100
            assert cutter.seen == timeline[: len(cutter.seen)]


async def test_after_beyond_the_end_is_no_resume_and_replays_from_1():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        bob = await w.attach(alice.session_id, after=alice.last_seq + 100, epoch=alice.epoch)
        assert bob.hello["resumed"] is False
        assert bob.hello["replay_from"] == 1
        assert [event.seq for event in bob.events][:3] == [1, 2, 3]


async def test_the_epoch_of_another_history_is_no_resume_and_replays_from_1():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        bob = await w.attach(alice.session_id, after=3, epoch="other")
        assert bob.hello["resumed"] is False
        assert [event.seq for event in bob.events][:3] == [1, 2, 3]


@pytest.mark.parametrize("with_epoch", [True, False])
async def test_a_resume_at_the_very_end_replays_nothing(with_epoch: bool):
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        epoch = alice.epoch if with_epoch else None
        bob = await w.attach(alice.session_id, after=alice.last_seq, epoch=epoch)
        assert bob.hello["resumed"] is True
        assert [frame.type for frame in bob.frames] == ["hello", "live", "session.attached"]


async def test_without_after_everything_is_replayed_and_it_is_no_resume():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        bob = await w.attach(alice.session_id)
        assert bob.hello["resumed"] is False
        replayed = [event.text for event in bob.events if event.seq <= alice.last_seq - 1]
        assert replayed == [event.text for event in alice.events][: len(replayed)]
        assert len(replayed) >= 10


@pytest.mark.parametrize("after", ["-1", "1.5", "x", "", "99999999999999999"])
async def test_after_that_is_no_seq_is_refused_before_the_upgrade(after: str):
    async with world([BRIEF]) as w:
        alice = await w.attach()
        raw = await dial(w.port)
        await raw.send(request(f"/v1/session/{alice.session_id}?after={after}"))
        assert (await raw.read_to_end()).startswith(b"HTTP/1.1 400 ")
        await trio.aclose_forcefully(raw.stream)


async def test_a_turn_goes_on_without_its_client_and_is_whole_for_who_comes_back():
    answer = saying(*words(60), interval_s=0.005)
    async with world([answer]) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Go on"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        await alice.cut()
        await eventually(lambda: w.api.exchanges[0].finished)
        back = await w.back(alice)
        await back.until("turn.trace", turn_id=turn_id)
        assert alice.answer_of(turn_id) + back.answer_of(turn_id) == "".join(words(60))


async def test_a_history_page_is_the_timeline_and_says_where_to_go_on():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        texts = [event.body for event in alice.events]
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = (await alice.ask("history", after=after, limit=4))["result"]
            assert len(page["events"]) <= 4
            found += page["events"]
            after = page["next"]
        assert found == texts
