"""What a conversation can be about: tools, interrupts, several users, bad lines, slow readers."""

from __future__ import annotations

import pytest
import trio

from bargein.actors.limits import Limits
from bargein.agents.app import Agent, App, AppInvalid
from bargein.models.screenplay import Step
from bargein.protocol.events import ToolProgress, ToolResult
from bargein.testing import NeverCame, Refused, World, fails, pauses, scene, simulated, stops
from bargein.testing.model import model_of
from tests.scale import scaled
from tests.testing.restaurant import HOST, Book


@simulated
async def test_an_action_is_proposed_confirmed_done_and_undone(world: World) -> None:
    book = Book()
    await world.serve(book.app(), HOST)
    guest = await world.join()
    await guest.say("book a table")
    proposed = await guest.until("action.proposed")
    assert proposed.payload.summary == "Book a table for 2"
    assert book.booked == {}
    assert (await guest.confirm())["state"] == "confirmed"
    await guest.until("action.committed", result=2)
    assert list(book.booked.values()) == [2]
    await guest.revert()
    await guest.until("action.reverted")
    assert book.booked == {}
    verbs = [name.removeprefix("action.") for name in guest.timeline.of("action.*").types]
    expected = ["proposed", "confirmed", "committing", "committed", "reverting", "reverted"]
    assert verbs == expected


@simulated
async def test_what_is_confirmed_may_be_edited(world: World) -> None:
    book = Book()
    await world.serve(book.app(), HOST)
    guest = await world.join()
    await guest.say("book a table")
    await guest.until("action.proposed")
    with pytest.raises(Refused) as refused:
        await guest.confirm(args={"guests": "many"})
    assert (refused.value.code, refused.value.param) == ("invalid_command", "args.guests")
    await guest.confirm(args={"guests": 5})
    await guest.until("action.committed", result=5)
    assert list(book.booked.values()) == [5]


