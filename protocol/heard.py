"""How far a spoken answer was heard, from reports that name chunks of speech."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias, cast

from attrs import define, field, frozen

from bargein.protocol.events import PlaybackStart, TtsChunk
from bargein.protocol.ids import ChunkId

WITHHELD: Final = "speech.withheld"
"""The kind of `object` that says what of an answer was not said aloud; the event comes once."""

Place: TypeAlias = tuple[int, int]
"""Where a part of an answer begins and ends, in code points."""

_WORD: Final = re.compile(r"\S+")
_BLANKS: Final = " \t\r\n"


@frozen
class ChunkPlace:
    """A chunk of speech, and where it stands in the turn's text, in code points."""

    text: str
    start: int
    end: int
    protected: bool


@define(slots=True)
class Chunks:
    """The chunks of one answer.

    Attributes:
        playing: The one that the client spoke of last.
    """

    playing: ChunkId | None = None
    _places: dict[ChunkId, ChunkPlace] = field(factory=dict[ChunkId, ChunkPlace])
    _words_ms: dict[ChunkId, tuple[float, ...]] = field(factory=dict[ChunkId, "tuple[float, ...]"])

    def add(self, chunk: TtsChunk) -> None:
        """Note that a chunk is to be spoken."""
        if isinstance(chunk.start, int) and isinstance(chunk.end, int):
            place = ChunkPlace(chunk.text, chunk.start, chunk.end, chunk.protected is True)
            self._places[chunk.chunk_id] = place

    def begin(self, start: PlaybackStart) -> int | None:
        """Note which chunk is played, and when its words are over; return where it stands."""
        if not start.chunk_id:
            return None
        self.playing = start.chunk_id
        if start.words_ms:
            self._words_ms[start.chunk_id] = start.words_ms
        place = self._places.get(start.chunk_id)
        return None if place is None else place.start

    def follows(self, chunk_id: ChunkId | None) -> bool:
        """Whether there is a chunk after *chunk_id*."""
        return chunk_id in self._places and next(reversed(self._places)) != chunk_id

    def heard(self, chunk_id: ChunkId | None, offset_ms: float | None) -> int | None:
        """Return how many code points of the answer were heard; None if it can't be told.

        Without the times of its words, a chunk that has begun does not count: never more is
        taken for heard than was.
        """
        place = self._places.get(chunk_id) if chunk_id is not None else None
        if chunk_id is None or place is None:
            return None
        self.playing = chunk_id
        words_ms = self._words_ms.get(chunk_id)
        if words_ms is None or offset_ms is None:
            return place.start
        heard = chars_of_words(place.text, words_ms, offset_ms)
        return place.end if heard == len(place.text) else place.start + heard

    @property
    def playing_end(self) -> int | None:
        """Where the one that is played ends in the answer; None where none is, or is known."""
        place = self._places.get(self.playing) if self.playing is not None else None
        return None if place is None else place.end

    @property
    def end(self) -> int:
        """Where the last of them ends in the answer."""
        return next(reversed(self._places.values())).end if self._places else 0

    @property
    def is_protected(self) -> bool:
        """Whether speech does not interrupt what is played now."""
        place = self._places.get(self.playing) if self.playing is not None else None
        return place is not None and place.protected


def withheld_in(data: Any) -> tuple[Place, ...]:
    """Return which parts of an answer an `object` of that kind says were left unsaid."""
    places = cast("dict[str, Any]", data).get("places") if isinstance(data, dict) else None
    if not isinstance(places, list | tuple):
        return ()
    found: list[Place] = []
    for place in cast("list[Any]", places):
        match place:
            case [int(start), int(end)] if (found[-1][1] if found else 0) <= start <= end:
                found.append((start, end))
            case _:
                return ()
    return tuple(found)


def without(text: str, places: tuple[Place, ...]) -> str:
    """Return *text* without its parts at *places*, and without the blanks behind them."""
    for start, end in reversed(places):
        rest = text[end:].lstrip(_BLANKS)
        text = text[:start] + rest if rest else text[:start].rstrip(_BLANKS)
    return text


def chars_of_words(text: str, words_ms: tuple[float, ...], offset_ms: float) -> int:
    """Return how far into *text* somebody has heard after *offset_ms*, in whole words."""
    heard = 0
    for word, over_ms in zip(_WORD.finditer(text), words_ms, strict=False):
        if over_ms > offset_ms:
            break
        heard = word.end()
    return heard
