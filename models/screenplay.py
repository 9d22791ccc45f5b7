"""What a scripted model plays: scenes, each with the words that call for it.  Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, cast, get_args

from attrs import field, frozen
from attrs.validators import ge, gt

from bargein.models.client import TimeoutPhase

if TYPE_CHECKING:
    import cattrs

FailureKind: TypeAlias = Literal[
    "overloaded", "failed", "unreachable", "timeout", "cut", "unauthorized", "refused", "too_long"
]


class ScreenplayInvalid(ValueError):
    """A screenplay can't be played: correct it as the problems say, then load it again.

    Attributes:
        source: Name of the screenplay.
        problems: One sentence each, with the scene and the key.
    """

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"{source}: " + "; ".join(problems))
        self.source = source
        self.problems = problems


@frozen
class Say:
    """Say words, token by token.

    Attributes:
        say: The words; `{user}` stands for the user's, `{outcome}` for the tool's, and the name
            of a group in the scene's patterns for what it found.
        per_second: Tokens per second; None takes the screenplay's pace.
    """

    say: str
    per_second: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.per_second is not None and self.per_second <= 0:
            raise ValueError("per_second must be more than 0")


@frozen
class Pause:
    """Say nothing for a while."""

    pause_ms: int = field(validator=ge(0))


@frozen
class Call:
    """Call a tool.  Blanks are filled in the arguments' strings, too.

    A string that is nothing but `{name:number}` becomes the number that the group found, in
    digits or as a word up to twelve.
    """

    call: str
    args: dict[str, Any] = field(factory=dict[str, Any])


@frozen
class Fail:
    """Fail, and with that end.

    Attributes:
        error: How.
        retry_after_s: What an overloaded vendor asks for.
        phase: What took too long in a timeout.
    """

    error: FailureKind
    retry_after_s: float | None = None
    phase: TimeoutPhase = "first_token"


@frozen
class Stop:
    """End, with this stop reason."""

    stop: str


Step: TypeAlias = Say | Pause | Call | Fail | Stop

BLANKS: Final = frozenset({"user", "outcome"})
"""What every scene can quote; the groups of its patterns come on top."""

_STEPS: Final[dict[str, type[Step]]] = {
    "say": Say,
    "pause_ms": Pause,
    "call": Call,
    "error": Fail,
    "stop": Stop,
}


@frozen
class Scene:
    """What to do when the user says something.

    Attributes:
        name: Unique, for errors and logs.
        steps: What to do, in order.
        when: Found in the user's latest words; None matches all.
        system: Found in the instructions: this tells agents that share one model apart.
        history: Found anywhere in the conversation, in the latest words and the outcomes of
            tools too; where it is found more than once, the last place fills the blanks.
        after_tool: Play it only when a tool's outcome has just come; False plays it only when
            none has, so that a scene that calls a tool doesn't answer its own call.
        interrupted: Play it only when the previous answer was interrupted (or was not).
    """

    name: str
    steps: tuple[Step, ...]
    when: re.Pattern[str] | None = None
    system: re.Pattern[str] | None = None
    history: re.Pattern[str] | None = None
    after_tool: bool = False
    interrupted: bool | None = None

    def fits(
        self,
        words: str,
        system: str = "",
        history: str = "",
        *,
        after_tool: bool,
        interrupted: bool,
    ) -> dict[str, str] | None:
        """Return what the groups of its patterns found, if this is the scene for *words*.

        None if it is not; an empty table is a scene without groups.
        """
        if self.after_tool is not after_tool or self.interrupted not in {None, interrupted}:
            return None
        found: dict[str, str] = {}
        for pattern, text in ((self.system, system), (self.when, words)):
            if pattern is None:
                continue
            match = pattern.search(text)
            if match is None:
                return None
            found |= match.groupdict("")
        if self.history is not None:
            matches = tuple(self.history.finditer(history))
            if not matches:
                return None
            found |= matches[-1].groupdict("")
        return found

    def groups(self) -> set[str]:
        """Name the groups in its patterns."""
        patterns = (self.when, self.system, self.history)
        return {name for pattern in patterns if pattern is not None for name in pattern.groupindex}


@frozen
class Screenplay:
    """Scenes in the order in which they are tried.

    Attributes:
        scenes: The first that fits is played.
        pace_ms: Milliseconds per token.
        first_token_ms: Milliseconds before the first token.
        model: Name under which it answers.
    """

    scenes: tuple[Scene, ...]
    pace_ms: float = field(default=20.0, validator=gt(0))
    first_token_ms: float = field(default=0.0, validator=ge(0))
    model: str = "scripted"


def default_screenplay() -> Screenplay:
    """Return the screenplay that comes with the package."""
    text = (files("bargein.models") / "default_screenplay.toml").read_text(encoding="utf-8")
    return screenplay_from(text, "default_screenplay.toml")


def screenplay_at(path: Path) -> Screenplay:
    """Load the screenplay in the file at *path*.

    Raises:
        OSError: The file can't be read.
        ScreenplayInvalid: Its content can't be played.
    """
    return screenplay_from(path.read_text(encoding="utf-8"), path.name)


def screenplay_from(text: str, source: str = "screenplay") -> Screenplay:
    """Return the screenplay that *text*, in TOML, describes.

    Raises:
        ScreenplayInvalid: It can't be played.
    """
    import cattrs  # noqa: PLC0415  a server with a model needs none of it

    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScreenplayInvalid(source, (f"not TOML: {error}",)) from None
    try:
        play = _strict().structure(raw, Screenplay)
    except cattrs.BaseValidationError as error:
        found = cattrs.transform_error(error, "play", format_exception=_reason)
        problems = tuple(_readable(problem, raw) for problem in found)
        raise ScreenplayInvalid(source, problems) from None
    problems = tuple(_misfits(play))
    if problems:
        raise ScreenplayInvalid(source, problems)
    return play


def _misfits(play: Screenplay) -> list[str]:
    names = [scene.name for scene in play.scenes]
    found = [f"scene {name!r}: the name is taken" for name in set(names) if names.count(name) > 1]
    found += [f"scene {scene.name!r}: steps: none" for scene in play.scenes if not scene.steps]
    if not play.scenes:
        found.append("scenes: none")
    for scene in play.scenes:
        ends = [isinstance(step, Fail | Stop) for step in scene.steps]
        if any(ends[:-1]):
            found.append(f"scene {scene.name!r}: steps: nothing can follow an error or a stop")
        taken = sorted(scene.groups() & BLANKS)
        found += [f"scene {scene.name!r}: a group can't be called {name!r}" for name in taken]
    return sorted(found)


def _reason(error: BaseException, kind: type | None) -> str:
    """Return what is wrong with a value, for a person."""
    import cattrs  # noqa: PLC0415

    match error:
        case cattrs.ForbiddenExtraKeysError():
            return f"unknown: {', '.join(sorted(error.extra_fields))}"
        case KeyError():
            return "is missing"
        case TypeError() | ValueError() | re.error():
            return str(error)
        case _:
            words = [word for word in get_args(kind) if isinstance(word, str)]
            return f"expected one of {', '.join(words)}" if words else str(error)


def _readable(problem: str, raw: Mapping[str, Any]) -> str:
    """Return cattrs' *problem* with the scene's name in place of its number."""
    message, _, path = problem.rpartition(" @ ")
    place = re.fullmatch(r"play(?:\.scenes\[(\d+)\])?\.?(.*)", path)
    if place is None:
        return problem
    number, key = place[1], place[2]
    if number is None:
        return f"{key or 'screenplay'}: {message}"
    scene: Any = raw["scenes"][int(number)]
    name: Any = cast("dict[str, Any]", scene).get("name") if isinstance(scene, dict) else None
    shown = repr(name) if isinstance(name, str) else f"number {int(number) + 1}"
    return f"scene {shown}: {key + ': ' if key else ''}{message}"


V = TypeVar("V")


def _exactly(kind: type[V], *also: type[Any]) -> Callable[[Any, Any], V]:
    """Return a hook that takes values of *kind* as they are and converts none."""

    def structured(value: Any, _: Any) -> V:
        if type(value) in {kind, *also}:
            return kind(value)  # pyright: ignore[reportCallIssue]
        raise TypeError(f"expected {kind.__name__}, found {value!r}")

    return structured


def _pattern(value: Any, _: Any) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise TypeError(f"expected a regular expression, found {value!r}")
    return re.compile(value)


@cache
def _strict() -> cattrs.Converter:
    """Return a converter that takes no other type for the one it expects, and no other key."""
    import cattrs  # noqa: PLC0415
    from cattrs.gen import make_dict_structure_fn  # noqa: PLC0415

    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, _exactly(str))
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(float, _exactly(float, int))
    converter.register_structure_hook_func(lambda kind: kind == re.Pattern[str], _pattern)
    shapes = {
        kind: make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
        for kind in get_args(Step)
    }

    def step(value: Any, _: Any) -> Step:
        if not isinstance(value, dict):
            raise TypeError(f"expected a table, found {value!r}")
        table = cast("dict[str, Any]", value)
        named = [key for key in _STEPS if key in table]
        if len(named) != 1:
            raise TypeError(f"expected exactly one of {', '.join(_STEPS)}, found {sorted(table)}")
        kind = _STEPS[named[0]]
        return shapes[kind](table, kind)

    converter.register_structure_hook(Step, step)
    return converter
