"""A model that plays a screenplay: for first runs, tests and load, without a vendor."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final, assert_never, cast

import trio
from attrs import define, field

from bargein.models.client import (
    INTERRUPTED,
    Completion,
    ContextOverflow,
    Listener,
    Message,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnauthorized,
    ModelUnreachable,
    StreamTruncated,
    Text,
    ToolOutcome,
    ToolUse,
    Usage,
)
from bargein.models.screenplay import Call, Fail, Pause, Say, Scene, Screenplay, Stop
from bargein.protocol.ids import CallId

QUOTE_LIMIT_CHARS: Final = 160
"""How much of the user's words is said back: nobody wants a page of his own read to him."""

CHARS_PER_TOKEN: Final = 4
"""The usual rule of thumb, to count what was read."""

_TOKEN: Final = re.compile(r"\s*\S+|\s+\Z")
_BLANKS: Final = re.compile(r"\{(\w+)\}")
_NUMBER: Final = re.compile(r"\{(\w+):number\}")
_NUMBER_WORDS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
)  # fmt: skip
_SILENT: Final = Scene("silence", (Stop("end_turn"),))

_TIME_LIMIT_S: Final = 30.0
"""What a scripted timeout claims to have waited; it doesn't, since nobody learns from waiting."""


@define(eq=False)
class ScriptedModel:
    """A model that plays *screenplay*, on trio's clock and without chance.

    Keeps no state: any number of streams may run at once.  Where a reader is late, the tokens
    that are due come joined, as they would from a network.
    """

    _screenplay: Screenplay
    _tokens: dict[str, tuple[str, ...]] = field(factory=dict[str, tuple[str, ...]], init=False)

    _looks_back: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._looks_back = any(scene.history for scene in self._screenplay.scenes)
        for scene in self._screenplay.scenes:
            for step in scene.steps:
                if isinstance(step, Say):
                    self._tokens[step.say] = _tokens_of(step.say)

    @property
    def name(self) -> str:
        """Name the model, as its screenplay does."""
        return self._screenplay.model

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Play the scene for *request*: see `bargein.models.client.Model`.

        Raises:
            ModelError: The scene says so.
        """
        words = _latest_words(request.messages)
        outcome = _latest_outcome(request.messages)
        scene, found = self._scene_for(request, words, outcome)
        blanks = {**found, "user": _quoted(words), "outcome": outcome or ""}
        playing = _Playing(
            self, listener, blanks, _input_tokens(request), _place_of(request, words)
        )
        try:
            return await playing.play(scene, self._screenplay)
        except ModelError as error:
            error.usage = playing.usage(estimated=True) if playing.started else None
            raise

    def tokens(self, text: str) -> tuple[str, ...]:
        """Return *text* in tokens, which joined are *text*."""
        return self._tokens.get(text) or _tokens_of(text)

    def _scene_for(
        self, request: ModelRequest, words: str, outcome: str | None
    ) -> tuple[Scene, dict[str, str]]:
        """Return the scene to play, and what the groups of its patterns found."""
        interrupted = _was_interrupted(request.messages)
        after_tool = outcome is not None
        history = "\n".join(map(_all_of, request.messages)) if self._looks_back else ""
        for scene in self._screenplay.scenes:
            found = scene.fits(
                words, request.system, history, after_tool=after_tool, interrupted=interrupted
            )
            if found is not None:
                return scene, found
        return _SILENT, {}


@define(eq=False)
class _Playing:
    """One scene on the stage."""

    _model: ScriptedModel
    _listener: Listener
    _blanks: dict[str, str]
    _input_tokens: int
    _place: str
    started: bool = field(default=False, init=False)
    _said: int = field(default=0, init=False)
    _calls: int = field(default=0, init=False)

    async def play(self, scene: Scene, screenplay: Screenplay) -> Completion:
        await trio.sleep(screenplay.first_token_ms / 1000)
        for step in scene.steps:
            match step:
                case Fail():
                    raise self._failure(step)
                case Stop(reason):
                    self._start()
                    return Completion(reason, self.usage(estimated=False))
                case Pause(pause_ms):
                    await trio.sleep(pause_ms / 1000)
                case Say(say, per_second):
                    pace_s = screenplay.pace_ms / 1000 if per_second is None else 1 / per_second
                    await self._say(say, pace_s)
                case Call(tool, args):
                    self._call(tool, args)
                case _:
                    assert_never(step)
        self._start()
        reason = "tool_use" if self._calls else "end_turn"
        return Completion(reason, self.usage(estimated=False))

    def usage(self, *, estimated: bool) -> Usage:
        return Usage(self._input_tokens, self._said, estimated=estimated)

    async def _say(self, say: str, pace_s: float) -> None:
        self._start()
        tokens = self._model.tokens(_filled(say, self._blanks))
        began_at_s = trio.current_time()
        spoken = 0
        while spoken < len(tokens):
            await self._listener.room()
            await trio.sleep_until(began_at_s + (spoken + 1) * pace_s)
            late_s = trio.current_time() - (began_at_s + (spoken + 1) * pace_s)
            due = 1 if late_s < pace_s else 1 + int(late_s / pace_s)
            piece = tokens[spoken : spoken + due]
            self._listener.heard(piece[0] if due == 1 else "".join(piece), len(piece))
            spoken += len(piece)
            self._said += len(piece)

    def _start(self) -> None:
        if not self.started:
            self.started = True
            self._listener.started(self._input_tokens)

    def _call(self, tool: str, args: dict[str, Any]) -> None:
        self._start()
        self._calls += 1
        call_id = CallId(f"call_{self._place}_{self._calls}")
        filled = cast("dict[str, Any]", _filled_deeply(args, self._blanks))
        self._listener.tool_called(ToolUse(call_id, tool, filled))

    def _failure(self, fail: Fail) -> ModelError:
        began = self._said > 0 or self._calls > 0
        match fail.error:
            case "overloaded":
                return ModelOverloaded(fail.retry_after_s, began=began)
            case "failed":
                return ModelFailed(500, began=began)
            case "unreachable":
                return ModelUnreachable()
            case "timeout":
                return ModelTimeout(fail.phase, _TIME_LIMIT_S, began=began)
            case "cut":
                return StreamTruncated(began=began)
            case "unauthorized":
                return ModelUnauthorized()
            case "refused":
                return ModelRefused(began=began)
            case "too_long":
                return ContextOverflow(began=began)
            case _:
                assert_never(fail.error)


def _tokens_of(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


def _filled(text: str, blanks: dict[str, str]) -> str:
    return _BLANKS.sub(lambda blank: blanks.get(blank[1], blank[0]), text)


def _number(text: str, blanks: dict[str, str]) -> float | None:
    blank = _NUMBER.fullmatch(text)
    found = blanks.get(blank[1], "").lower() if blank else ""
    if found in _NUMBER_WORDS:
        return _NUMBER_WORDS.index(found)
    try:
        return int(found) if found.isdecimal() else float(found)
    except ValueError:
        return None  # the tool will say what it wants


def _filled_deeply(value: Any, blanks: dict[str, str]) -> Any:
    match value:
        case str():
            number = _number(value, blanks)
            return _filled(value, blanks) if number is None else number
        case list():
            return [_filled_deeply(item, blanks) for item in cast("list[Any]", value)]
        case dict():
            table = cast("dict[str, Any]", value)
            return {key: _filled_deeply(item, blanks) for key, item in table.items()}
        case _:
            return value


def _text_of(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return " ".join(block.text for block in message.content if isinstance(block, Text))


def _all_of(message: Message) -> str:
    """Return a message's text, and what tools answered in it."""
    if isinstance(message.content, str):
        return message.content
    told = (block.content for block in message.content if isinstance(block, ToolOutcome))
    return "\n".join((_text_of(message), *told))


