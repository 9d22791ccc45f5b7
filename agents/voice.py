"""How an app speaks and listens, as values."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from bargein.speech.commitment import is_claim
from bargein.speech.foresight import Foresight
from bargein.speech.meaning import ENGLISH, Vocabulary, words_of
from bargein.speech.pacing import Pacing
from bargein.speech.ports import Recogniser, Speaker, VoiceDetector
from bargein.speech.vad import Activity


@frozen
class Voice:
    """How an app takes turns, and what of its words it may say when.

    Attributes:
        pacing: How long it waits before it takes a pause for the end of a turn.
        vocabulary: Which words say something about turns; English where nothing else is given.
        protected: Passages that speech does not interrupt, as they stand in the answer.
        claims: Says whether a chunk commits to facts, and so needs the result of a tool before it.
        detector: Finds voices in the sound that clients send; None: clients say when they speak.
        activity: How much of what it finds makes a voice.
        recogniser: Understands that sound; None: clients send transcripts.
        speaker: Says answers aloud; None: clients do, and report.
        foresight: How early answers are begun, unseen; None: when the turn is over.
    """

    pacing: Pacing = field(factory=Pacing)
    vocabulary: Vocabulary = ENGLISH
    protected: tuple[str, ...] = ()
    claims: Callable[[str], bool] = is_claim
    detector: VoiceDetector | None = None
    activity: Activity = field(factory=Activity)
    recogniser: Recogniser | None = None
    speaker: Speaker | None = None
    foresight: Foresight | None = None

    @property
    def listens(self) -> bool:
        """Whether the server listens to sound itself."""
        return self.detector is not None or self.recogniser is not None

    def protects(self, text: str) -> bool:
        """Whether *text* is, or has in it, a passage that speech does not interrupt."""
        said = " ".join(words_of(text))
        passages = (" ".join(words_of(passage)) for passage in self.protected)
        return bool(said) and any(said in passage or passage in said for passage in passages)
