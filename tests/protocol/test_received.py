"""The checker of what clients received: logs beside each other, and one alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bargein.protocol.codec import encode_event, encode_frame, session_prefix
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import Event, ModelToken
from bargein.protocol.frames import (
    CaughtUp,
    Flush,
    Hello,
    Lagging,
    Live,
    Refused,
    Reply,
    You,
    problem,
)
from bargein.protocol.ids import CommandId, Epoch, EventId, Seq, turn_id
from tests.checker import check_client_log, overlap_differs
from tests.protocol.timelines import SESSION, Pen, barge_in


def _frames(events: list[Event]) -> list[bytes]:
    prefix = session_prefix(SESSION)
    return [
        encode_event(prefix, e.seq, e.ts.encode(), e.turn_id, e.parent_event_id, e.payload)
        for e in events
    ]


def _spoken(*texts: str) -> list[bytes]:
    """A session whose turn says *texts*, from seq 9 on."""
    pen = Pen()
    pen.open_session()
    pen.begin(turn_id(1))
    pen.call_model(turn_id(1))
    pen.say(turn_id(1), *texts)
    pen.end_model(turn_id(1))
    return _frames(pen.events)


ABC = _spoken("a", "b", "c")
A, B, C = 8, 9, 10  # places in the list; seq is one more


def _merged(frames: list[bytes], first: int, last: int, **changes: Any) -> bytes:
    bodies = [json.loads(frame) for frame in frames[first : last + 1]]
    text = "".join(body["payload"]["text"] for body in bodies)
    body = {"first_seq": bodies[0]["seq"], **bodies[-1]}
    body["payload"] = {"text": text, "n": len(bodies)}
    return json.dumps({**body, **changes}).encode()


# --- two logs --------------------------------------------------------------------------


def test_the_same_frames_do_not_differ() -> None:
    frames = _frames(barge_in())
    assert overlap_differs(frames, frames) == []
    assert overlap_differs(frames, [frame.decode() for frame in frames]) == []
    assert overlap_differs(frames[:9], frames[4:]) == []
    assert overlap_differs(frames[:4], frames[4:]) == []
    assert overlap_differs([], frames) == []


def test_connection_frames_are_not_compared() -> None:
    frames = _frames(barge_in())
    assert overlap_differs([encode_frame(Live(Seq(1))), *frames], frames) == []


def test_another_byte_at_the_same_seq_differs() -> None:
    other = [*ABC[:A], ABC[A].replace(b'"a"', b'"x"'), *ABC[B:]]
    (difference,) = overlap_differs(ABC, other)
    assert difference.startswith("I34: seq 9 ")
    assert overlap_differs(other, ABC) != []


@pytest.mark.parametrize(
    "other",
    [
        [*ABC[:A], _merged(ABC, A, C), *ABC[C + 1 :]],
        [*ABC[:A], _merged(ABC, A, B), *ABC[C:]],
        [*ABC[:B], _merged(ABC, B, C), *ABC[C + 1 :]],
        [_merged(ABC, A, C)],
        [*ABC[:C]],
    ],
    ids=["all", "first", "last", "alone", "shorter"],
)
def test_merged_tokens_of_the_same_text_do_not_differ(other: list[bytes]) -> None:
    assert overlap_differs(ABC, other) == []
    assert overlap_differs(other, ABC) == []
    split = [*ABC[:A], _merged(ABC, A, B), ABC[C]]
    assert overlap_differs(split, other) == []


@pytest.mark.parametrize("came", [B, C])
def test_who_came_in_the_middle_of_a_merged_frame_has_the_end_of_it(came: int) -> None:
    whole = [*ABC[:A], _merged(ABC, A, C)]
    assert overlap_differs(whole, ABC[came:]) == []
    assert overlap_differs(ABC[came:], whole) == []
    stranger = [frame.replace(b'"c"', b'"x"') for frame in ABC[came:]]
    assert overlap_differs(whole, stranger) != []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"payload": {"text": "abx", "n": 3}}, "has the texts"),
        ({"payload": {"text": "ab", "n": 2}}, "has the texts"),
        ({"type": "tts.chunk"}, "merges more than tokens"),
        ({"turn_id": "turn_2"}, "merges tokens of two turns"),
        ({"ts": "2026-11-21T10:12:34.000Z"}, "ends as"),
        ({"event_id": "evt_9"}, "ends as"),
    ],
    ids=str,
)
def test_a_merged_frame_that_says_something_else_differs(
    changes: dict[str, Any], what: str
) -> None:
    other = [*ABC[:A], _merged(ABC, A, C, **changes), *ABC[C + 1 :]]
    (difference,) = overlap_differs(ABC, other)
    assert difference.startswith("I34: seq 9 to 11 ")
    assert what in difference
    assert len(overlap_differs(other, ABC)) == 1


def test_a_merged_frame_over_another_event_differs() -> None:
    body = json.loads(_merged(ABC, A, C))
    body["first_seq"] = 8  # the model.start before
    assert "merges more" in overlap_differs(ABC, [json.dumps(body)])[0]


# --- one log -----------------------------------------------------------------------------


def _hello(replay_from: int, replay_to: int) -> bytes:
    return encode_frame(
        Hello(
            "bargein.v1",
            "bargein",
            SESSION,
            Epoch("e1"),
            resumed=replay_from > 1,
            replay_from=Seq(replay_from),
            replay_to=Seq(replay_to),
            heartbeat_s=20.0,
            limits={},
            you=You("local", "drive", "default"),
        )
    )


def _live(seq: int) -> bytes:
    return encode_frame(Live(Seq(seq)))


def _reply(command_id: str | None, at_seq: int) -> bytes:
    return encode_frame(
        Reply(None if command_id is None else CommandId(command_id), {}, Seq(at_seq))
    )


def _error(command_id: str | None) -> bytes:
    name = None if command_id is None else CommandId(command_id)
    return encode_frame(Refused(name, problem(ErrorCode.BUSY)))


NEW = [_hello(1, 0), _live(0)]
FLUSH = encode_frame(Flush(turn_id(1), Seq(5)))
LAG = encode_frame(Lagging(300))


@pytest.mark.parametrize(
    "log",
    [
        NEW,
        [*NEW, *ABC],
        [*NEW, *ABC, _reply("c1", 12), _error("c2"), _reply(None, 3), _error(None), _error(None)],
        [*NEW, *ABC[:4], FLUSH, *ABC[4:]],
        [_hello(1, 12), *ABC, _live(12)],
        [_hello(5, 8), *ABC[4:8], _live(8), *ABC[8:]],
        [_hello(13, 12), _live(12), _reply("c1", 12)],
        [*NEW, *ABC[:A], LAG, _merged(ABC, A, C), encode_frame(CaughtUp(Seq(11))), ABC[C + 1]],
        [*NEW, *ABC[:A], LAG, *ABC[A:]],
        [frame.decode() for frame in (*NEW, *ABC)],
    ],
    ids=[
        "new",
        "events",
        "answers",
        "flush",
        "replay",
        "resume",
        "nothing",
        "merged",
        "lag",
        "str",
    ],
)
def test_a_good_log_breaks_no_rule(log: list[bytes | str]) -> None:
    assert check_client_log(log) == []


@pytest.mark.parametrize(
    ("log", "what"),
    [
        ([], "hello is first"),
        ([_live(0), _hello(1, 0)], "hello is first"),
        ([*NEW, _hello(1, 0)], "hello is first"),
        ([ABC[0], *NEW], "hello is first"),
        ([_hello(1, 0), *ABC], "live comes once: 0"),
        ([*NEW, *ABC, _live(12)], "live comes once: 2"),
        ([_hello(1, 12), *ABC[:6], _live(12)], "live stands behind the replay: 12 after 6"),
        ([*NEW, *ABC[:4], *ABC[5:]], "seq is consecutive: 6 follows 4"),
        ([*NEW, *ABC[:4], *ABC[3:]], "seq is consecutive: 4 follows 4"),
        ([*NEW, *ABC[1:]], "seq is consecutive: 2 follows 0"),
        ([_hello(5, 8), *ABC[:8], _live(8)], "seq is consecutive: 1 follows 4"),
        ([*NEW, *ABC[:A], LAG, _merged(ABC, B, C)], "seq is consecutive: 10 follows 8"),
        ([*NEW, *ABC[:A], _merged(ABC, A, C)], "only tokens of who lags"),
        ([*NEW, *ABC[:A], LAG, _merged(ABC, A, C, type="tts.chunk")], "only tokens of who lags"),
        ([*NEW, LAG, *ABC, encode_frame(CaughtUp(Seq(11)))], "caught_up names the last seq"),
        ([*NEW, *ABC[:4], _reply("c1", 5), *ABC[4:]], "a reply comes after its at_seq: 5 at 4"),
        ([_reply("c1", 5), *NEW], "a reply comes after its at_seq: 5 at None"),
        ([*NEW, _reply("c1", 0), _reply("c1", 0)], "c1 has 2"),
        ([*NEW, _reply("c1", 0), _error("c1")], "c1 has 2"),
    ],
)
def test_a_rule_that_a_log_breaks_is_found(log: list[bytes], what: str) -> None:
    assert any(what in sentence for sentence in check_client_log(log))


def test_a_connection_that_broke_may_lack_live() -> None:
    assert check_client_log([_hello(1, 12), *ABC[:5]], cut=True) == []
    assert check_client_log([*NEW, _live(0)], cut=True) != []


def test_a_command_sent_twice_is_answered_twice() -> None:
    log = [*NEW, _reply("c1", 0), _reply("c1", 0)]
    assert check_client_log(log, resent={"c1"}) == []


def test_the_merged_frames_of_these_tests_are_what_a_client_gets() -> None:
    body = json.loads(_merged(ABC, A, C))
    assert (body["first_seq"], body["seq"], body["event_id"]) == (9, 11, EventId("evt_11"))
    assert body["payload"] == {"text": "abc", "n": 3}
    assert json.loads(ABC[A])["payload"] == {"text": ModelToken("a").text, "n": 1}