def _latest_words(messages: tuple[Message, ...]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            words = _text_of(message)
            if words:
                return words
    return ""


def _latest_outcome(messages: tuple[Message, ...]) -> str | None:
    """Return what tools have just answered; None where the last message holds no outcome."""
    if not messages or isinstance(messages[-1].content, str):
        return None
    outcomes = [block.content for block in messages[-1].content if isinstance(block, ToolOutcome)]
    return "\n".join(outcomes) if outcomes else None


def _was_interrupted(messages: tuple[Message, ...]) -> bool:
    for message in reversed(messages):
        if message.role == "assistant":
            return INTERRUPTED in _text_of(message)
    return False


def _quoted(words: str) -> str:
    words = " ".join(words.split())
    if len(words) <= QUOTE_LIMIT_CHARS:
        return words
    return words[:QUOTE_LIMIT_CHARS].rsplit(" ", 1)[0] + "…"


def _place_of(request: ModelRequest, words: str) -> str:
    """Return where in its session a request stands, for the ids of the calls that it makes.

    Another agent, another step, other words or a longer conversation give another place: so
    calls that run at the same time never share an id, without chance or state.
    """
    asked = f"{request.system}\0{words}".encode("utf-8", "replace")
    return f"{sha256(asked).hexdigest()[:8]}_{len(request.messages)}"


def _input_tokens(request: ModelRequest) -> int:
    chars = len(request.system) + sum(len(_text_of(message)) for message in request.messages)
    return 1 + chars // CHARS_PER_TOKEN
