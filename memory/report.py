"""A memory as text, for the operator and for the person whom it is about.  Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from bargein.memory.facts import Change, Erased, Fact, Owner


def lines_of(facts: Iterable[Fact]) -> Iterator[str]:
    """Return one line for each fact: key, time, text as JSON in ASCII, which paints nothing."""
    return (f"{fact.key}  {fact.saved_at}  {json.dumps(fact.text)}" for fact in facts)


def document_of(owner: Owner, facts: Iterable[Fact], changes: Iterable[Change]) -> str:
    """Return all that is kept of *owner* as a JSON document: what may be undone is kept, too."""
    return json.dumps(
        {
            "principal": owner.principal,
            "tenant": owner.tenant,
            "facts": [_plain(fact) for fact in facts],
            "changes": [_plain(change) for change in changes],
        },
        indent=2,
    )


def sentence_of(erased: Erased) -> str:
    """Say what an erasure took away."""
    return f"erased: {erased.facts} facts, and {erased.changes} changes that could be undone"


def _plain(value: Fact | Change) -> dict[str, Any]:
    return attrs.asdict(value)
