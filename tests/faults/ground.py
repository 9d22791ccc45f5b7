"""Where rows of the table are tried: the real server, with a canary in every place for a secret."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Final

from attrs import define, evolve, field, frozen
from prometheus_client import REGISTRY, generate_latest

from bargein.agents.app import Agent, App
from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth, Limits
from bargein.models.anthropic import AnthropicModel
from bargein.models.breaker import Breaking
from bargein.models.retry import Retrying
from bargein.timeline.memory import MemoryStore
from bargein.tools.arguments import SECRET as HIDE
from bargein.tools.tool import Tool, tool
from tests.e2e.apps.obedient import vendor_obeys
from tests.e2e.apps.till import Till
from tests.e2e.client import Client
from tests.e2e.faults import HASTY, MODEL, SHORT
from tests.e2e.harness import FREE_LIMITS, KEY, World, eventually, world
from tests.e2e.scripts import BRIEF, FOR_EVER
from tests.fakes.anthropic_answers import Answer, Call, Say, Stop, doing
from tests.fakes.anthropic_api import Exchange, FakeAnthropic, Script, serving
from tests.fakes.tokens import SECRET, SHARED, soon
from tests.faults import canaries
from tests.faults.offender import NEIGHBOURS_ANSWER, Offender, offender

CONFIDE: Final = "Confide in the vault."
STRIKES_MOST: Final = 2


@tool(effect="read")
async def vault(pin: Annotated[str, HIDE]) -> str:
    """Open the vault, which fails and says too much."""
    raise RuntimeError(f"{canaries.EXCEPTION}: {pin} does not open {canaries.PATH}")


@frozen
class Stage:
    """What a provocation needs of its server, beside what all have.

    Attributes:
        script: What the vendor answers; by default it does what it is told to, and tells long
            stories to whoever asks for one.
        agent: Fields of the one agent that differ.
        tools: Tools that it has besides.
        limits: Limits that differ.
        settings: Settings that differ.
        declared: What is declared of the tool `pay` besides.
        forgiven: Errors that may be logged.
        own_model: The server's own model answers, with its usual patience.
    """

    script: Callable[[], Script | Sequence[Answer]] | None = None
    agent: Mapping[str, Any] = field(factory=dict[str, Any])
    tools: tuple[Tool, ...] = ()
    limits: Mapping[str, Any] = field(factory=dict[str, Any])
    settings: Mapping[str, Any] = field(factory=dict[str, Any])
    declared: Mapping[str, Any] = field(factory=dict[str, Any])
    forgiven: tuple[str, ...] = ()
    own_model: bool = False


@define(eq=False)
class Ground:
    """A server with a vendor and a till, and everybody who was there.

    Attributes:
        token: Of the principal `ann`, to whom all belongs.
        seen: What clients by hand were sent.
    """

    world: World
    api: FakeAnthropic
    till: Till
    token: str
    open: AsyncExitStack
    seen: list[Offender] = field(factory=list[Offender])
    texts: list[str] = field(factory=list[str])

    @property
    def headers(self) -> dict[str, str]:
        """What a client by hand says of itself."""
        return {"Authorization": f"Bearer {self.token}", "X_Canary": canaries.HEADER}

    async def attach(self, session_id: str | None = None, **query: Any) -> Client:
        return await self.world.attach(session_id, token=self.token, **query)

    async def dial(self, session_id: str | None = None, **query: Any) -> Client:
        return await self.world.dial(session_id, **{"token": self.token, **query})

    async def offender(self, *, strict: bool = True) -> Offender:
        """Attach a client by hand that stays until the end."""
        bad = await self.open.enter_async_context(
            offender(self.world, strict=strict, **self.headers)
        )
        self.seen.append(bad)
        return bad

    async def busy(self, client: Client) -> str:
        """Begin a turn that has no end of its own."""
        turn_id = (await client.say("Long story"))["result"]["turn_id"]
        await client.until("model.token", turn_id=turn_id)
        return turn_id

    async def types_of(self, session_id: str) -> list[str]:
        """Return the types of what is stored of a session."""
        stored = await self.world.timeline(session_id)
        return [json.loads(event.frame)["type"] for event in stored]

    async def is_usable(self, session_id: str | None) -> None:
        """Check that a `say` completes; what its tool does and says is for nobody's eyes."""
        client = await self.attach(session_id)
        turn_id = await client.converse(CONFIDE)
        (end,) = (e for e in client.of_turn(turn_id) if e.type == "response.end")
        assert end.payload["status"] == "completed", end.text
        assert client.answer_of(turn_id).endswith("Very well.")
        call = await client.until("tool.call", turn_id=turn_id, tool="vault")
        assert call.payload["args"] == {"pin": "[secret]"}

    async def shows_no_canary(self) -> None:
        """Check everything that anybody can see."""
        signature = self.token.rpartition(".")[2]
        store = self.world.store
        assert isinstance(store, MemoryStore)
        texts = [frame.text for client in self.world.clients for frame in client.frames]
        texts += [client.close_reason or "" for client in self.world.clients]
        texts += [text for bad in self.seen for text in bad.frames] + self.texts
        texts += [line.text.decode() for line in await store.audit_lines(0, limit=10_000)]
        texts.append(generate_latest(REGISTRY).decode())
        for listed in await store.sessions(0, limit=1000):
            stored = await self.world.timeline(listed.row.session_id)
            texts += [event.frame.decode() for event in stored]
        assert [found for text in texts for found in canaries.seen_in(text, signature)] == []
        assert canaries.seen_in_logs(self.world.logs, signature) == []


