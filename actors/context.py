"""What the model is shown of a conversation: what was said, and what of it was heard."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from attrs import define, field

from bargein.actors.news import news_note, waiting_note
from bargein.actors.resuming import found_before
from bargein.models.client import INTERRUPTED, Message, Past, plain_json
from bargein.protocol.ids import NOTHING, Seq, TurnId
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState

BROKE_OFF: Final = "[this answer broke off because of a failure]"

PUT_OFF: Final = "[this answer was put off; it goes on below]"

GO_ON: Final = "Your answer broke off. Please go on from where it ended."


@define(eq=False)
class Conversation:
    """A conversation as a model is told of it, built on as it grows.

    What a turn that is over has to tell is worked out once, so that the thousandth turn costs what
    the tenth does.  Lives as long as the session is in memory; all that it holds can be let go
    of at any time.

    Attributes:
        _told: Messages of the turns that were taken in, oldest first.
        _ends: For each of these turns, where its messages end in `_told`.
        _before: For each of these turns, how many characters the older ones have.
        _json: `_told` in JSON, as `Past` has it.
        _json_ends: For each of the turns, where its messages end in `_json`.
        _chars: How many characters all of them have, and the news between them.
        _last: The latest of them.
        _since: When it began.
        _most_chars: By which limit old turns were let go.
        _settled: Nothing more can become of the turns that were taken in, unless they are replaced.
    """

    _state: SessionState
    _told: list[Message] = field(factory=list[Message], init=False)
    _ends: list[int] = field(factory=list[int], init=False)
    _before: list[int] = field(factory=list[int], init=False)
    _json: bytes = field(default=b"", init=False)
    _json_ends: list[int] = field(factory=list[int], init=False)
    _chars: int = field(default=0, init=False)
    _last: TurnId | None = field(default=None, init=False)
    _since: Seq = field(default=NOTHING, init=False)
    _most_chars: int = field(default=0, init=False)
    _settled: bool = field(default=True, init=False)

    def told(
        self,
        turn_id: TurnId,
        words: str,
        *,
        continues: TurnId | None = None,
        most_chars: int,
    ) -> tuple[tuple[Message, ...], Past | None]:
        """Return the conversation up to the turn *turn_id*, its *words* last and unchanged.

        A cancelled answer is cut at what the user saw or heard, with a mark; a
        rolled back turn is not there at all.  From the old end on, turns over
        *most_chars* are left out.  With it comes the JSON of its older part.
        """
        if not self._settled or self._most_chars != most_chars or self._is_stale():
            self.forget()
        self._most_chars = most_chars
        state = self._state
        self._take(self._newer_than_last(turn_id))
        notes = tuple(news_note(state, self._since, state.seq))
        latest = [Message("user", note) for note in (*notes, *waiting_note(state))]
        chars = len(words) + sum(map(len, notes))
        past = self._past(most_chars - chars, at_least_one=not latest)
        told = past.messages if past else ()
        goes_on = continues is not None and state.turns[continues].words == words
        asked = GO_ON if goes_on and (told or latest) else words
        self._let_go()
        found = found_before(state, continues)
        return (*told, *latest, Message("user", "\n\n".join((asked, *found)))), past

    def forget(self) -> None:
        """Let go of everything; it is worked out anew when it is asked for."""
        self._told, self._ends, self._before = [], [], []
        self._json, self._json_ends = b"", []
        self._chars, self._last, self._since = 0, None, NOTHING
        self._settled = True

    def _is_stale(self) -> bool:
        """Whether something was told that is no longer so."""
        if self._last is None:
            return False
        for turn in reversed(self._state.turns.values()):
            if turn.turn_id == self._last:
                return False
            replaced = self._state.turns.get(turn.replaces) if turn.replaces else None
            if replaced is not None and (replaced.start_seq or NOTHING) <= self._since:
                return True
        return True

    def _newer_than_last(self, turn_id: TurnId) -> list[TurnState]:
        """Return what has been added to the conversation and is not too old, newest first."""
        newer: list[TurnState] = []
        chars = 0
        for turn in reversed(self._state.turns.values()):
            if turn.turn_id == self._last or (chars > self._most_chars and len(newer) > 1):
                break
            if turn.turn_id != turn_id and _belongs(turn):
                newer.append(turn)
                chars += len(turn.words) + len(_answer_of(turn))
        return newer

    def _take(self, newer: list[TurnState]) -> None:
        pieces = [self._json] if self._json else []
        end_bytes = len(self._json)
        for turn in reversed(newer):
            known = len(self._told)
            self._tell(turn)
            for message in self._told[known:]:
                pieces.append(plain_json(message.role, str(message.content)))
                end_bytes += len(pieces[-1]) + (len(pieces) > 1)
            self._json_ends.append(end_bytes)
        self._json = b",".join(pieces)

    def _tell(self, turn: TurnState) -> None:
        since = turn.start_seq or NOTHING
        for note in news_note(self._state, self._since, since):
            self._told.append(Message("user", note))
            self._chars += len(note) if self._last is not None else 0
        answer = _answer_of(turn)
        self._before.append(self._chars)
        self._told.append(Message("user", "\n\n".join((turn.words, *turn.steered))))
        if answer:
            self._told.append(Message("assistant", answer))
        self._ends.append(len(self._told))
        self._chars += len(turn.words) + len(answer)
        self._last, self._since = turn.turn_id, since
        self._settled = self._settled and turn.over

    def _past(self, room_chars: int, *, at_least_one: bool) -> Past | None:
        """Return what of the turns that were taken in fits into *room_chars*."""
        index = bisect_left(self._before, self._chars - room_chars)
        if at_least_one:
            index = min(index, len(self._before) - 1)
        if index >= len(self._before) or not self._told:
            return None
        if index <= 0:
            return Past(tuple(self._told), self._json)
        comma = self._json_ends[index - 1]
        return Past(tuple(self._told[self._ends[index - 1] :]), self._json[comma + 1 :])

    def _let_go(self) -> None:
        """Let go of turns that are too old to be told of again, whatever is asked next."""
        over = bisect_left(self._before, self._chars - self._most_chars)
        over = min(over, len(self._before) - 1)
        if over > len(self._before) // 2:  # rarely, because it goes over all that is left
            start, start_bytes = self._ends[over - 1], self._json_ends[over - 1] + 1
            del self._told[:start]
            self._ends = [end - start for end in self._ends[over:]]
            self._json = self._json[start_bytes:]
            self._json_ends = [end - start_bytes for end in self._json_ends[over:]]
            del self._before[:over]


def _belongs(turn: TurnState) -> bool:
    return not turn.rolled_back and turn.status not in ("queued", "open", "dropped")


def _answer_of(turn: TurnState) -> str:
    heard = turn.said
    match turn.status:
        case "cancelled" if turn.preempted and not turn.given_up:
            return f"{heard.rstrip()} {PUT_OFF}".lstrip()
        case "cancelled":
            return f"{heard.rstrip()} {INTERRUPTED}".lstrip()
        case "failed":
            return f"{heard.rstrip()} {BROKE_OFF}".lstrip()
        case _:
            return heard
