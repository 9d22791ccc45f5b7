"""The codec: whatever bytes come in, a command comes out or a refusal of the registry."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

from bargein.gateway.visit import digest_of
from bargein.protocol.codec import (
    CommandRefused,
    EventRefused,
    command_of,
    decode_command,
    decode_event,
    decode_payload,
    encode_event,
    encode_frame,
    encode_payload,
    session_prefix,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import PAYLOADS
from bargein.protocol.frames import Problem, Refused
from bargein.protocol.lines import Decide, Help, Quit, read_line
from bargein.testing import simulate
from tests.fuzz.grammar import command
from tests.fuzz.mutation import bytes_like, text_of, value_like
from tests.fuzz.rounds import expect, rounds, shown
from tests.protocol.timelines import barge_in, long_session
from tests.testing.test_runs import booking, cutting_in

OF_BYTES = {ErrorCode.INVALID_JSON, ErrorCode.INVALID_COMMAND, ErrorCode.UNKNOWN_COMMAND}
MOST_ANSWER_BYTES = 2000
"""A client can't make the server say more than this about what it sent."""


def bad_command(drawn: Random) -> bytes:
    body = command(drawn)
    for _ in range(drawn.choice((0, 1, 1, 2, 4))):
        body = value_like(drawn, body)
    written = text_of(drawn, body)
    return bytes_like(drawn, written) if drawn.random() < 0.5 else written


def check_problem(trouble: Problem, codes: set[ErrorCode]) -> None:
    assert trouble.code in codes
    answer = encode_frame(Refused(None, trouble))
    assert len(answer) < MOST_ANSWER_BYTES, answer
    assert json.loads(answer)["error"]["code"] == trouble.code
    for tell_tale in (b"Traceback", b"msgspec", b'File \\"', b".py"):
        assert tell_tale not in answer.replace(b".python", b"")


def outcome_of(text: str) -> str:
    try:
        found, body = decode_command(text)
    except CommandRefused as refused:
        check_problem(refused.problem, OF_BYTES)
        return refused.problem.code
    assert command_of(json.loads(json.dumps(body))) == found
    assert len(digest_of(body)) == 16
    return "taken"


def test_commands_in_any_bytes_are_taken_or_refused_by_the_registry():
    outcomes: Counter[str] = Counter()
    for number, drawn in rounds("commands", least=2000):
        raw = bad_command(drawn)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            outcomes["not_utf8"] += 1  # the inbox refuses it before the codec sees it
            continue
        with shown(number, text):
            outcomes[outcome_of(text)] += 1
    expect(set(outcomes) == {*OF_BYTES, "taken", "not_utf8"}, outcomes)


def test_lines_that_people_type_become_commands_or_a_sentence():
    seen: set[str] = set()
    for number, drawn in rounds("lines", least=2000):
        line = drawn.choice(
            ("/stop", "/yes conf_1", "/no x y", "/plan", "hello", "/help", "{", "/x")
        )
        text = bytes_like(drawn, line.encode()).decode(errors="replace")
        with shown(number, text):
            found = read_line(text)
            seen.add(type(found).__name__)
            if isinstance(found, Problem):
                check_problem(found, set(ErrorCode))
            elif isinstance(found, dict):
                assert isinstance(found["type"], str)
                try:
                    command_of(found)
                except CommandRefused as refused:
                    check_problem(refused.problem, OF_BYTES)
            else:
                assert found is None or isinstance(found, Decide | Help | Quit)
    expect(seen >= {"Problem", "dict", "NoneType", "Decide"}, seen)


def sound_frames() -> list[bytes]:
    """Return stored events of real conversations, and of every type that there is."""
    frames: list[bytes] = []
    for conversation in (booking, cutting_in):
        there = simulate(conversation)
        frames += [f for session_id in there.timelines for f in there.frames_of(session_id)]
    for event in (*barge_in(), *long_session()):
        prefix, ts = session_prefix(event.session_id), event.ts.encode()
        turn, parent = event.turn_id, event.parent_event_id
        frames.append(encode_event(prefix, event.seq, ts, turn, parent, event.payload))
    return frames


def test_events_in_any_bytes_are_read_or_refused_and_written_as_they_were_read():
    frames = sound_frames()
    assert len({decode_event(frame).type for frame in frames}) > len(PAYLOADS) / 3
    outcomes: Counter[str] = Counter()
    for number, drawn in rounds("events", least=2000):
        frame = drawn.choice(frames)
        if drawn.random() < 0.5:
            frame = text_of(drawn, value_like(drawn, json.loads(frame)))
        if drawn.random() < 0.6:
            frame = bytes_like(drawn, frame)
        with shown(number, frame):
            try:
                event = decode_event(frame)
            except EventRefused:
                outcomes["refused"] += 1
                continue
            outcomes["read"] += 1
            assert event.seq >= 1
            assert decode_payload(event.type, encode_payload(event.payload)) == event.payload
    expect(min(outcomes["read"], outcomes["refused"]) > 50, outcomes)
