from __future__ import annotations

import pytest
import trio

from bargein.gateway.auth import attempts
from bargein.gateway.auth.attempts import Attempts

HERE, THERE = "192.0.2.7", "192.0.2.8"


def ten_a_minute() -> Attempts:
    return Attempts(10, 60.0, 60.0, lambda address: address == "127.0.0.1")


async def test_ten_bad_tokens_in_a_minute_shut_an_address_out_for_a_minute(
    autojump_clock: trio.testing.MockClock,
):
    counted = ten_a_minute()
    assert [counted.failed(HERE) for _ in range(9)] == [False] * 9
    assert counted.wait_s(HERE) == 0
    assert counted.failed(HERE)
    assert counted.wait_s(HERE) == 60
    assert counted.wait_s(THERE) == 0
    await trio.sleep(59)
    assert counted.wait_s(HERE) == pytest.approx(1)
    await trio.sleep(1)
    assert counted.wait_s(HERE) == 0


async def test_what_is_older_than_a_minute_is_forgotten(autojump_clock: trio.testing.MockClock):
    counted = ten_a_minute()
    for _ in range(40):  # one each 6.7 s: never ten within a minute
        counted.failed(HERE)
        await trio.sleep(6.7)
    assert counted.wait_s(HERE) == 0


async def test_after_it_the_count_starts_again(autojump_clock: trio.testing.MockClock):
    counted = ten_a_minute()
    for _ in range(10):
        counted.failed(HERE)
    await trio.sleep(60)
    for _ in range(9):
        counted.failed(HERE)
    assert counted.wait_s(HERE) == 0
    counted.failed(HERE)
    assert counted.wait_s(HERE) > 0


async def test_some_addresses_are_not_counted():
    counted = ten_a_minute()
    for _ in range(100):
        counted.failed("127.0.0.1")
    assert counted.wait_s("127.0.0.1") == 0


async def test_who_is_not_counted_any_more_is_not_shut_out_any_more():
    counted = ten_a_minute()
    for _ in range(10):
        counted.failed(HERE)
    assert counted.wait_s(HERE) > 0
    counted.exempt = {HERE}.__contains__
    assert counted.wait_s(HERE) == 0


async def test_who_is_shut_out_is_so_for_as_long_as_is_said_now(
    autojump_clock: trio.testing.MockClock,
):
    counted = ten_a_minute()
    for _ in range(10):
        counted.failed(HERE)
    await trio.sleep(20)
    assert counted.wait_s(HERE) == 40
    counted.shut_out_s = 30
    assert counted.wait_s(HERE) == 10
    counted.shut_out_s = 90
    assert counted.wait_s(HERE) == 70
    counted.shut_out_s = 15
    assert counted.wait_s(HERE) == 0
    counted.shut_out_s = 600
    assert counted.wait_s(HERE) == 0  # it was over, and stays so


async def test_all_addresses_of_one_customer_are_one():
    counted = ten_a_minute()
    for number in range(10):
        counted.failed(f"2001:db8:0:1::{number:x}")
    assert counted.wait_s("2001:db8:0:1:ffff::1") > 0
    assert counted.wait_s("2001:db8:0:2::1") == 0
    for _ in range(10):
        counted.failed("::ffff:192.0.2.7")
    assert counted.wait_s(HERE) > 0
    assert counted.wait_s(THERE) == 0


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attempts, "ADDRESSES_MOST", 100)
    counted = ten_a_minute()
    for number in range(1000):
        counted.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(counted._records) == 100  # pyright: ignore[reportPrivateUsage]
