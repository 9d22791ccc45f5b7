"""The desk of a night train, to be talked with: microphone in, speech out.

    make serve APP=examples/voice.py:app

Open http://127.0.0.1:8710/app/, press Start, and ask "when does the train to Vienna leave?" or
"can I take my bicycle?".  "Tell me about the journey" is long enough to cut in.  The notice before
a booking is one that speech does not interrupt, and the booking waits for your yes.  How punctual
the train is no tool knows, so what the model says about it stays unsaid.  Without a key of
Anthropic's it plays `voice/screenplay.toml`; the page is in `voice/page/`.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Annotated, Final

from attrs import define, field, frozen
from msgspec import Meta

from bargein.agents.app import Agent, App
from bargein.agents.voice import Voice
from bargein.protocol.events import Object, RetrieveResult, RetrieveStart
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.retrieval import Library, LibraryUnusable
from bargein.tools.tool import ToolContext, ToolFailed, tool

HERE: Final = Path(__file__).resolve().parent / "voice"

NOTICE: Final = (
    "Please listen to this before you decide. A sleeper ticket is not refunded in the last "
    "twenty-four hours before the train leaves."
)
"""The law wants it to be heard to its end; see `Voice.protected`."""

City = Annotated[str, Meta(min_length=1, max_length=60)]
Topic = Annotated[str, Meta(min_length=1, max_length=500)]

# --- trains and berths ------------------------------------------------------------


@frozen
class Train:
    """A night train, as it is told."""

    to: str
    leaves: str
    platform: str
    arrives: str


TRAINS: Final = {
    train.to.lower(): train
    for train in (
        Train("Vienna", "nine forty in the evening", "platform five", "seven ten in the morning"),
        Train("Venice", "eight fifteen in the evening", "platform two", "eight in the morning"),
        Train("Berlin", "half past ten at night", "platform nine", "six fifty in the morning"),
    )
}


@define(eq=False)
class Berths:
    """Who sleeps where, open to any thread.  Lives as long as the process, and no longer."""

    _by_key: dict[str, str] = field(factory=dict[str, str], init=False)
    _last: int = field(default=10, init=False)
    _turn: Lock = field(factory=Lock, init=False)

    def take(self, key: str, train: Train) -> str:
        """Book a berth under *key*, once however often it is asked for; return what was booked."""
        with self._turn:
            if key not in self._by_key:
                self._last += 1
                self._by_key[key] = f"berth {self._last} to {train.to}"
            return self._by_key[key]

    def give_back(self, key: str) -> str:
        """Give a berth back; return which.

        Raises:
            ToolFailed: If nothing is booked under *key*.
        """
        with self._turn:
            if (berth := self._by_key.pop(key, None)) is None:
                raise ToolFailed("There is no such booking.")
            return berth

    def of(self, key: str) -> str | None:
        """Return what is booked under *key*; None if nothing is."""
        with self._turn:
            return self._by_key.get(key)


BERTHS: Final = Berths()
LIBRARY: Final = Library.of_folder(HERE / "conditions")


def _train(to: str) -> Train:
    if (train := TRAINS.get(to.lower())) is None:
        known = ", ".join(each.to for each in TRAINS.values())
        raise ToolFailed(f"There is no night train to {to}. There are trains to {known}.")
    return train


# --- tools ------------------------------------------------------------------------


@tool(effect="read")
def departure(to: City) -> str:
    """Tell when tonight's train leaves, from where, and when it arrives.

    Args:
        to: The city, such as Vienna.
    """
    train = _train(to)
    return (
        f"The train to {train.to} leaves at {train.leaves}, from {train.platform}. "
        f"It arrives at {train.arrives}."
    )


@tool(effect="read")
def conditions(topic: Topic, context: ToolContext) -> str:
    """Look up the conditions of carriage: bicycles, luggage, animals, breakfast, the journey.

    Args:
        topic: Words to look for.
        context: Of the call.
    """
    context.notes.note(RetrieveStart(topic))
    try:
        found = LIBRARY.search(topic, 1)
    except LibraryUnusable:
        found = ()
    sources = tuple({"title": each.title, "heading": each.heading} for each in found)
    context.notes.note(RetrieveResult(sources))
    if not found:
        return "The conditions of carriage say nothing about that."
    context.notes.note(Object("citations", [{"n": 1, **sources[0]}]))
    return " ".join(found[0].text.split())  # it is spoken: no lines, no numbers in brackets


def was_booked(key: str) -> Settlement:
    """Look up whether a berth was booked under *key*."""
    berth = BERTHS.of(key)
    return Happened(berth) if berth else NeverHappened("No berth has this booking.")


def given_back(done: Commitment) -> str:
    """Give the berth of `done.key` back."""
    return f"{BERTHS.give_back(done.key)} is free again"


@tool(
    effect="side_effect",
    summary="Book a berth to {to}, tonight",
    status=was_booked,
    revert=given_back,
)
def book_berth(to: City, context: ToolContext) -> str:
    """Book a berth on tonight's train, once the traveller has confirmed it.

    Args:
        to: The city, such as Vienna.
        context: Of the call.
    """
    if context.key is None:
        raise ToolFailed("Nothing is booked without a key.")
    return BERTHS.take(context.key, _train(to))


# --- the desk ---------------------------------------------------------------------

app = App(
    name="nightline",
    agents=(
        Agent(
            "desk",
            "You are the voice of a night train's desk. What you write is spoken: short sentences, "
            "no lists, no markdown, numbers in words. Say one short sentence before you look "
            "something up, then call the tool; never state a fact that no tool has returned in "
            f'this turn. Before you propose a booking say, word for word: "{NOTICE}" A booking is '
            "only proposed by your call; say that it waits for a yes on the screen.",
            tools=(departure, conditions, book_berth),
        ),
    ),
    screenplay=HERE / "screenplay.toml",
    voice=Voice(protected=(NOTICE,)),
    page=HERE / "page",
)
