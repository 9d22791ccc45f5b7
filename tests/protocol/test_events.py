"""Events on the wire: each comes back as it was, and what is none is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.protocol.codec import (
    EventRefused,
    decode_event,
    encode_event,
    encode_frame,
    session_prefix,
)
from bargein.protocol.events import (
    PAYLOADS,
    Event,
    InputText,
    ModelFallback,
    ModelToken,
    Payload,
    PlaybackProgress,
    Unknown,
)
from bargein.protocol.frames import FRAMES, Frame, Live, Pong
from bargein.protocol.ids import EventId, Seq, TurnId, event_id, turn_id, turn_number
from bargein.protocol.state import fold
from tests.protocol.strategies import SETTLED, instances
from tests.protocol.timelines import SESSION, barge_in, long_session

TS = "2026-11-21T10:12:33.120Z"
PREFIX = session_prefix(SESSION)


def _frame(payload: Payload, turn: TurnId | None = None, parent: EventId | None = None) -> bytes:
    return encode_event(PREFIX, Seq(42), TS.encode(), turn, parent, payload)


def _encoded(event: Event) -> bytes:
    return encode_event(
        PREFIX,
        event.seq,
        event.ts.encode(),
        event.turn_id,
        event.parent_event_id,
        event.payload,
    )


def test_a_token_is_the_frame_that_the_protocol_shows() -> None:
    frame = _frame(ModelToken("Sure, "), TurnId("turn_7"), EventId("evt_40"))
    assert frame == (
        b'{"session_id":"sess_%b","seq":42,"event_id":"evt_42","ts":"2026-11-21T10:12:33.120Z",'
        b'"type":"model.token","turn_id":"turn_7","parent_event_id":"evt_40",'
        b'"payload":{"text":"Sure, ","n":1}}' % (b"0" * 32)
    )


@pytest.mark.parametrize("name", PAYLOADS)
def test_every_payload_survives_the_wire(name: str) -> None:
    @settings(SETTLED, max_examples=50)
    @given(instances(PAYLOADS[name]))
    def survives(payload: Payload) -> None:
        frame = _frame(payload, turn_id(7), event_id(Seq(40)))
        assert b"\n" not in frame
        event = decode_event(frame)
        assert event == Event(
            SESSION, Seq(42), event_id(Seq(42)), TS, turn_id(7), event_id(Seq(40)), payload
        )
        assert event.type == name == json.loads(frame)["type"]

    survives()


def test_whole_timelines_survive_the_wire() -> None:
    for events in (barge_in(), long_session()):
        assert [decode_event(_encoded(event)) for event in events] == events


def test_outside_a_turn_the_ids_are_null() -> None:
    body = json.loads(_frame(InputText("Hello?")))
    assert body["turn_id"] is None
    assert body["parent_event_id"] is None


def test_a_field_that_was_not_set_is_not_on_the_wire() -> None:
    assert json.loads(_frame(PlaybackProgress(chars=3)))["payload"] == {"chars": 3}


def test_a_fallback_says_from_on_the_wire() -> None:
    frame = _frame(ModelFallback("opus", "haiku"))
    assert json.loads(frame)["payload"] == {"from": "opus", "to": "haiku"}
    assert decode_event(frame).payload == ModelFallback("opus", "haiku")


def test_a_fallback_without_from_is_refused() -> None:
    frame = _frame(ModelFallback("opus", "haiku")).replace(b'"from":', b'"form":')
    with pytest.raises(EventRefused):
        decode_event(frame)


def test_a_type_of_a_newer_version_is_unknown_and_is_kept_as_it_is() -> None:
    payload = Unknown("mood.changed", {"mood": "fine", "from_": [1, None]})
    frame = _frame(payload, turn_id(1))
    event = decode_event(frame)
    assert event.payload == payload
    assert event.type == "mood.changed"
    assert _encoded(event) == frame


def test_a_field_of_a_newer_version_is_ignored() -> None:
    frame = _frame(ModelToken("x")).replace(b'"n":1', b'"n":1,"mood":"fine"')
    frame = frame.replace(b'"seq"', b'"first_seq":40,"seq"', 1)
    assert decode_event(frame).payload == ModelToken("x")


def _with(**changes: Any) -> bytes:
    return json.dumps({**json.loads(_frame(ModelToken("x"), turn_id(1))), **changes}).encode()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"session_id":"\xff"}',
        b"[" * 5_000,
        _frame(ModelToken("x"))[:-1],
        _with(seq=0),
        _with(seq="1"),
        _with(seq=1.5),
        _with(turn_id="seven"),
        _with(turn_id="turn_0"),
        _with(turn_id="turn_1\n"),
        _with(turn_id="turn_" + "1" * 5_000),
        _with(payload=None),
        _with(payload={}),
        _with(payload={"text": None}),
        _with(payload={"text": "x", "n": True}),
        _with(type=None),
        _with(type="mood.changed", payload=5),
        _with(type="mood.changed", payload={"deep": 0}).replace(b'p": 0', b'p": ' + b"[" * 5_000),
        _with(type="response.end", payload={"status": "fine", "text": ""}),
    ],
    ids=lambda frame: repr(frame[:60]),
)
def test_what_is_no_event_is_refused(frame: bytes) -> None:
    with pytest.raises(EventRefused) as refused:
        decode_event(frame)
    assert refused.value.reason in str(refused.value)


def test_mutated_bytes_are_read_or_refused_and_never_anything_else() -> None:
    chance = random.Random(20261121)  # noqa: S311 - the same bytes in each run
    frames = [_encoded(event) for event in (*barge_in(), *long_session())]
    read = refused = 0
    for _ in range(10_000):
        frame = bytearray(chance.choice(frames))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(frame))
            match chance.randrange(3):
                case 0:
                    frame[place] = chance.randrange(256)
                case 1:
                    del frame[place]
                case _:
                    frame[place:place] = chance.randbytes(chance.randint(1, 3))
        try:
            event = decode_event(bytes(frame))
        except EventRefused:
            refused += 1
        else:
            fold([event])  # what was read can be applied
            read += 1
    assert read > 500
    assert refused > 500


@SETTLED
@given(st.one_of([instances(kind) for kind in FRAMES.values()]))
def test_every_connection_frame_is_an_object_with_its_type_first(frame: Frame) -> None:
    encoded = encode_frame(frame)
    body = json.loads(encoded)
    assert next(iter(body)) == "type"
    assert body.pop("type") == frame.type
    assert "event_id" not in body
    assert msgspec.convert(body, type(frame)) == frame
    assert b"\n" not in encoded


def test_a_frame_leaves_out_what_was_not_set() -> None:
    assert encode_frame(Live(Seq(3))) == b'{"type":"live","seq":3}'
    assert encode_frame(Pong(None, TS)) == (
        b'{"type":"pong","nonce":null,"server_ts":"2026-11-21T10:12:33.120Z"}'
    )


def test_ids_of_turns_and_events_carry_their_numbers() -> None:
    assert turn_number(turn_id(12)) == 12
    assert event_id(Seq(12)) == "evt_12"
