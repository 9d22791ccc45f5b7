from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.bench.arrival import made_in_s
from examples.bench.bot import Habits
from examples.bench.contenders import CONTENDERS, FASTAPI, NODE, Contender, why_not
from examples.bench.crowd import gathered
from examples.bench.diary import Asked, Diary
from examples.bench.figures import Cut, Tally, Turn
from examples.bench.ground import until
from examples.bench.link import Link, connect
from examples.bench.peer_ear import TOKEN, PeerEar
from examples.bench.stage import Play
from tests.bench.peers import peer

PLAY = Play(4, tokens=100, interval_ms=5, first_ms=10)
SAID = [f"token{number:02d}" for number in range(1, 100)]
WORDS = b'{"type":"say","id":"%d","text":"Hello."}'


async def frames(link: Link, *last: str) -> list[dict[str, Any]]:
    """Read until there is a frame of one of these types, and all that came with it."""
    heard: list[dict[str, Any]] = []
    messages = link.early()
    while True:
        heard += [msgspec.json.decode(message) for message in messages]
        if any(frame["type"] in last for frame in heard):
            return heard
        messages = await link.read()


def spoken(heard: list[dict[str, Any]]) -> str:
    return "".join(frame["text"] for frame in heard if frame["type"] == "token")


def kinds(heard: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in heard if frame["type"] != "token"]


async def hear_it_whole(link: Link) -> None:
    await link.send(WORDS % 1)
    whole = await frames(link, "done")
    assert whole[0] == {"type": "started", "id": "1", "turn": 1}
    assert whole[-1] == {"type": "done", "turn": 1}
    first, *others = spoken(whole).split()
    assert made_in_s(first.encode()) is not None
    assert others == SAID


async def interrupt(link: Link) -> bool:
    """Interrupt an answer; return False if it was over before, as on a machine that is busy."""
    await link.send(WORDS % 2)
    heard = await frames(link, "token")
    await link.send(b'{"type":"interrupt","id":"3"}')
    if "done" not in kinds(heard):
        heard += await frames(link, "stopped", "done")
    if "done" in kinds(heard):
        if "idle" not in kinds(heard):
            assert kinds(await frames(link, "idle")) == ["idle"]
        return False
    assert kinds(heard) == ["started", "stopped"]
    assert heard[-1]["type"] == "stopped"
    said = spoken(heard).split()[1:]
    assert said == SAID[: len(said)]
    return True


async def cut_in(link: Link) -> bool:
    """Cut in on an answer with new words; return False if it was over before."""
    await link.send(WORDS % 5)
    heard = await frames(link, "token")
    await link.send(WORDS % 6)
    while kinds(heard).count("started") < 2 or kinds(heard)[-1] != "done":
        heard += await frames(link, "started", "done")
    if kinds(heard) == ["started", "done", "started", "done"]:
        return False
    assert kinds(heard) == ["started", "stopped", "started", "done"]
    return True


async def converse(url: str) -> None:
    """Hear an answer whole, interrupt one, cut in on one with words, interrupt nothing."""
    link = await connect(url)
    assert await frames(link, "ready") == [{"type": "ready"}]
    await hear_it_whole(link)
    while not await interrupt(link):
        pass
    await link.send(b'{"type":"interrupt","id":"4"}')
    assert await frames(link, "idle") == [{"type": "idle", "id": "4"}]
    while not await cut_in(link):
        pass
    await link.aclose()


@pytest.mark.slow
@pytest.mark.parametrize("contender", [NODE, FASTAPI], ids=lambda each: each.name)
async def test_a_peer_streams_and_stops_and_bots_can_measure_it(
    contender: Contender, tmp_path: Path
):
    habits = Habits(interrupt_share=0.6, moments_s=(0.02, 0.4), storm_share=0.1)
    async with peer(contender, tmp_path, PLAY) as stage:
        await converse(stage.url)
        async with gathered(stage.url, 4, habits, spread_s=0.1, ear_of=contender.ear_of) as crowd:
            crowd.begin.set()
            await until(lambda: crowd.tally.interrupts > 10 and crowd.tally.completed > 2, 0.02)
            report = crowd.report(PLAY.first_ms / 1000)
    assert (report.connected, report.errors, report.ghosts) == (4, {}, 0)
    assert report.ack_ms is not None
    assert report.added_first_token_ms is not None
    assert report.flush_ms is None


def test_every_contender_can_run_where_all_is_installed():
    assert [contender.name for contender in CONTENDERS] == ["bargein", "Node", "FastAPI"]
    assert [why_not(contender) for contender in CONTENDERS if contender is not NODE] == [None] * 2


# --- what is heard of them ------------------------------------------------------------


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def ear(tally: Tally) -> PeerEar:
    ear = PeerEar(Diary(lambda: tally))
    ear.diary.asked["c1"] = Asked(Turn(10.0, barged_in=False), None)
    ear.take([b'{"type":"started","id":"c1","turn":1}'], 10.01)
    return ear


@pytest.mark.parametrize(
    "token",
    [
        b'{"type":"token","turn":12,"text":"a \\"b\\" }"}',
        b'{"type": "token", "turn": 12, "text": "a"}',
    ],
)
def test_a_token_of_either_peer_is_read_without_decoding_it(token: bytes):
    found = TOKEN.fullmatch(token)
    assert found is not None
    assert found[1] == b"12"


def test_a_token_after_stopped_is_a_ghost(ear: PeerEar, tally: Tally):
    turn = ear.diary.turns["1"]
    turn.cut = Cut(11.0)
    token = b'{"type":"token","turn":1,"text":"a"}'
    ear.take([token, b'{"type":"stopped","turn":1}'], 11.25)
    assert (tally.ghosts, tally.interrupts, list(tally.ack)) == (0, 1, [0.25])
    assert turn.over.is_set()
    ear.take([token], 11.5)
    assert (tally.tokens, tally.ghosts, turn.cut.succeeded(12.0)) == (2, 1, False)


def test_words_that_found_nothing_to_interrupt_missed(ear: PeerEar, tally: Tally):
    cut, turn = ear.diary.turns["1"], Turn(11.0, barged_in=True)
    cut.cut = Cut(11.0, by_words=True)
    ear.diary.asked["c2"] = Asked(turn, cut)
    ear.take([b'{"type":"done","turn":1}', b'{"type":"started","id":"c2","turn":2}'], 11.1)
    assert (tally.missed, tally.interrupts, turn.barged_in) == (1, 0, False)


def test_an_error_of_a_peer_is_counted_and_ends_the_turn(ear: PeerEar, tally: Tally):
    turn = ear.diary.turns["1"]
    ear.take([b'{"type":"error","turn":1,"message":"overloaded"}'], 11.0)
    assert turn.over.is_set()
    assert tally.errors == {"turn failed: overloaded": 1}
