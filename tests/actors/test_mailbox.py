from __future__ import annotations

from contextvars import ContextVar

import pytest
import trio
import trio.testing

from bargein.actors.mailbox import ActorGone, Address, Mailbox, Receipt

Question = tuple[str, Receipt[str]]


def hi(receipt: Receipt[str]) -> Question:
    return "hi", receipt


def _mailbox(capacity: int = 2) -> tuple[Address[str], Mailbox[str]]:
    return Mailbox[str].open("worker", capacity)


async def test_one_take_gets_everything_that_waits_in_order() -> None:
    address, mailbox = _mailbox(8)
    for word in "abc":
        assert address.offer(word)
    assert await mailbox.take() == ["a", "b", "c"]


async def test_a_take_stops_at_its_limit() -> None:
    address, mailbox = _mailbox(8)
    for word in "abc":
        address.offer(word)
    assert await mailbox.take(2) == ["a", "b"]
    assert await mailbox.take(2) == ["c"]


async def test_what_was_sent_before_the_close_is_still_read() -> None:
    address, mailbox = _mailbox(8)
    address.offer("a")
    address.offer("b")
    address.close()
    assert await mailbox.take() == ["a", "b"]
    assert await mailbox.take() == []


async def test_an_offer_to_a_full_mailbox_says_no_and_a_tell_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    address, mailbox = _mailbox(1)
    assert address.offer("a")
    assert not address.offer("b")
    with trio.move_on_after(1) as too_long:
        await address.tell("b")
    assert too_long.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(address.tell, "b")
        await trio.testing.wait_all_tasks_blocked()
        assert await mailbox.take() == ["a", "b"]


async def test_nobody_reaches_an_actor_that_has_ended() -> None:
    address, mailbox = _mailbox()
    with mailbox:
        pass
    with pytest.raises(ActorGone) as told:
        await address.tell("a")
    with pytest.raises(ActorGone):
        address.offer("a")
    assert told.value.actor == "worker"
    assert str(told.value) == "actor 'worker' has ended"


async def test_nobody_writes_to_an_address_that_was_closed() -> None:
    address, _ = _mailbox()
    address.close()
    with pytest.raises(ActorGone):
        address.offer("a")
    with pytest.raises(ActorGone):
        await address.tell("a")


async def test_a_question_has_its_answer() -> None:
    address, mailbox = Mailbox[Question].open("worker", 1)

    async def work() -> None:
        [(text, receipt)] = await mailbox.take()
        receipt.send(text.upper())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        answer = await address.ask(hi, within_s=1)
    assert answer == "HI"


async def test_a_question_gives_up_when_its_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    address, mailbox = Mailbox[Question].open("worker", 1)
    with pytest.raises(trio.TooSlowError):
        await address.ask(hi, within_s=1)
    [(_, receipt)] = await mailbox.take()
    receipt.send("too late")  # hurts nobody


async def test_who_asks_is_told_when_the_actor_ends_without_an_answer() -> None:
    address, mailbox = Mailbox[Question].open("worker", 1)

    async def ask() -> None:
        with pytest.raises(ActorGone):
            await address.ask(hi, within_s=60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        with mailbox:
            pass


def test_a_mailbox_is_bounded_and_holds_something() -> None:
    with pytest.raises(ValueError, match="needs a capacity of at least 1, not 0"):
        Mailbox[str].open("worker", 0)


async def test_what_wakes_the_reader_takes_nobodys_room() -> None:
    address, mailbox = _mailbox(1)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            assert await mailbox.take() == ["a", "b"]

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert address.offer("a")
        assert address.offer("b")
        assert not address.offer("c")


async def test_senders_that_wait_are_served_in_order_and_before_who_comes_later() -> None:
    address, mailbox = _mailbox(1)
    address.offer("a")
    async with trio.open_nursery() as nursery:
        for word in "bc":
            nursery.start_soon(address.tell, word)
            await trio.testing.wait_all_tasks_blocked()
        assert not address.offer("d")
        assert await mailbox.take(1) == ["a"]
        assert not address.offer("d")
        assert await mailbox.take() == ["b", "c"]
        assert address.offer("d")


async def test_who_waits_for_room_is_told_when_the_actor_ends() -> None:
    address, mailbox = _mailbox(1)
    address.offer("a")

    async def tell() -> None:
        with pytest.raises(ActorGone):
            await address.tell("b")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        await trio.testing.wait_all_tasks_blocked()
        with mailbox:
            pass


async def test_an_actor_that_waits_is_run_by_who_offers_and_one_at_work_is_not() -> None:
    address, mailbox = _mailbox(8)
    served: list[str] = []

    def serve(word: str, told: bool) -> bool:
        assert not told
        if word == "z":
            return False
        served.append(word)
        return True

    mailbox.when_idle(serve)
    assert address.offer("a")
    assert served == []  # nobody waits yet, so it is queued
    assert await mailbox.take() == ["a"]
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            assert await mailbox.take() == ["z", "d"]

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert address.offer("b")
        assert address.offer("c")
        assert served == ["b", "c"]
        assert address.offer("z")
        assert address.offer("d")  # it comes after what is queued
        assert served == ["b", "c"]


async def test_what_fails_on_behalf_of_an_actor_ends_the_actor_alone() -> None:
    address, mailbox = _mailbox(8)

    def serve(word: str, told: bool) -> bool:
        raise LookupError(word)

    mailbox.when_idle(serve)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(LookupError), mailbox:
                await mailbox.take()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert address.offer("a")
    with pytest.raises(ActorGone):
        address.offer("b")


async def test_who_tells_an_actor_that_waits_has_it_done_by_the_time_it_goes_on() -> None:
    address, mailbox = _mailbox(1)
    served: list[tuple[str, bool]] = []
    whose = ContextVar("whose", default="nobody")
    seen: list[str] = []

    def serve(word: str, told: bool) -> bool:
        served.append((word, told))
        seen.append(whose.get())
        if word == "a":
            assert address.offer("said meanwhile", told=True)
        return True

    async with trio.open_nursery() as nursery:

        async def read() -> None:
            whose.set("the actor's")
            mailbox.when_idle(serve)
            assert await mailbox.take() == ["said meanwhile"]

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert address.offer("offered")
        assert address.offer("offered, and told", told=True)
        await address.tell("told")
        assert served == [("offered", False), ("offered, and told", True), ("told", True)]
        await address.tell("a")
    assert served[3:] == [("a", True)]
    assert seen == ["the actor's"] * 4


async def test_an_actor_that_waits_answers_without_being_woken() -> None:
    address, mailbox = _mailbox(1)
    receipts: list[Receipt[str]] = []
    woken: list[list[str]] = []

    def serve(word: str, told: bool) -> bool:
        del told
        receipts.pop().send(word.upper())
        return True

    def asking(receipt: Receipt[str]) -> str:
        receipts.append(receipt)
        return "a"

    async with trio.open_nursery() as nursery:

        async def read() -> None:
            mailbox.when_idle(serve)
            woken.append(await mailbox.take())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert await address.ask(asking, within_s=1) == "A"
        await trio.testing.wait_all_tasks_blocked()
        assert woken == []
        nursery.cancel_scope.cancel()
