"""One user who speaks over the agent: coughs, hums, cuts in with words, and listens for the pause.

Voices and words are reported as a client would report them; there is no sound.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, Literal, TypeAlias

import msgspec
import trio
from attrs import define, field

from examples.bench.link import Link, LinkLost, connect
from examples.bench.readers import Readers

Manner: TypeAlias = Literal["cough", "hum", "words"]

MANNERS: Final[tuple[Manner, ...]] = ("cough", "cough", "hum", "words", "words")
"""What is drawn: a short sound, a voice that goes on and says nothing, or an interruption."""

ANSWER_LIMIT_S: Final = 20.0
"""Whatever the server does not say by then is an error, and the user asks something else."""

BEFORE_S: Final = (0.1, 1.5)
"""How long the agent is listened to before somebody speaks over it."""

SOUND_S: Final = (0.05, 0.3)
"""How long a cough lasts, and how long it takes until the first words are understood."""

ENDED_S: Final = 0.05
"""An answer that is over so soon after a voice began had ended before the server heard of it."""

WORDS: Final = "No, tell me about the other one."

_FRAME: Final = re.compile(
    rb'.*"type":"(model\.token|pause|unpause|flush|turn\.trace|turn\.start|error)"', re.DOTALL
)
_encode: Final = msgspec.json.Encoder().encode


def _samples() -> array[float]:
    return array("d")


@define(eq=False)
class Notes:
    """What the callers of a run have measured; seconds.

    Attributes:
        pause: From `speech.start` to `pause`; where none came, to the end of the answer or the run.
        decided: From `pause` to `flush` or `unpause`.
        missed: Voices that began when the answer had just ended.
        waiting: When the voices began that wait for their pause, by caller.
    """

    pause: array[float] = field(factory=_samples)
    decided: array[float] = field(factory=_samples)
    missed: int = 0
    errors: Counter[str] = field(factory=Counter[str])
    waiting: dict[object, float] = field(factory=dict[object, float])

    def begin(self) -> None:
        """Measure from now on; errors are kept."""
        self.pause, self.decided, self.missed = _samples(), _samples(), 0

    def end(self, now_s: float) -> None:
        """Count what the voices have waited that wait still."""
        self.pause.extend(now_s - s for s in self.waiting.values() if now_s - s > ENDED_S)
        self.waiting.clear()

    @property
    def missed_percent(self) -> float:
        """How many of a hundred voices were missed."""
        voices = len(self.pause) + self.missed
        return 100 * self.missed / voices if voices else 0.0


@define(eq=False)
class Caller:
    """One user and their connection.  Lives as long as `run`."""

    _url: str
    _random: Random
    _notes: Notes
    _readers: Readers
    live: trio.Event = field(factory=trio.Event, init=False)
    _seen: dict[str, float] = field(factory=dict[str, float], init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)
    _names: count[int] = field(factory=lambda: count(1), init=False)

    async def run(self, begin: trio.Event, spread_s: float) -> None:
        """Connect, wait for *begin*, and talk until cancelled; what is lost is noted."""
        try:
            link = await connect(self._url)
            try:
                with self._readers.calling(link.socket, partial(self._read, link)):
                    self._take(link.early())
                    self.live.set()
                    await begin.wait()
                    await trio.sleep(self._random.uniform(0, spread_s))
                    while True:
                        await self._converse(link)
            finally:
                await link.abandon()
        except LinkLost as lost:
            self._notes.errors[str(lost)] += 1
            self.live.set()

    # --- what is heard -------------------------------------------------------------------

    def _read(self, link: Link) -> None:
        try:
            self._take(link.read_now())
        except LinkLost as lost:
            self._note("lost", str(lost))

    def _take(self, messages: list[bytes]) -> None:
        for message in messages:
            found = _FRAME.match(message[:400])
            if found is not None:
                self._note(found[1].decode(), message.decode())

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "lost"):
            self._notes.errors[text[:200]] += 1
        if kind not in self._seen:
            self._seen[kind] = trio.current_time()
            self._news.set()
            self._news = trio.Event()

    async def _first(self, *kinds: str) -> str | None:
        """Wait for the first of *kinds* since `_seen` was cleared; None: it did not come."""
        with trio.move_on_after(ANSWER_LIMIT_S):
            while True:
                for kind in (*kinds, "lost"):
                    if kind in self._seen:
                        return kind
                await self._news.wait()
        self._notes.errors[f"no {' nor '.join(kinds)} came"] += 1
        return None

    # --- what is said ----------------------------------------------------------------------

    async def _converse(self, link: Link) -> None:
        """Ask something, and speak over the answer until it is over."""
        self._seen.clear()
        await _send(link, {"type": "say", "text": "Tell me how tides work."})
        while await self._first("model.token", "error") == "model.token":
            self._seen.pop("turn.trace", None)
            with trio.move_on_after(self._random.uniform(*BEFORE_S)):
                await self._first("turn.trace")
                return
            if not await self._speak_over(link):
                return

    async def _speak_over(self, link: Link) -> bool:
        """Say something while the agent speaks; return whether an answer goes on."""
        manner, who = self._random.choice(MANNERS), f"u{next(self._names)}"
        for kind in ("pause", "unpause", "flush"):
            self._seen.pop(kind, None)
        said_s = trio.current_time()
        await _send(link, {"type": "speech.start", "utterance_id": who})
        self._notes.waiting[self] = said_s
        answered = await self._first("pause", "turn.trace")
        self._notes.waiting.pop(self, None)
        if answered != "pause":
            if answered == "turn.trace":
                self._unpaused(self._seen["turn.trace"] - said_s)
            await _send(link, {"type": "speech.stop", "utterance_id": who})
            await self._first("turn.trace")
            return False
        paused_s = self._seen["pause"]
        self._notes.pause.append(paused_s - said_s)
        if manner != "hum":
            await trio.sleep(self._random.uniform(*SOUND_S))
        if manner == "cough":
            await _send(link, {"type": "speech.stop", "utterance_id": who})
        elif manner == "words":
            words = {"utterance_id": who, "revision": 0, "text": WORDS}
            await _send(link, {"type": "asr.partial", **words})
        decided = await self._first("flush" if manner == "words" else "unpause")
        if decided not in ("flush", "unpause"):
            return False
        self._notes.decided.append(self._seen[decided] - paused_s)
        if manner != "cough":
            await _send(link, {"type": "speech.stop", "utterance_id": who})
        if manner == "words":
            self._seen.clear()  # before the answer to the words, whose tokens come next
            words = {"utterance_id": who, "revision": 1, "text": WORDS}
            await _send(link, {"type": "asr.final", **words})
            await self._first("turn.start")
            self._seen.pop("model.token", None)
        return True

    def _unpaused(self, waited_s: float) -> None:
        """Count a voice to which the answer went on until its end."""
        if waited_s <= ENDED_S:
            self._notes.missed += 1
        else:
            self._notes.pause.append(waited_s)


async def _send(link: Link, body: dict[str, Any]) -> None:
    await link.send(_encode(body))
