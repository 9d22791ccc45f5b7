"""The assistant of a bank: a team of agents, with a portfolio, a knowledge base and a CRM.

    make serve APP=examples/finserve.py:app

Ask it "list the top-performing ETFs in my portfolio", and after two seconds say "just show me
the ones with expense ratios below 0.2%".  Without a key of Anthropic's it plays
`finserve/screenplay.toml`: what the agents say comes from there, every fact from the tools.

The bank's records are built at the first question from `finserve/bank.sql`, into a temporary
file, or into the one that FINSERVE_DATABASE names.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Literal

import trio
from attrs import asdict, define, evolve, field, frozen
from msgspec import Meta

from bargein.agents.app import Agent, App
from bargein.agents.guardrail import Rule
from bargein.agents.planning import PLANNER, Plan, Planning, Titling
from bargein.agents.stages import Group, Pipeline, Stage, pipeline_of
from bargein.protocol.events import Object
from bargein.tools.retrieval import Library
from bargein.tools.tool import ToolContext, ToolFailed, tool

HERE: Final = Path(__file__).resolve().parent / "finserve"

CUSTODIAN_S: Final = 3.0
"""How long the custodian takes to value a portfolio; the real one is no faster."""

Kind = Literal["etf", "fund", "share"]
Percent = Annotated[float, Meta(ge=0, le=100)]

# --- the bank's records -----------------------------------------------------------

POSITIONS: Final = """
SELECT ticker, name, kind, return_1y_bp, expense_ratio_bp, units * price_cents AS worth_cents
FROM positions JOIN instruments USING (ticker) WHERE login = ?
ORDER BY return_1y_bp DESC
"""
INSTRUMENT: Final = "SELECT * FROM instruments WHERE ticker = ?"
CLIENT: Final = "SELECT * FROM clients WHERE login = ?"


@frozen
class Position:
    """What somebody holds of one fund or share; ratios and returns in hundredths of a percent."""

    ticker: str
    name: str
    kind: Kind
    return_1y_bp: int
    expense_ratio_bp: int | None
    worth_cents: int

    def costs_less_than(self, percent: float) -> bool:
        """Return whether its expense ratio is below *percent*; a share has none."""
        return self.expense_ratio_bp is not None and self.expense_ratio_bp < round(percent * 100, 6)


@define(eq=False)
class Records:
    """The bank's database, open to any thread.  Lives as long as the process."""

    _path: str
    _turn: Lock = field(factory=Lock, init=False)
    _connection: sqlite3.Connection | None = field(default=None, init=False)

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        """Return what *query* finds; the first call builds the database where it is not there."""
        with self._turn:
            connection = self._connection = self._connection or self._opened()
            return [dict(row) for row in connection.execute(query, values)]

    def _opened(self) -> sqlite3.Connection:
        # SQLite itself removes the file that has no name.
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        connection.row_factory = sqlite3.Row
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript((HERE / "bank.sql").read_text(encoding="utf-8"))
        return connection

    def positions(self, login: str) -> tuple[Position, ...]:
        """Return what the client of that *login* holds, the best year first."""
        return tuple(Position(**row) for row in self.rows(POSITIONS, login))


RECORDS: Final = Records(os.environ.get("FINSERVE_DATABASE", ""))
LIBRARY: Final = Library.of_folder(HERE / "knowledge")


# --- tools ------------------------------------------------------------------------


@tool(effect="read")
def holdings(
    context: ToolContext, kind: Kind | None = None, expense_ratio_below: Percent | None = None
) -> str:
    """List what the client holds, with last year's return and the expense ratio, at once.

    Args:
        context: Of the call.
        kind: Only positions of this kind.
        expense_ratio_below: Only positions that cost less per year, in percent.
    """
    found = _of_kind(RECORDS.positions(context.principal), kind)
    if expense_ratio_below is not None:
        found = tuple(each for each in found if each.costs_less_than(expense_ratio_below))
    return _shown(context, found)


@tool(effect="read")
async def performance(
    context: ToolContext,
    kind: Kind | None = None,
    top: Annotated[int, Meta(ge=1, le=50)] = 5,
) -> str:
    """Rank the client's positions by their return, each valued live; takes a few seconds.

    Args:
        context: Of the call.
        kind: Only positions of this kind.
        top: How many of the best to return.
    """
    positions = await trio.to_thread.run_sync(RECORDS.positions, context.principal)
    found = _of_kind(positions, kind)
    for number, position in enumerate(found, 1):
        context.notes.progress(f"valuing {position.name}", number / len(found))
        await trio.sleep(CUSTODIAN_S / len(found))
    return _shown(context, found[:top])


