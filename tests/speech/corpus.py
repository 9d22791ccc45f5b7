"""Scripted dialogues with what is true of them, drawn from a grammar of cases with a seed.

Each is what a voice detector and a recogniser would report, in seconds of a virtual clock: voices
begin and end, partial words follow with the recogniser's delay, final words later, now and then
never, and often without punctuation.  Some of it no rule gets right: a full stop in the middle of a
turn, an aside that is in no list, an interruption in the agent's own words.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Literal

from attrs import define, field, frozen

from bargein.protocol.ids import UtteranceId

SEED: Final = 9
SIZE: Final = 260
WORD_S: Final = 0.27

Kind = Literal["start", "stop", "partial", "final"]

SENTENCES: Final = (
    "List the funds in my portfolio.",
    "Only those with costs below two percent.",
    "Book a table for tonight.",
    "I want to cancel my order.",
    "Send the invoice to my accountant.",
    "Tell me about the second one.",
    "My brother lives in Boston.",
    "Move the meeting to Monday.",
)
QUESTIONS: Final = (
    "What is my balance?",
    "Can I change the delivery address?",
    "How much does it cost?",
    "Is there a cheaper one?",
    "When does the shop open?",
    "Why was my card refused?",
)
ANSWERS: Final = ("Yes.", "No.", "Thank you.", "That's all.", "Okay.")
SPLIT: Final = (
    ("I would like to", "fly to Boston."),
    ("Show me the", "cheapest ones first."),
    ("Can you send that to", "my accountant?"),
    ("I need a table for", "four people tonight."),
    ("My order was late and", "the box was open."),
    ("Could you look for a flight from", "Austin to Denver?"),
)
HESITATING: Final = (
    ("I would like, um", "a room for the weekend."),
    ("It was, let me think", "last Tuesday."),
    ("I bought it, uh", "in the other shop."),
    ("What about, you know", "the other account?"),
)
NUMBERS: Final = (
    ("My number is five five five", "one two three four."),
    ("The code is seven nine", "two zero."),
    ("It is order 4 4 1", "7 2."),
)
OPEN_PAUSES: Final = (
    ("Fly to Austin", "no sorry, to Boston."),
    ("Send it to my brother", "he paid for it."),
    ("I have two questions", "the first is about fees."),
    ("I moved last week.", "Please change my address."),
)
ASIDES: Final = (
    "mhm",
    "right",
    "uh-huh",
    "I see",
    "okay",
    "yeah",
    "got it",
    "really",
    "sure",
    "oh dear",
)
BARGES: Final = (
    "Only the cheap ones please.",
    "No, I meant Boston.",
    "Wait, what was the second one?",
    "Stop.",
    "Actually, show me the bonds.",
    "Can you say that again?",
    "But what does it cost?",
    "Never mind that.",
    "The second one.",
)
SAID: Final = (
    "You have three funds in your portfolio. The first one has grown a lot over the last year, and "
    "the second one pays a small dividend each quarter."
)


@frozen
class Report:
    """What the client sends at `at_s`."""

    at_s: float
    kind: Kind
    utterance_id: UtteranceId
    text: str = ""
    confidence: float | None = None


@define
class Dialogue:
    """What is reported, and what is true.

    Attributes:
        said: What the agent says meanwhile; empty where it listens.
        ends_s: When a turn of the user's really ends.
        interrupts_s: When the user begins to speak who wants the agent to stop; None: nobody does.
        over_s: When something that is no interruption is heard over the agent.
    """

    case: str
    said: str = ""
    reports: list[Report] = field(factory=list[Report])
    ends_s: list[float] = field(factory=list[float])
    interrupts_s: float | None = None
    over_s: float | None = None


@define
class Microphone:
    """Writes what is reported of somebody who speaks."""

    drawn: Random
    dialogue: Dialogue
    now_s: float = 1.0
    plain: bool = False
    _count: int = 0

    def speak(self, text: str, *, last: bool = True, confidence: float | None = None) -> None:
        """Say *text* as one utterance; where it is the last of the turn, its end is true."""
        who, began_s = self._next(), self.now_s
        words = self._heard(text).split()
        self._report(began_s, "start", who)
        for number in range(1, len(words) + 1):
            lag_s = self.drawn.uniform(0.08, 0.2)
            spoken = " ".join(words[:number]).rstrip(".?!,")
            self._report(began_s + number * WORD_S + lag_s, "partial", who, spoken, confidence)
        self.now_s = began_s + len(words) * WORD_S
        self._report(self.now_s, "stop", who)
        if last:
            self.dialogue.ends_s.append(self.now_s)
        if self.drawn.random() < 0.93:
            final_s = self.now_s + self.drawn.uniform(0.21, 0.35)
            self._report(final_s, "final", who, self._heard(text), confidence)

    def make_noise(self, for_s: float) -> None:
        """Be loud without a word."""
        who = self._next()
        self._report(self.now_s, "start", who)
        self.now_s += for_s
        self._report(self.now_s, "stop", who)

    def passes(self, least_s: float, most_s: float) -> None:
        self.now_s += self.drawn.uniform(least_s, most_s)

    def _heard(self, text: str) -> str:
        return text.lower().translate(str.maketrans("", "", ".,?!")) if self.plain else text

    def _next(self) -> UtteranceId:
        self._count += 1
        return UtteranceId(f"u{self._count}")

    def _report(
        self,
        at_s: float,
        kind: Kind,
        who: UtteranceId,
        text: str = "",
        confidence: float | None = None,
    ) -> None:
        self.dialogue.reports.append(Report(at_s, kind, who, text, confidence))


# --- the cases ------------------------------------------------------------------------------


def _whole(mic: Microphone) -> None:
    mic.speak(mic.drawn.choice(SENTENCES))


def _question(mic: Microphone) -> None:
    mic.speak(mic.drawn.choice(QUESTIONS))


def _answer(mic: Microphone) -> None:
    mic.speak(mic.drawn.choice(ANSWERS))


def _paused(mic: Microphone) -> None:
    _in_two(mic, mic.drawn.choice(SPLIT), 0.4, 1.25)


def _hesitated(mic: Microphone) -> None:
    _in_two(mic, mic.drawn.choice(HESITATING), 0.6, 1.6)


def _dictated(mic: Microphone) -> None:
    _in_two(mic, mic.drawn.choice(NUMBERS), 0.4, 0.95)


def _corrected(mic: Microphone) -> None:
    _in_two(mic, mic.drawn.choice(OPEN_PAUSES), 0.25, 0.75)


def _in_two(mic: Microphone, parts: tuple[str, str], least_s: float, most_s: float) -> None:
    mic.speak(parts[0], last=False)
    mic.passes(least_s, most_s)
    mic.speak(parts[1])


def _slow_speaker(mic: Microphone) -> None:
    for parts in mic.drawn.sample(SPLIT, 3):
        _in_two(mic, parts, 0.9, 1.5)
        mic.passes(4.0, 5.0)


def _cough_first(mic: Microphone) -> None:
    mic.make_noise(mic.drawn.uniform(0.1, 0.5))
    mic.passes(1.0, 2.0)
    mic.speak(mic.drawn.choice(SENTENCES))


def _aside(mic: Microphone) -> None:
    mic.dialogue.over_s = mic.now_s
    mic.speak(mic.drawn.choice(ASIDES), last=False)


def _two_asides(mic: Microphone) -> None:
    _aside(mic)
    mic.passes(1.5, 2.5)
    mic.speak(mic.drawn.choice(ASIDES), last=False)


def _cough_over(mic: Microphone) -> None:
    mic.dialogue.over_s = mic.now_s
    mic.make_noise(mic.drawn.uniform(0.1, 0.6))


def _television(mic: Microphone) -> None:
    mic.dialogue.over_s = mic.now_s
    mic.speak("and now the weather for", last=False, confidence=0.15)
    last = mic.dialogue.reports.pop()
    if last.kind != "final":
        mic.dialogue.reports.append(last)


def _echo(mic: Microphone) -> None:
    words = SAID.split()
    first = mic.drawn.randrange(len(words) - 6)
    mic.dialogue.over_s = mic.now_s
    mic.speak(" ".join(words[first : first + mic.drawn.randint(4, 6)]), last=False)


def _barge(mic: Microphone) -> None:
    mic.dialogue.interrupts_s = mic.now_s
    mic.speak(mic.drawn.choice(BARGES))


def _aside_then_barge(mic: Microphone) -> None:
    mic.dialogue.interrupts_s = mic.now_s
    mic.speak(f"{mic.drawn.choice(ASIDES)} {mic.drawn.choice(BARGES).lower()}")


def _long_overlap(mic: Microphone) -> None:
    mic.dialogue.interrupts_s = mic.now_s
    _in_two(mic, mic.drawn.choice(SPLIT), 0.3, 0.7)


LISTENING: Final[tuple[tuple[str, Callable[[Microphone], None]], ...]] = (
    ("a sentence", _whole),
    ("a question", _question),
    ("a short answer", _answer),
    ("a pause in a sentence", _paused),
    ("a hesitation", _hesitated),
    ("numbers", _dictated),
    ("a correction of oneself", _corrected),
    ("a slow speaker", _slow_speaker),
    ("a cough before words", _cough_first),
)
SPEAKING: Final[tuple[tuple[str, Callable[[Microphone], None]], ...]] = (
    ("an aside", _aside),
    ("two asides", _two_asides),
    ("a cough over the agent", _cough_over),
    ("a television", _television),
    ("an echo of the agent", _echo),
    ("an interruption", _barge),
    ("an aside that becomes an interruption", _aside_then_barge),
    ("both speak at the same time", _long_overlap),
)


def dialogues(seed: int = SEED, size: int = SIZE) -> list[Dialogue]:
    """Return *size* dialogues, the same for the same seed; each case in its turn."""
    drawn = Random(seed)  # noqa: S311 - the same dialogues for everybody
    cases = [*LISTENING, *SPEAKING]
    made: list[Dialogue] = []
    for number in range(size):
        name, case = cases[number % len(cases)]
        over = any(name == other for other, _ in SPEAKING)
        dialogue = Dialogue(name, SAID if over else "")
        case(Microphone(drawn, dialogue, plain=drawn.random() < 0.35))
        dialogue.reports.sort(key=lambda report: report.at_s)
        made.append(dialogue)
    return made
