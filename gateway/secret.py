"""A value that shows itself to nobody who does not ask for it."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from attrs import field, frozen

T = TypeVar("T")

SHOWN: Final = "*******"


@frozen(repr=False, eq=False)
class Secret(Generic[T]):
    """A secret; wherever it is printed, logged or formatted, stars stand in its place.

    Two secrets are never equal, whatever they hold: to compare them would tell about them.
    """

    _value: T = field()

    def get_secret_value(self) -> T:
        """Return what is secret."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({SHOWN!r})"

    def __str__(self) -> str:
        return SHOWN
