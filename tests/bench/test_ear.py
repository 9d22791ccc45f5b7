from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bargein.gateway.merging import merge_tokens
from bargein.protocol.codec import encode_event, encode_frame, session_prefix
from bargein.protocol.events import InputText, ModelToken, Payload
from bargein.protocol.frames import Flush
from bargein.protocol.ids import CommandId, Seq, SessionId, TurnId
from examples.bench.diary import Asked, Diary
from examples.bench.ear import TOKEN, BargeinEar
from examples.bench.figures import Cut, Spread, Tally, Turn

TURN = TurnId("turn_1")
PREFIX = session_prefix(SessionId("sess_1"))


def event(seq: int, payload: Payload) -> bytes:
    ts = b"2026-11-21T10:12:33.120Z"
    return encode_event(PREFIX, Seq(seq), ts, TURN, None, payload)


def raw(seq: int, kind: str, **payload: Any) -> bytes:
    return msgspec.json.encode(
        {
            "session_id": "sess_1",
            "seq": seq,
            "event_id": f"evt_{seq}",
            "type": kind,
            "turn_id": TURN,
            "payload": payload,
        }
    )


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def ear(tally: Tally) -> BargeinEar:
    ear = BargeinEar(Diary(lambda: tally))
    ear.diary.asked["c1"] = Asked(Turn(10.0, barged_in=False), None)
    ear.take([event(1, InputText("Hello.", CommandId("c1")))], 10.01)
    return ear


def test_a_token_of_the_server_is_read_without_decoding_it():
    token = TOKEN.fullmatch(event(7, ModelToken('"n":9}} "type":"x"\n', 3)))
    assert token is not None
    assert token.groups() == (None, b"7", b"turn_1", b"3")


def test_a_merged_token_of_the_server_is_read_without_decoding_it():
    [(_, frame)] = merge_tokens(7, [event(7, ModelToken("a")), event(8, ModelToken("b"))])
    token = TOKEN.fullmatch(frame)
    assert token is not None
    assert token.groups() == (b"7", b"8", b"turn_1", b"2")


def test_a_token_in_another_order_of_keys_counts_just_as_well(ear: BargeinEar, tally: Tally):
    ear.take([raw(2, "model.token", text="a", n=2), event(3, ModelToken("b"))], 10.5)
    assert (tally.tokens, tally.token_frames, tally.seq_gaps) == (3, 2, 0)


def test_the_first_token_is_timed_from_the_users_words_on(ear: BargeinEar, tally: Tally):
    ear.take([event(2, ModelToken("a"))], 10.25)
    ear.take([event(3, ModelToken("b"))], 10.5)
    assert list(tally.first_token) == [0.25]
    assert list(tally.gap) == [0.25]


def test_a_token_after_cancel_requested_is_a_ghost(ear: BargeinEar, tally: Tally):
    ear.diary.turns[TURN].cut = Cut(11.0)
    ear.take([encode_frame(Flush(TURN, Seq(3))), event(2, ModelToken("late"))], 11.25)
    assert (tally.late, tally.ghosts, list(tally.flush)) == (1, 0, [0.25])
    ear.take([raw(3, "cancel.requested"), event(4, ModelToken("ghost"))], 11.5)
    assert (tally.late, tally.ghosts) == (1, 1)


def test_an_ack_ends_the_turn_and_is_timed_from_the_interrupt_on(ear: BargeinEar, tally: Tally):
    turn = ear.diary.turns[TURN]
    turn.cut = Cut(11.0)
    ear.take([raw(2, "cancel.requested"), raw(3, "turn.trace")], 11.125)
    assert not turn.over.is_set()
    ear.take([raw(4, "cancel.ack")], 11.25)
    assert turn.over.is_set()
    assert (tally.interrupts, tally.completed, list(tally.ack)) == (1, 0, [0.25])


@pytest.mark.parametrize(("seqs", "gaps"), [((2, 3), 0), ((3,), 1), ((2, 2), 1)])
def test_a_seq_that_does_not_follow_is_a_gap(
    ear: BargeinEar, tally: Tally, seqs: tuple[int, ...], gaps: int
):
    ear.take([event(seq, ModelToken("a")) for seq in seqs], 10.5)
    assert tally.seq_gaps == gaps


def test_an_interrupt_that_found_the_turn_over_is_no_interrupt(ear: BargeinEar, tally: Tally):
    ear.diary.turns[TURN].cut = Cut(11.0)
    ear.diary.asked["c2"] = Asked(None, ear.diary.turns[TURN])
    reply = {"type": "reply", "command_id": "c2", "result": {"interrupted": False}, "at_seq": 1}
    ear.take([msgspec.json.encode(reply)], 11.5)
    assert (tally.missed, tally.interrupts, list(tally.reply)) == (1, 0, [])


@pytest.mark.parametrize("hit", ["turn_0", "turn_1"])
def test_an_interrupt_counts_for_the_turn_that_it_hit(ear: BargeinEar, tally: Tally, hit: str):
    turn = ear.diary.turns[TURN]
    turn.cut = Cut(11.0)
    ear.diary.asked["c2"] = Asked(None, turn)
    result = {"interrupted": True, "turn_id": hit, "ack_seq": 4}
    reply = {"type": "reply", "command_id": "c2", "result": result, "at_seq": 4}
    ear.take([msgspec.json.encode(reply)], 11.5)
    assert (tally.missed, list(tally.reply)) == ((0, [0.5]) if hit == TURN else (1, []))


def test_a_refused_command_is_an_error_and_ends_the_wait(ear: BargeinEar, tally: Tally):
    turn = Turn(12.0, barged_in=False)
    ear.diary.asked["c2"] = Asked(turn, None)
    refusal = {"type": "error", "command_id": "c2", "error": {"code": "busy"}}
    ear.take([msgspec.json.encode(refusal)], 12.5)
    assert turn.over.is_set()
    assert tally.errors == {"refused with busy": 1}


def test_a_storm_that_was_too_much_is_held_back_and_no_error(ear: BargeinEar, tally: Tally):
    turn = Turn(12.0, barged_in=False)
    ear.diary.asked["c2"] = Asked(turn, None, hasty=True)
    ear.diary.asked["c3"] = Asked(turn, None)
    for command, code in (("c2", "busy"), ("c3", "rate_limited")):
        refusal = {"type": "error", "command_id": command, "error": {"code": code}}
        ear.take([msgspec.json.encode(refusal)], 12.5)
    assert turn.over.is_set()
    assert (tally.limited, tally.errors) == (2, {})


def test_being_told_to_lag_is_counted(ear: BargeinEar, tally: Tally):
    ear.take([b'{"type":"lagging","behind":300}'], 10.5)
    assert (tally.laggings, tally.errors) == (1, {})


def test_percentiles_are_samples_and_in_ms():
    spread = Spread.of([number / 1000 for number in range(1, 101)])
    assert spread == Spread(100, 50.0, 95.0, 99.0, 100.0)
    assert Spread.of([0.002]) == Spread(1, 2.0, 2.0, 2.0, 2.0)
    assert Spread.of([]) is None
