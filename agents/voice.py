"""How an app speaks and listens, as values."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from bargein.speech.commitment import is_claim
from bargein.speech.meaning import ENGLISH, Vocabulary, words_of
from bargein.speech.pacing import Pacing


@frozen
class Voice:
    """How an app takes turns, and what of its words it may say when.

    Attributes:
        pacing: How long it waits before it takes a pause for the end of a turn.
        vocabulary: Which words say something about turns; English where nothing else is given.
        protected: Passages that speech does not interrupt, as they stand in the answer.
        claims: Says whether a chunk commits to facts, and so needs the result of a tool before it.
    """

    pacing: Pacing = field(factory=Pacing)
    vocabulary: Vocabulary = ENGLISH
    protected: tuple[str, ...] = ()
    claims: Callable[[str], bool] = is_claim

    def protects(self, text: str) -> bool:
        """Whether *text* is, or has in it, a passage that speech does not interrupt."""
        said = " ".join(words_of(text))
        passages = (" ".join(words_of(passage)) for passage in self.protected)
        return bool(said) and any(said in passage or passage in said for passage in passages)
