from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bargein.gateway.outbox import Outbox, text_frame


def drain(outbox: Outbox) -> bytes:
    written = bytearray()
    while outbox.buffered_bytes:
        data = outbox.peek(100)
        written += data
        outbox.took(len(data))
    return bytes(written)


def test_a_text_frame_has_the_shortest_header_that_its_size_allows() -> None:
    assert text_frame(b"hi") == b"\x81\x02hi"
    assert text_frame(b"x" * 125)[:2] == b"\x81\x7d"
    assert text_frame(b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert text_frame(b"x" * 65535)[:4] == b"\x81\x7e\xff\xff"
    assert text_frame(b"x" * 65536)[:10] == b"\x81\x7f" + (65536).to_bytes(8)
    assert text_frame(b"x" * 65536)[10:] == b"x" * 65536


def test_frames_put_first_go_before_waiting_ones_but_not_into_a_begun_one() -> None:
    outbox = Outbox()
    outbox.put([b"aaaa", b"bbbb"])
    outbox.took(1)
    outbox.put_first([b"1"])
    outbox.put_first([b"2"])
    assert drain(outbox) == b"aaa12bbbb"


def test_frames_put_first_do_not_count_as_taken() -> None:
    outbox = Outbox()
    outbox.put([b"aaaa", b"bbbb"])
    outbox.took(2)
    outbox.put_first([b"1" * 50])
    outbox.took(2 + 50)
    assert outbox.taken_bytes == 4
    assert outbox.put_bytes == 8
    assert outbox.buffered_bytes == 4


def test_what_was_handed_over_counts_as_taken_only_when_it_has_arrived() -> None:
    outbox = Outbox()
    outbox.put([b"aaaa"])
    outbox.put_first([b"1"])
    outbox.hand_over(5)
    outbox.put_first([b"2"])
    assert outbox.taken_bytes == 0
    assert outbox.buffered_bytes == 6
    assert bytes(outbox.peek(100)) == b"2"
    outbox.arrived()
    assert outbox.taken_bytes == 4
    assert outbox.buffered_bytes == 1


def test_what_was_handed_over_and_then_dropped_was_never_taken() -> None:
    outbox = Outbox()
    outbox.put([b"aaaa"])
    outbox.hand_over(4)
    outbox.clear()
    outbox.arrived()
    assert outbox.taken_bytes == 0
    assert outbox.buffered_bytes == 0


def test_a_lost_frame_is_never_reached() -> None:
    outbox = Outbox()
    outbox.pass_through(10)
    outbox.lose(5)
    assert (outbox.put_bytes, outbox.taken_bytes, outbox.buffered_bytes) == (15, 10, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 40)),
        st.tuples(st.just("first"), st.integers(1, 40)),
        st.tuples(st.just("write"), st.integers(1, 60)),
    ),
    max_size=60,
)


@given(STEPS)
def test_any_mix_of_writes_keeps_frames_whole_in_order_and_counted(
    steps: list[tuple[str, int]],
) -> None:
    outbox = Outbox()
    written = bytearray()
    ordinary: list[tuple[bytes, int]] = []
    ahead: list[bytes] = []

    def write(most: int) -> None:
        data = bytes(outbox.peek(most))[:most]
        written.extend(data)
        outbox.took(len(data))
        gone = [body for body, position in ordinary if position <= outbox.taken_bytes]
        # What the accounting says has gone is exactly what stands on the wire.
        assert gone == whole_frames(bytes(written), prefix=b"o")

    def put(size: int) -> None:
        body = b"o%d." % len(ordinary) + b"-" * size
        outbox.put([text_frame(body)])
        ordinary.append((body, outbox.put_bytes))

    def first(size: int) -> None:
        body = b"f%d." % len(ahead) + b"-" * size
        outbox.put_first([text_frame(body)])
        ahead.append(body)

    acts: dict[str, Callable[[int], Any]] = {"put": put, "first": first, "write": write}
    for act, size in steps:
        acts[act](size)
    while outbox.buffered_bytes:
        write(7)
    assert whole_frames(bytes(written), prefix=b"o") == [body for body, _ in ordinary]
    assert whole_frames(bytes(written), prefix=b"f") == ahead
    assert outbox.taken_bytes == outbox.put_bytes


def whole_frames(written: bytes, *, prefix: bytes) -> list[bytes]:
    bodies: list[bytes] = []
    while len(written) >= 2 and len(written) >= 2 + written[1]:
        body, written = written[2 : 2 + written[1]], written[2 + written[1] :]
        if body.startswith(prefix):
            bodies.append(body)
    return bodies
