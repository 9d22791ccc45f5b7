"""What counts as delivered: what sockets took, also of drivers who have left since."""

from __future__ import annotations

import pytest

from bargein.actors.session import Session
from bargein.protocol.commands import Role
from bargein.protocol.ids import Seq
from tests.actors.stage import Stage, Viewer, on_stage


async def talking(stage: Stage) -> tuple[Session, Viewer]:
    """Let an answer run, and a driver ack the first words of it."""
    session = stage.open()
    alice = await stage.attend(session)
    await stage.ask(session, alice, "say", text="Go")
    line = await stage.model.line(0)
    line.says("One ")
    first = await alice.event("model.token", text="One ")
    await stage.ask(session, alice, "ack", seq=first["seq"])
    line.says("two ")
    await alice.event("model.token", text="two ")
    return session, alice


def visitor(session: Session, role: Role = "drive") -> Viewer:
    """Attach a client that says it has all there is."""
    client = Viewer(session.timeline, role, seq=Seq(session.timeline.durable))
    session.attach(client)
    return client


async def heard(stage: Stage, session: Session, alice: Viewer) -> str:
    await stage.ask(session, alice, "interrupt")
    frozen = await alice.event("cancel.stage", target="transcript")
    return frozen["payload"]["heard"]


async def test_who_is_there_has_what_it_says_it_has() -> None:
    async with on_stage() as stage:
        session, alice = await talking(stage)
        visitor(session)
        assert await heard(stage, session, alice) == "One two "


async def test_who_left_and_was_given_nothing_has_heard_nothing() -> None:
    async with on_stage() as stage:
        session, alice = await talking(stage)
        await session.detach(visitor(session))
        assert await heard(stage, session, alice) == "One "


async def test_who_left_and_was_given_something_behind_its_start_has_heard_it_all() -> None:
    async with on_stage() as stage:
        session, alice = await talking(stage)
        bob = visitor(session)
        (await stage.model.line(0)).says("three ")
        await bob.event("model.token", text="three ")
        await session.detach(bob)
        assert await heard(stage, session, alice) == "One two three "


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize(("acked", "text"), [("", "One "), ("One ", "One "), ("two ", "One two ")])
async def test_who_says_it_has_all_and_acks_less_has_what_it_acked(
    acked: str, text: str, *, leaves: bool
) -> None:
    """As one does who fetches the past in pages: what it fetched, it acks."""
    async with on_stage() as stage:
        session, alice = await talking(stage)
        line = await stage.model.line(0)
        line.says("three ")
        await alice.event("model.token", text="three ")
        bob = visitor(session)
        line.says("four ")
        await bob.event("model.token", text="four ")
        token = await alice.event("model.token", text=acked) if acked else {"seq": 0}
        assert bob.acknowledge(Seq(token["seq"]))
        if leaves:
            await session.detach(bob)
        assert await heard(stage, session, alice) == text


async def test_who_only_watches_has_heard_nothing_that_counts() -> None:
    async with on_stage() as stage:
        session, alice = await talking(stage)
        bob = visitor(session, "watch")
        (await stage.model.line(0)).says("three ")
        await bob.event("model.token", text="three ")
        await session.detach(bob)
        assert await heard(stage, session, alice) == "One "
