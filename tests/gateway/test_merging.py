"""What becomes of runs of tokens for a client that lags."""

from __future__ import annotations

from bargein.gateway.merging import merge_tokens
from bargein.protocol.codec import decode_event, encode_event, session_prefix
from bargein.protocol.events import ModelToken, Object, Payload, Status
from bargein.protocol.ids import Seq, SessionId, TurnId

PREFIX = session_prefix(SessionId("sess_00"))
TS = b"2026-11-21T10:12:33.120Z"


def frame(seq: int, payload: Payload, turn: str = "turn_1") -> bytes:
    return encode_event(PREFIX, Seq(seq), TS, TurnId(turn), None, payload)


def test_a_run_of_tokens_is_one_frame_that_ends_with_its_turn_or_at_another_event() -> None:
    frames = [
        frame(3, ModelToken("a", 1)),
        frame(4, ModelToken("b", 2)),
        frame(5, Status("between")),
        frame(6, ModelToken("c", 1)),
        frame(7, ModelToken("d", 1), "turn_2"),
        frame(8, ModelToken("e", 1), "turn_2"),
    ]
    merged = list(merge_tokens(3, frames))
    assert [seq for seq, _ in merged] == [4, 5, 6, 8]
    payloads = [decode_event(sent).payload for _, sent in merged]
    between, single = Status("between"), ModelToken("c", 1)
    assert payloads == [ModelToken("ab", 3), between, single, ModelToken("de", 2)]
    assert merged[1][1] is frames[2]
    assert merged[2][1] is frames[3]
    assert b'"first_seq":3,' in merged[0][1]


def test_what_only_speaks_of_tokens_is_none() -> None:
    quoting = frame(1, Object("x", {"type": "model.token", "text": "a", "n": 1}))
    assert list(merge_tokens(1, [quoting, quoting])) == [(1, quoting), (2, quoting)]
