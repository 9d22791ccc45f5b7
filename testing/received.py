"""What clients received, held against the protocol: one log alone, or two beside each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

from attrs import define, field, frozen

Frame: TypeAlias = bytes | str


@frozen
class _Piece:
    """An event frame, and the stretch of the timeline that it stands for."""

    first: int
    last: int
    raw: bytes
    body: dict[str, Any]

    @property
    def merged(self) -> bool:
        return "first_seq" in self.body


def _pieces(frames: Sequence[Frame]) -> list[_Piece]:
    pieces: list[_Piece] = []
    for frame in frames:
        raw = frame.encode() if isinstance(frame, str) else frame
        body = json.loads(raw)
        if "event_id" in body:
            pieces.append(_Piece(body.get("first_seq", body["seq"]), body["seq"], raw, body))
    return pieces


# --- two logs ------------------------------------------------------------------------


def overlap_differs(a: Sequence[Frame], b: Sequence[Frame]) -> list[str]:
    """Return where two clients of a session were told different things (I34).

    Frames that were not merged are compared byte for byte; where one of them was, the
    text of the stretch is.
    """
    by_last = {piece.last: piece for piece in _pieces(b) if not piece.merged}
    differences: list[str] = []
    merged = False
    for piece in _pieces(a):
        other = by_last.get(piece.last)
        merged = merged or piece.merged
        if other is not None and not piece.merged and piece.raw != other.raw:
            differences.append(f"I34: seq {piece.last} is {piece.raw!r} and {other.raw!r}")
    if merged or any(piece.merged for piece in _pieces(b)):
        differences += _merged_differ(a, b)
    return differences


def _merged_differ(a: Sequence[Frame], b: Sequence[Frame]) -> Iterator[str]:
    left, right = _once(_pieces(a)), _once(_pieces(b))
    for stretch in _stretches(left, right):
        mine = [piece for piece in left if piece.first in stretch]
        theirs = [piece for piece in right if piece.first in stretch]
        if not mine or not theirs or not any(piece.merged for piece in (*mine, *theirs)):
            continue
        where = f"I34: seq {stretch.start} to {stretch.stop - 1}"
        if any(piece.body["type"] != "model.token" for piece in (*mine, *theirs)):
            yield f"{where} merges more than tokens"
        elif len({piece.body["turn_id"] for piece in (*mine, *theirs)}) > 1:
            yield f"{where} merges tokens of two turns"
        elif not _same_text(mine, theirs):
            yield f"{where} has the texts {_text(mine)!r} and {_text(theirs)!r}"
        elif mine[-1].last == theirs[-1].last and _place(mine[-1]) != _place(theirs[-1]):
            yield f"{where} ends as {_place(mine[-1])} and {_place(theirs[-1])}"


def _once(pieces: Sequence[_Piece]) -> list[_Piece]:
    return sorted({piece.last: piece for piece in pieces}.values(), key=lambda piece: piece.first)


def _stretches(left: Sequence[_Piece], right: Sequence[_Piece]) -> Iterator[range]:
    """Stretches of seq that no piece of either side crosses the edge of."""
    start = stop = 0
    for piece in sorted((*left, *right), key=lambda piece: piece.first):
        if piece.first >= stop:
            yield range(start, stop)
            start = piece.first
        stop = max(stop, piece.last + 1)
    yield range(start, stop)


def _same_text(mine: Sequence[_Piece], theirs: Sequence[_Piece]) -> bool:
    # Who came or went in the middle of a merged frame has a part of its text.
    shorter, longer = sorted((mine, theirs), key=lambda pieces: pieces[-1].last - pieces[0].first)
    whole = shorter[0].first == longer[0].first and shorter[-1].last == longer[-1].last
    return _text(shorter) == _text(longer) if whole else _text(shorter) in _text(longer)


def _text(pieces: Sequence[_Piece]) -> str:
    return "".join(piece.body["payload"]["text"] for piece in pieces)


def _place(piece: _Piece) -> tuple[Any, ...]:
    return tuple(piece.body[key] for key in ("seq", "event_id", "ts"))


# --- one log -------------------------------------------------------------------------


def check_client_log(
    frames: Sequence[Frame], *, cut: bool = False, resent: Collection[str] = ()
) -> list[str]:
    """Return which rules of the connection the frames that one client received break.

    *cut* says that the connection broke: then `live` may be missing.  *resent* are the ids
    of commands that the client sent more than once on it: each time is answered.
    """
    log = _Log()
    for place, frame in enumerate(frames):
        body = json.loads(frame)
        if (body["type"] == "hello") != (place == 0):
            log.wrong(f"hello is first: frame {place} is {body['type']}")
        if "event_id" in body:
            log.take_event(body)
        else:
            log.take_frame(body)
    if not frames:
        log.wrong("hello is first: there is no frame")
    if log.lives != 1 and not (cut and log.lives == 0):
        log.wrong(f"live comes once: {log.lives} came")
    for command_id, answers in log.answers.items():
        if answers > 1 and command_id not in resent:
            log.wrong(f"one answer for each command: {command_id} has {answers}")
    return log.broken


@define
class _Log:
    broken: list[str] = field(factory=list[str], init=False)
    seq: int | None = field(default=None, init=False)
    lives: int = field(default=0, init=False)
    lagging: bool = field(default=False, init=False)
    answers: Counter[str] = field(factory=Counter[str], init=False)

    def wrong(self, sentence: str) -> None:
        self.broken.append(sentence)

    def take_event(self, body: dict[str, Any]) -> None:
        first, last = body.get("first_seq", body["seq"]), body["seq"]
        if self.seq is not None and first != self.seq + 1:
            self.wrong(f"seq is consecutive: {first} follows {self.seq}")
        if "first_seq" in body and (not self.lagging or body["type"] != "model.token"):
            self.wrong(f"only tokens of who lags are merged: seq {last}")
        self.seq = last

    def take_frame(self, body: dict[str, Any]) -> None:
        match body["type"]:
            case "hello":
                self.seq = body["replay_from"] - 1
            case "live":
                self.lives += 1
                if body["seq"] != self.seq:
                    self.wrong(f"live stands behind the replay: {body['seq']} after {self.seq}")
            case "lagging":
                self.lagging = True
            case "caught_up":
                self.lagging = False
                if body["seq"] != self.seq:
                    self.wrong(f"caught_up names the last seq: {body['seq']} after {self.seq}")
            case "reply":
                self.count_answer(body)
                if self.seq is None or self.seq < body["at_seq"]:
                    self.wrong(f"a reply comes after its at_seq: {body['at_seq']} at {self.seq}")
            case "error":
                self.count_answer(body)
            case _:
                pass

    def count_answer(self, body: dict[str, Any]) -> None:
        if body["command_id"] is not None:
            self.answers[body["command_id"]] += 1