@simulated
async def test_what_was_heard_of_an_interrupted_turn_is_the_beginning_of_it(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    await guest.say("hello")
    await guest.until("model.token", nth=5)
    answer = await guest.interrupt(heard={"chars": 9})
    assert answer["interrupted"]
    assert (await guest.frame("flush"))["turn_id"] == answer["turn_id"]
    assert guest.heard() == world.timeline.heard() == "Good even"
    assert guest.spoken().startswith("Good evening. What")
    assert world.timeline.turns == ("turn_1",)


@simulated
async def test_words_that_cut_in_get_a_turn_of_their_own(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    first = await guest.say("hello")
    await guest.until("model.token", nth=2)
    second = await guest.say("no, wait")
    assert second["interrupted"] == first["turn_id"]
    assert (await guest.until("turn.trace")).turn_id == second["turn_id"]
    assert (await guest.until("cancel.ack")).turn_id == first["turn_id"]
    assert world.timeline.turns == (first["turn_id"], second["turn_id"])
    assert world.timeline.turn(first["turn_id"]).types[-1] == "cancel.ack"


@simulated
async def test_a_plain_tool_runs_on_the_spot_though_the_clock_jumps(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    await guest.say("what is free?")
    await guest.until("response.end")
    (result,) = guest.timeline.payloads(ToolResult)
    assert (result.status, result.result) == ("ok", [1, 2, 3])
    assert [noted.text for noted in guest.timeline.payloads(ToolProgress)] == ["looking"]


@simulated
async def test_a_watcher_sees_all_and_says_nothing(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    friend = await world.join("friend", beside=guest, role="watch")
    with pytest.raises(Refused, match="forbidden"):
        await friend.say("hello")
    await guest.say("hello")
    await guest.until("turn.trace")
    await friend.until("turn.trace")
    assert friend.timeline.types == guest.timeline.types == world.timeline.types


@simulated(seeds=scaled(2000))
async def test_who_leaves_as_a_session_is_closed_is_not_told_of(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    friend = await world.join("friend", beside=guest)
    moment = world.random("when the friend leaves")
    async with trio.open_nursery() as both:
        both.start_soon(guest.send, "close")
        await trio.sleep(moment.choice((0, 0.01, 0.02)))
        for _ in range(moment.randrange(25)):
            await trio.lowlevel.checkpoint()
        friend.leave()
    assert world.timeline.types[-1] == "session.closed"


@simulated
async def test_two_users_have_sessions_of_their_own(world: World) -> None:
    await world.serve(Book().app(), HOST)
    alice, bob = await world.join("alice", principal="alice"), await world.join("bob")
    await alice.say("hello")
    await alice.until("turn.trace")
    assert world.timeline_of(alice).of("turn.start")
    assert not world.timeline_of(bob).of("turn.start")
    with pytest.raises(ValueError, match="there are 2 sessions"):
        _ = world.timeline


@simulated
async def test_who_was_cut_off_gets_what_it_missed(world: World) -> None:
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    await guest.say("hello")
    await guest.until("model.token", nth=3)
    guest.cut(lost=2)
    await guest.until("model.token", nth=6)
    guest.leave()
    await guest.back()
    world.cut_connections()
    await guest.until("turn.trace")
    wanted = world.timeline.of("turn.*", "model.*", "response.*").types
    assert guest.timeline.of("turn.*", "model.*", "response.*").types == wanted
    assert len(guest.wires) >= 3


@simulated
async def test_a_turn_that_nobody_attends_is_stopped_after_its_grace(world: World) -> None:
    long = [scene("Well. ", pauses(30), "So.")]
    await world.serve(Book().app(), long, limits=Limits(grace_s=5))
    guest = await world.join()
    await guest.say("hello")
    await guest.until("model.token")
    guest.leave()
    await guest.back()
    guest.leave()
    with pytest.raises(NeverCame):
        await guest.until("cancel.ack", within_s=20)
    await guest.back()
    requested = await guest.until("cancel.requested")
    assert requested.payload.by == "disconnected"


@simulated
async def test_a_slow_reader_gets_its_tokens_merged(world: World) -> None:
    await world.serve(Book().app(), [" ".join(["word"] * 400)], lagging_events=8)
    guest = await world.join()
    guest.stall(4)
    await guest.say("hello")
    await guest.frame("lagging")
    await guest.until("turn.trace")
    assert guest.spoken() == world.timeline.spoken()
    assert len(guest.timeline.of("model.token")) < len(world.timeline.of("model.token"))


@simulated
async def test_who_reads_nothing_for_ten_seconds_is_cut_and_comes_back(world: World) -> None:
    await world.serve(Book().app(), [" ".join(["word"] * 400)])
    guest = await world.join()
    guest.stall(30)
    await guest.say("hello")
    await guest.until("turn.trace")
    assert len(guest.wires) == 2
    assert guest.spoken() == world.timeline.spoken()


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (fails("overloaded"), "failed", "model_overloaded"),
        (fails("timeout", "gap"), "failed", "model_timeout"),
        (fails("cut"), "failed", "model_error"),
        (fails("too_long"), "failed", "context_overflow"),
        (stops("refusal"), "refused", "model_refused"),
    ],
)
@simulated(seeds=3)
async def test_a_model_can_fail_in_every_way(
    world: World, step: Step, status: str, code: str
) -> None:
    await world.serve(Book().app(), [scene("Well. ", step)])
    guest = await world.join()
    await guest.say("hello")
    ended = await guest.until("response.end")
    assert ended.payload.status == status
    assert world.timeline.of("error").last.payload.code == code


@simulated(seeds=2)
async def test_a_proposal_expires_in_no_time(world: World) -> None:
    await world.serve(Book().app(), HOST, limits=Limits(confirm_s=3600))
    guest = await world.join()
    await guest.say("book a table")
    await guest.until("action.expired", within_s=4000)
    with pytest.raises(NeverCame, match="one open proposal"):
        await guest.confirm()


@simulated(seeds=1)
async def test_an_app_with_sources_is_refused(world: World) -> None:
    def source() -> None:
        raise AssertionError

    agent = Agent("host", sources=(source,))  # pyright: ignore[reportArgumentType]
    with pytest.raises(AppInvalid, match="give it tools"):
        await world.serve(App("a", (agent,)), HOST)


@simulated(seeds=1)
async def test_a_model_that_is_given_answers_in_the_place_of_the_apps_own(world: World) -> None:
    own = model_of(["I am the app's own."])
    app = App("a", (Agent("host"),), client=own)
    await world.serve(app, ["I was given."])
    guest = await world.join()
    await guest.say("hello")
    await guest.until("response.end")
    assert world.timeline.spoken() == "I was given."


@simulated(seeds=1)
async def test_without_another_the_apps_own_model_answers(world: World) -> None:
    await world.serve(App("a", (Agent("host"),), client=model_of(["I am the app's own."])))
    guest = await world.join()
    await guest.say("hello")
    await guest.until("response.end")
    assert world.timeline.spoken() == "I am the app's own."


@simulated(seeds=1)
async def test_without_a_model_of_its_own_the_default_screenplay_answers(world: World) -> None:
    await world.serve(App("a", (Agent("host"),)))
    guest = await world.join()
    await guest.say("hello")
    await guest.until("response.end", status="completed")
    assert world.timeline.spoken()