@tool(effect="read")
def fund_facts(ticker: Annotated[str, Meta(max_length=8)]) -> str:
    """Return the facts of one fund or share: provider, index, costs, size, launch.

    Args:
        ticker: Its short name, such as NGWE.
    """
    found = RECORDS.rows(INSTRUMENT, ticker.upper())
    if not found:
        raise ToolFailed(f"There is nothing called {ticker}. Look it up in the holdings.")
    facts = found[0]
    ratio_bp, return_bp = facts.pop("expense_ratio_bp"), facts.pop("return_1y_bp")
    facts["price"] = f"{facts.pop('price_cents') / 100:.2f} EUR"
    facts["return in a year"] = _percent(return_bp, sign="+")
    facts["expense ratio"] = "none" if ratio_bp is None else _percent(ratio_bp)
    return _facts(facts)


@tool(effect="read")
def client_profile(context: ToolContext) -> str:
    """Return what the CRM knows of the client: service, adviser, risk profile, goal."""
    found = RECORDS.rows(CLIENT, context.principal)
    if not found:
        raise ToolFailed("The CRM has no such client.")
    return _facts(found[0])


knowledge = LIBRARY.tool("knowledge", "Search the bank's handbook: products, costs, risk, orders.")


def _of_kind(positions: tuple[Position, ...], kind: Kind | None) -> tuple[Position, ...]:
    return tuple(each for each in positions if kind in (None, each.kind))


def _shown(context: ToolContext, positions: tuple[Position, ...]) -> str:
    """Return *positions* as lines for the model; a client gets them as a table."""
    context.notes.note(Object("positions", [asdict(each) for each in positions]))
    return "\n".join(map(_line, positions)) or "No position fits."


def _line(position: Position) -> str:
    costs = "no expense ratio"
    if position.expense_ratio_bp is not None:
        costs = f"expense ratio {_percent(position.expense_ratio_bp)}"
    grown = _percent(position.return_1y_bp, sign="+")
    worth = f"{position.worth_cents / 100:,.2f} EUR"
    return f"- {position.name} ({position.ticker}): {grown} in a year, {costs}, worth {worth}"


def _facts(facts: dict[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())


def _percent(hundredths: int, sign: str = "") -> str:
    return f"{hundredths / 100:{sign}.2f} %"


# --- the team ---------------------------------------------------------------------

SUPERVISOR = Agent(
    "supervisor",
    "You talk with the client: you say in one sentence what is being looked up, and answer small "
    "talk. You work for a bank. If you have a step in a plan, announce what the team looks up for "
    "the client, in the first person, and call no tool: the facts come from your colleagues. "
    "Without a plan you answer yourself, briefly.",
    tools=(holdings, fund_facts, client_profile, knowledge),
)
CALLER = Agent(
    "caller",
    "You call the bank's systems: holdings, live performance, the facts of one fund, the client's "
    "profile. Call what your step needs, all at once where possible, with the narrowest filters. "
    "Then repeat what came, line by line, without comment.",
    tools=(holdings, performance, fund_facts, client_profile),
)
RESEARCHER = Agent(
    "researcher",
    "You search the bank's knowledge base for terms, products, costs and rules. Repeat what you "
    "found in short, each with its number in brackets.",
    tools=(knowledge,),
)
ANALYST = Agent(
    "analyst",
    "You compare and calculate: you rank, filter and explain what your colleagues found. Use their "
    "results alone, and keep each name, ticker and number as it is.",
)
WRITER = Agent(
    "writer",
    "You write the answer to the client, from the results of the steps before yours. Come to the "
    "point. Name each fund with its numbers, and leave out what the client did not ask for. An "
    "announcement has been shown already; don't repeat it.",
)

PLANNING = Planning(
    policy="auto",
    instructions=PLANNER
    + (
        "The supervisor has the first step, in one group with the steps that look something up: it "
        "tells the client what is being done. The writer has the last step. Plan as few steps as "
        "will do: if the client narrows down an earlier question, filter in the look-up itself.\n"
    ),
)

NO_ADVICE = Rule(
    "no_personal_advice",
    "We give no personal tax advice and no legal advice: taxes that the client owes or could save, "
    "tax returns, wills, contracts, lawsuits. Questions about products, costs, terms and the "
    "client's own portfolio are welcome.",
)


def with_announcement(plan: Plan) -> Pipeline:
    """Return the plan's pipeline, in which the supervisor speaks while others look things up."""
    return tuple(
        evolve(item, stages=tuple(map(_heard, item.stages)))
        if isinstance(item, Group)
        else _heard(item)
        for item in pipeline_of(plan)
    )


def _heard(stage: Stage) -> Stage:
    return evolve(stage, speaks=stage.speaks or stage.agent == SUPERVISOR.name)


app = App(
    name="finserve",
    agents=(SUPERVISOR, CALLER, RESEARCHER, ANALYST, WRITER),
    planning=PLANNING,
    titling=Titling(),
    guardrails=(NO_ADVICE,),
    build=with_announcement,
    screenplay=HERE / "screenplay.toml",
)
