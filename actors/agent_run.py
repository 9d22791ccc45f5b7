"""One agent at work: calls of its model, and the tools that it calls in between."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from attrs import define, evolve, field, frozen

from bargein.actors.asking import Asking
from bargein.actors.counters import RECOVERIES
from bargein.actors.exchange import UNHEARD_TRIES, Exchange, may_repeat_unheard
from bargein.actors.hearing import Hearing
from bargein.actors.messages import Noted, Outlet
from bargein.actors.phases import Phases
from bargein.actors.steering import take_steers
from bargein.actors.tool_calls import ToolCalls
from bargein.actors.turn import Turn
from bargein.agents.app import Agent
from bargein.models.client import (
    Block,
    Completion,
    Message,
    Model,
    ModelError,
    ModelRequest,
    Past,
    Text,
    ToolOutcome,
    ToolSpec,
    ToolUse,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    ModelFallback,
    ModelRetry,
    Payload,
    RecoveryEnd,
    RecoveryStart,
    Status,
)

MOST_CONTINUATIONS: Final = 3
"""How often an agent that used up its tool calls goes on from where it was."""

MOST_PAUSES: Final = 10
"""How often a model that paused its turn is asked to go on."""

GO_ON: Final = (
    "You have made as many tool calls as are allowed at a time. Everything up to here is kept. "
    "Go on from where you are; don't repeat what you have done."
)

NO_MORE: Final = (
    "You have made all the tool calls that you may make. Answer now, with what you have, and say "
    "what is missing."
)

NOT_RUN: Final = "Not run: the limit on tool calls was reached. Call it again if you need it."

SUMMARISE: Final = (
    "Summarise the conversation so far for yourself: who wants what, what was found and decided, "
    "with all names and numbers. Don't answer anything."
)


@frozen
class Answered:
    """What an agent came to.

    Attributes:
        stop_reason: Of the last call of its model.
    """

    text: str
    stop_reason: str


class ToolLimit(Exception):
    """The agent used up its tool calls, and all its continuations."""


def request_of(
    agent: Agent, brief: str, messages: tuple[Message, ...], past: Past | None
) -> ModelRequest:
    """Return what *agent* asks its model first."""
    return ModelRequest(
        agent.model,
        f"{agent.instructions}\n\n{brief}".strip(),
        messages,
        tuple(ToolSpec(t.name, t.description, t.schema) for t in agent.tools),
        agent.max_tokens,
        past,
    )


@define(eq=False)
class AgentRun:
    """Runs one agent until it has answered.  Lives as long as that takes.

    Attributes:
        _phases: Where the time of its work is noted.
        _brief: What this agent is to do in a plan, after its own instructions.
        _speaks: Its words go to the user as they come.
        _past: How the messages may begin, in JSON.
    """

    _turn: Turn
    _phases: Phases
    _agent: Agent
    _model: Model
    _tools: ToolCalls
    _output: Outlet
    _brief: str = ""
    _speaks: bool = True
    _past: Past | None = None
    _used_calls: int = field(default=0, init=False)
    _continued: int = field(default=0, init=False)
    _pauses: int = field(default=0, init=False)
    _summarised: bool = field(default=False, init=False)
    _fallbacks: list[str] = field(factory=list[str], init=False)

    async def run(self, messages: tuple[Message, ...]) -> Answered:
        """Answer *messages*; return what was said, and how the last call of the model ended.

        Raises:
            ModelError: The model did not answer, and no other could.
            ToolLimit: The agent wanted more tool calls than it may have at all.
        """
        agent = self._agent
        self._fallbacks = list(agent.fallbacks)
        request = request_of(agent, self._brief, messages, self._past)
        said: list[str] = []
        while True:
            request, hearing, completion = await self._call(request)
            said.extend(hearing.said)
            if hearing.calls:
                blocks = await self._use_tools(hearing.calls)
                turn = Message("assistant", hearing.as_blocks())
                request = _continued(request, turn, Message("user", blocks))
            elif completion.stop_reason == "pause_turn" and self._pauses < MOST_PAUSES:
                self._pauses += 1
                if blocks := hearing.as_blocks():  # no vendor takes an empty message
                    request = _continued(request, Message("assistant", blocks))
            else:
                return Answered("".join(said), completion.stop_reason)

    async def _use_tools(self, calls: Sequence[ToolUse]) -> tuple[Block, ...]:
        if self._used_calls >= self._agent.tool_limit:
            raise ToolLimit
        allowed = calls[: self._agent.tool_limit - self._used_calls]
        outcomes = await self._tools.run(allowed)
        left_out = (ToolOutcome(c.call_id, NOT_RUN, failed=True) for c in calls[len(allowed) :])
        self._used_calls += len(allowed)
        note = await self._within_limit()
        steered = await take_steers(self._turn, self._output)
        return (*outcomes, *left_out, *note, *map(Text, steered))

    async def _within_limit(self) -> tuple[Text, ...]:
        if self._used_calls < self._agent.tool_limit:
            return ()
        if self._continued == MOST_CONTINUATIONS:
            return (Text(NO_MORE),)
        self._used_calls = 0
        self._continued += 1
        await self._note(
            RecoveryStart(ErrorCode.TOOL_LIMIT.value, self._continued),
            RecoveryEnd(ErrorCode.TOOL_LIMIT.value, self._continued, "continued"),
        )
        RECOVERIES.labels(ErrorCode.TOOL_LIMIT.value).inc()
        return (Text(GO_ON),)

    # --- one call, with what can be done about its failure --------------------------

    async def _call(self, request: ModelRequest) -> tuple[ModelRequest, Hearing, Completion]:
        attempt, unheard_tries = 0, UNHEARD_TRIES
        while True:
            self._phases.enter("model.first_token")
            exchange = Exchange(
                self._turn,
                self._model,
                self._output,
                self._agent.name,
                speaks=self._speaks,
                phases=self._phases,
            )
            try:
                return request, exchange.hearing, await exchange.run(request)
            except ModelError as error:
                if not self._speaks and unheard_tries > 1 and may_repeat_unheard(error):
                    unheard_tries -= 1
                    await self._note(ModelRetry(UNHEARD_TRIES - unheard_tries + 1, 0.0, error.code))
                    continue
                shown = self._speaks and (error.began or exchange.hearing.said)
                if shown or not self._can_heal(request, error):
                    raise
                attempt += 1
                await self._note(RecoveryStart(error.code, attempt))
                RECOVERIES.labels(error.code).inc()
                request = await self._healed(request, error)
                await self._note(RecoveryEnd(error.code, attempt, "tried again"))

    def _can_heal(self, request: ModelRequest, error: ModelError) -> bool:
        if error.code == ErrorCode.CONTEXT_OVERFLOW:
            return _cut_of(request.messages) > 0
        hopeless = (ErrorCode.MODEL_REFUSED, ErrorCode.QUOTA_EXCEEDED)
        return bool(self._fallbacks) and error.code not in hopeless

    async def _healed(self, request: ModelRequest, error: ModelError) -> ModelRequest:
        """Return a request that may succeed where this one failed, and say so."""
        if error.code == ErrorCode.CONTEXT_OVERFLOW:
            return await self._shortened(request)
        model = self._fallbacks.pop(0)
        await self._note(ModelFallback(request.model or self._model.name, model))
        return evolve(request, model=model)

    async def _shortened(self, request: ModelRequest) -> ModelRequest:
        cut = _cut_of(request.messages)
        left_out, kept = request.messages[:cut], request.messages[cut:]
        summary: tuple[Message, ...] = ()
        how = "left out"
        if self._agent.overflow == "summarise" and not self._summarised:
            self._summarised = True  # a summary of the summary would go on for ever
            asking = Asking(self._turn, self._model, self._output, "summariser", request.model)
            question = (*left_out, Message("user", SUMMARISE))
            with suppress(ModelError):  # then they are left out, as without the policy
                text = await asking.ask(self._agent.instructions, question)
                summary, how = _summary(text), "summarised"
        told = f"The conversation is long: its {len(left_out)} oldest messages are {how}."
        await self._note(Status(told))
        return evolve(request, messages=(*summary, *kept))

    async def _note(self, *payloads: Payload) -> None:
        await self._output.tell(Noted(self._turn, payloads))


def _continued(request: ModelRequest, *more: Message) -> ModelRequest:
    return evolve(request, messages=(*request.messages, *more))


def _cut_of(messages: tuple[Message, ...]) -> int:
    """Return where a conversation that is too long may be cut, near its middle; 0 if nowhere."""
    places = [place for place, message in enumerate(messages) if place and _may_begin(message)]
    later = (place for place in places if place >= len(messages) // 2)
    return next(later, places[-1] if places else 0)


def _may_begin(message: Message) -> bool:
    # A conversation begins with the user's words, not with the outcome of a
    # tool whose call would be missing.
    return message.role == "user" and isinstance(message.content, str)


def _summary(text: str) -> tuple[Message, ...]:
    return (
        Message("user", "Summarise what we have said so far."),
        Message("assistant", text),
    )
