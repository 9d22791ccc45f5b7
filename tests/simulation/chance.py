"""Chance that can be had again."""

from __future__ import annotations

from random import Random


def chance(purpose: str) -> Random:
    """Return chance for one purpose, which no other purpose disturbs."""
    return Random(purpose)  # noqa: S311 - repeatable is what it has to be
