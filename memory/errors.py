"""What goes wrong with the memory, by whose turn it is to act.

FactsError
 ├── FactRefused         whoever asked: nothing was changed; ask for something else
 ├── FactsUnavailable    whoever asked: nothing was changed; try again (`retryable`)
 ├── FactsInDoubt        whoever asked: ask `Facts.outcome` what became of it
 └── FactsUnreadable     the operator: this file can't be served
"""

from __future__ import annotations

from typing import ClassVar


class FactsError(Exception):
    """Base of all that a memory refuses or fails to do.

    Attributes:
        retryable: Whether the same call may succeed later without anybody's help.
    """

    retryable: ClassVar[bool] = False


class FactRefused(FactsError):
    """This can't be remembered, forgotten or undone; nothing was changed.

    Attributes:
        reason: Why, as a sentence for whoever asked.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FactsUnavailable(FactsError):
    """The memory can't be asked now; nothing was changed.

    Attributes:
        reason: What stands in the way, as a few words.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"the memory is unavailable: {reason}")
        self.reason = reason


class FactsInDoubt(FactsError):
    """Nobody knows whether the change was made; `Facts.outcome` may tell.

    Attributes:
        reason: What happened to it, as a few words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"it is not known whether the memory was changed: {reason}")
        self.reason = reason


class FactsUnreadable(FactsError):
    """The file of the memory is none that this code can serve; it was left untouched.

    Attributes:
        reason: What is wrong with it, and what helps.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the memory can't be opened: {reason}")
        self.reason = reason