@frozen
class Seen:
    """What came of a provocation.

    Attributes:
        codes: Of errors; a set, because some are told twice.
        closes: Codes of closes.
        statuses: Of refused requests.
        session_id: Of the session that has to be usable; None for any.
        striking: Says whether whoever provoked has a strike; None where there is no connection.
    """

    codes: frozenset[str] = frozenset()
    closes: frozenset[int] = frozenset()
    statuses: frozenset[int] = frozenset()
    session_id: str | None = None
    striking: Callable[[], Awaitable[bool]] | None = None


def clients_strike(client: Client) -> Callable[[], Awaitable[bool]]:
    """Return what says whether a client has a strike: it gets another, and two are too many."""

    async def has_one() -> bool:
        since = len(client.frames)
        await client.send("fly")
        await client.send("ping", id="after-the-strike")
        await eventually(
            lambda: (
                client.closed.is_set() or client.find("reply", since, command_id="after-the-strike")
            )
        )
        assert client.close_code in (None, 4101)
        return client.close_code == 4101

    return has_one


def replying(client: Client, *answers: Any) -> Seen:
    """Return what a client was answered, where it stays attached."""
    codes = [answer["error"]["code"] for answer in answers if answer.type == "error"]
    return Seen(frozenset(codes), session_id=client.session_id, striking=clients_strike(client))


def failing(client: Client, turn_id: str) -> Seen:
    """Return the errors of a turn, each of which says whether it may be tried again."""
    faults = [event for event in client.of_turn(turn_id) if event.type == "error"]
    for fault in faults:
        assert isinstance(fault.payload["retryable"], bool)
        assert fault.payload["layer"] in ("executor", "orchestrator", "pipeline")
    return Seen(
        frozenset(fault.payload["code"] for fault in faults),
        session_id=client.session_id,
        striking=clients_strike(client),
    )


# --- its parts --------------------------------------------------------------------------


def _confiding(otherwise: Script) -> Script:
    """Return a script that lets those who confide call the vault, and leaves the rest."""

    def script(exchange: Exchange) -> Answer:
        content = exchange.body["messages"][-1]["content"]
        if content == CONFIDE:
            pin = json.dumps({"pin": canaries.ARGUMENT})
            place = f"vault_{exchange.connection}_{len(exchange.body['messages'])}"
            return doing(Say("One moment. "), Call(place, "vault", (pin,)), Stop("tool_use"))
        if isinstance(content, list) and "vault_" in json.dumps(content):
            return BRIEF
        return otherwise(exchange)

    return script


def _obeying(exchange: Exchange) -> Answer:
    words = exchange.body["messages"][-1]["content"]
    if isinstance(words, str) and words.startswith("Long"):
        return FOR_EVER
    if isinstance(words, str) and words.startswith("Neighbour"):
        return NEIGHBOURS_ANSWER
    return vendor_obeys(exchange)


def _in_turn(answers: Sequence[Answer]) -> Script:
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def _script_of(stage: Stage) -> Script:
    if stage.script is None:
        return _confiding(_obeying)
    chosen = stage.script()
    return _confiding(chosen if callable(chosen) else _in_turn(chosen))


@asynccontextmanager
async def ground(stage: Stage) -> AsyncGenerator[Ground]:
    """Serve *stage* until it is left; then the rules of every timeline are checked."""
    till = Till()
    tools = (*till.tools(**stage.declared), vault, *stage.tools)
    agent = evolve(Agent("clerk", "You are a clerk.", tools=tools, tool_limit=40), **stage.agent)
    limits = evolve(FREE_LIMITS, **{"strikes_most": STRIKES_MOST, **stage.limits})
    settings: dict[str, Any] = {
        "auth": Auth(secret=Secret(SECRET)),
        "limits": limits,
        **stage.settings,
    }
    script = _script_of(stage)
    async with AsyncExitStack() as stack:
        app, api = App("faulty", (agent,)), None
        if not stage.own_model:
            api = await stack.enter_async_context(serving(script))
            impatient = AnthropicModel(KEY, MODEL, url=api.url, deadlines=SHORT)
            model = await stack.enter_async_context(impatient)
            app = evolve(app, client=Retrying(Breaking(model), HASTY))
        w = await stack.enter_async_context(world(script, app=app, **settings))
        w.forgiven.update(stage.forgiven)
        yield Ground(w, api or w.api, till, SHARED.sign("ann", exp=soon()), stack)


__all__ = ["Ground", "Limits", "Seen", "Stage", "clients_strike", "failing", "ground", "replying"]
