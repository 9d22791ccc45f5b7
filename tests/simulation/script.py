"""What the clients of a history do, and when: drawn from a seed, or by a search."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import frozen

from tests.simulation.chance import chance

Verb: TypeAlias = Literal[
    "attach",
    "leave",
    "say",
    "interrupt",
    "resend",
    "report",
    "decide",
    "configure",
    "look",
    "close",
]

VERBS: Final[tuple[Verb, ...]] = (
    "say",
    "interrupt",
    "resend",
    "report",
    "leave",
    "attach",
    "decide",
    "configure",
    "look",
)
HOW_OFTEN: Final = (7, 4, 2, 3, 2, 2, 3, 1, 1)


@frozen
class Step:
    """One act of one client.

    Attributes:
        tick: When, in steps of 10 ms from the start.
        choice: Draws the details of the act.
    """

    tick: int
    client: int
    verb: Verb
    choice: int


@frozen
class Script:
    """What happens in one life.

    Attributes:
        drains: The server is asked to stop when the script is over.
        idle_s: How long a session without connections stays in memory.
        grace_s: How long a turn runs on alone.
        confirm_s: How long a proposal waits for a decision.
    """

    steps: tuple[Step, ...]
    clients: int
    drains: bool = False
    idle_s: float = 60.0
    grace_s: float = 15.0
    confirm_s: float = 1.0


def script_of(seed: int, life: int) -> Script:
    """Draw the script of a life: in the second one everybody comes back first."""
    drawn = chance(f"{seed}/script/{life}")
    clients = chance(f"{seed}/clients").choice((1, 1, 2, 2, 3))
    length = drawn.choice((20, 40, 80))
    count = drawn.randint(3, 16) if life == 0 else drawn.randint(0, 5)
    verbs = drawn.choices(VERBS, HOW_OFTEN, k=count)
    steps = [
        Step(0, 0, "attach", drawn.getrandbits(32)),
        # The first words come early: without a turn there is little to see.
        Step(drawn.randint(0, 5), 0, "say", drawn.getrandbits(32)),
        *(
            Step(drawn.randint(0, length // 2), client, "attach", drawn.getrandbits(32))
            for client in range(1, clients)
        ),
        *(
            Step(drawn.randint(2, length), drawn.randrange(clients), verb, drawn.getrandbits(32))
            for verb in verbs
        ),
    ]
    if drawn.random() < 0.12:
        steps.append(Step(length, drawn.randrange(clients), "close", drawn.getrandbits(32)))
    short = drawn.random() < 0.35
    return Script(
        tuple(sorted(steps, key=lambda step: step.tick)),
        clients,
        drains=life == 0 and drawn.random() < 0.15,
        idle_s=0.1 if short else 60.0,
        grace_s=drawn.choice((0.05, 0.2)) if short else 15.0,
        confirm_s=chance(f"{seed}/confirm/{life}").choice((0.1, 1.0, 4.0)),
    )
