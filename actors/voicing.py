"""Cuts a turn's answer into chunks of speech on its way to the output loop.

A preface goes out as soon as it is written; a claim waits for a tool or a retrieval of the turn
that finds something, and is left unsaid where none does.  Only spoken sessions have one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from attrs import define, field
from msgspec import UnsetType

from bargein.actors.mailbox import Receipt
from bargein.actors.messages import Noted, Outlet, OutputMessage, Record, Spoken
from bargein.actors.turn import Turn
from bargein.agents.voice import Voice
from bargein.protocol.events import (
    ModelEnd,
    ModelToken,
    Object,
    Payload,
    RetrieveResult,
    ToolCall,
    ToolResult,
    TtsChunk,
)
from bargein.protocol.heard import WITHHELD
from bargein.protocol.ids import ChunkId
from bargein.speech.chunking import Chunking, Piece

T = TypeVar("T")

NO_SUPPORT: Final = "No tool or retrieval returned anything that supports it."

_ASIDES: Final = ("planner", "titler", "summariser")
_SENTENCE_ENDS: Final = (".", "!", "?", "\u2026", ":")


@define(eq=False)
class VoicedOutlet:
    """An address of the output loop that speaks what passes.  Lives as long as a turn's work.

    Attributes:
        _needs_support: The app has tools, so that a claim can be held against what they return.
        _supported: Something was found in this turn.
        _fruitless: Searches that found nothing, and whose tools are still to say so in words.
        _held: Chunks that wait for support, and those behind them.
        _ready: Chunks that wait for room.
    """

    _output: Outlet
    _turn: Turn
    _voice: Voice
    _needs_support: bool
    _chunking: Chunking = field(factory=Chunking, init=False)
    _supported: bool = field(default=False, init=False)
    _fruitless: int = field(default=0, init=False)
    _mid_claim: bool = field(default=False, init=False)
    _count: int = field(default=0, init=False)
    _held: list[tuple[Piece, bool]] = field(factory=list[tuple[Piece, bool]], init=False)
    _ready: list[Payload] = field(factory=list[Payload], init=False)

    async def tell(self, message: OutputMessage) -> None:
        """Deliver *message*, and then what of it can be spoken; wait while there is no room."""
        await self._output.tell(message)
        self._hear(message)
        await self._tell_ready()

    def offer(self, message: OutputMessage) -> bool:
        """Deliver *message* if there is room now; what can be spoken follows when there is."""
        if not self._output.offer(message):
            return False
        self._hear(message)
        if self._ready and self._output.offer(Noted(self._turn, tuple(self._ready))):
            self._ready.clear()
        return True

    async def ask(self, request: Callable[[Receipt[T]], OutputMessage], *, within_s: float) -> T:
        """Send `request(receipt)` and return the answer."""
        asked: list[OutputMessage] = []

        def build(receipt: Receipt[T]) -> OutputMessage:
            asked.append(request(receipt))
            return asked[0]

        answer = await self._output.ask(build, within_s=within_s)
        self._hear(asked[0])
        await self._tell_ready()
        return answer

    async def finish(self) -> None:
        """Speak what is left, and say what is left unsaid: the work of the turn is over."""
        self._speak(self._chunking.flush())
        held, self._held = self._held, []
        withheld = [piece for piece, is_claim in held if is_claim]
        if withheld:
            text = " ".join(piece.text for piece in withheld)
            places = [[piece.start, piece.end] for piece in withheld]
            told: dict[str, Any] = {"text": text, "reason": NO_SUPPORT, "places": places}
            # First, so that whoever interrupts what follows has not heard it.
            self._ready.append(Object(WITHHELD, told))
        self._ready += [self._chunk(piece, is_claim=False) for piece, claim in held if not claim]
        await self._tell_ready()
        self._turn.held_from = None

    async def _tell_ready(self) -> None:
        if self._ready:
            ready, self._ready = tuple(self._ready), []
            await self._output.tell(Noted(self._turn, ready))

    def _hear(self, message: OutputMessage) -> None:
        if isinstance(message, Spoken):
            self._speak(self._chunking.feed(message.text))
            return
        if isinstance(message, Record):
            return
        for draft in message.drafts:
            match draft:
                case ModelToken(text):
                    self._speak(self._chunking.feed(text))
                case ModelEnd(agent=agent) if not _is_beside(agent):
                    self._speak(self._chunking.flush())
                case ToolCall():
                    self._fruitless = 0
                case RetrieveResult(sources):
                    self._found(sources)
                case ToolResult(status="ok", result=result):
                    self._returned(result)
                case _:
                    pass

    def _found(self, sources: Sequence[Any]) -> None:
        if sources:
            self._support()
        else:
            self._fruitless += 1

    def _returned(self, result: Any) -> None:
        if self._fruitless:
            self._fruitless -= 1  # "Nothing was found." supports nothing
        elif not _is_empty(result):
            self._support()

    def _support(self) -> None:
        self._supported = True
        self._turn.held_from = None
        held, self._held = self._held, []
        self._ready += [self._chunk(piece, is_claim=is_claim) for piece, is_claim in held]

    def _speak(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            is_claim = self._needs_support and (self._mid_claim or self._voice.claims(piece.text))
            self._mid_claim = is_claim and not piece.text.endswith(_SENTENCE_ENDS)
            if self._held or (is_claim and not self._supported):
                if not self._held:
                    self._turn.held_from = piece.start
                self._held.append((piece, is_claim))
            else:
                self._ready.append(self._chunk(piece, is_claim=is_claim))

    def _chunk(self, piece: Piece, *, is_claim: bool) -> TtsChunk:
        self._count += 1
        chunk_id = ChunkId(f"chunk_{self._turn.number}_{self._count}")
        self._turn.last_chunk = chunk_id
        commitment = "claim" if is_claim else "preface"
        place = piece.start, piece.end
        if self._voice.protects(piece.text):
            return TtsChunk(chunk_id, piece.text, commitment, *place, protected=True)
        return TtsChunk(chunk_id, piece.text, commitment, *place)


def _is_empty(result: Any) -> bool:
    """Whether a tool returned nothing that anything could be said about."""
    match result:
        case None:
            return True
        case str():
            return not result.strip()
        case dict():
            return all(map(_is_empty, cast("dict[Any, Any]", result).values()))
        case list() | tuple():
            return all(map(_is_empty, cast("list[Any]", result)))
        case _:
            return False


def _is_beside(agent: str | UnsetType) -> bool:
    return bool(agent) and (agent in _ASIDES or agent.startswith("guardrail:"))
