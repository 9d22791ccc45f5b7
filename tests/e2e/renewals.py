"""Which settings are shown to change in a running server: every test of one says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final, TypeVar

T = TypeVar("T")

_NOTE: Final = "shows_settings"


def shows(*keys: str) -> Callable[[T], T]:
    """Note that a test shows what becomes of a change of these settings."""

    def noted(test: T) -> T:
        setattr(test, _NOTE, keys)
        return test

    return noted


def shown_in(modules: Iterable[ModuleType]) -> set[str]:
    """Return the keys of all settings that the tests of these modules show."""
    tests = [test for module in modules for test in vars(module).values()]
    return {key for test in tests for key in getattr(test, _NOTE, ())}
