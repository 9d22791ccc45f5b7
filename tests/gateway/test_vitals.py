"""The pulse of the process: how full its mailboxes are, and whether its store can write."""

from __future__ import annotations

import trio
from prometheus_client import REGISTRY

from bargein.actors.mailbox import Mailbox, take_depths
from bargein.gateway.vitals import WINDOW_BEATS, Vitals
from bargein.timeline.health import SOUND, Health


def _depth(actor: str) -> float | None:
    return REGISTRY.get_sample_value("bargein_mailbox_depth", {"actor": actor})


async def _fill(name: str, messages: int) -> None:
    address, mailbox = Mailbox[int].open(name, 16)
    for number in range(messages):
        assert address.offer(number)
    await mailbox.take()


async def test_the_depth_of_a_mailbox_is_the_most_that_waited_of_late() -> None:
    vitals = Vitals(lambda: SOUND)
    await _fill("lately", 9)
    await _fill("lately", 3)
    vitals.beat()
    assert _depth("lately") == 9
    for _ in range(2 * WINDOW_BEATS):
        vitals.beat()
    assert _depth("lately") == 0


async def test_a_message_alone_has_not_waited() -> None:
    take_depths()
    await _fill("alone", 1)
    assert "alone" not in take_depths()


def test_a_store_that_can_not_write_is_shown() -> None:
    health = SOUND
    vitals = Vitals(lambda: health)
    vitals.beat()
    assert REGISTRY.get_sample_value("bargein_store_writable") == 1
    health = Health("read-only", "the disk is full")
    vitals.beat()
    assert REGISTRY.get_sample_value("bargein_store_writable") == 0


async def test_how_late_the_loop_is_is_measured_with_each_beat(autojump_clock: object) -> None:
    del autojump_clock
    name = "bargein_event_loop_lag_seconds_count"
    before = REGISTRY.get_sample_value(name) or 0
    with trio.move_on_after(2.1):
        await Vitals(lambda: SOUND).run()
    assert (REGISTRY.get_sample_value(name) or 0) == before + 8
