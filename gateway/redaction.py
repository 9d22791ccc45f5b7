"""Takes secrets out of log lines as the last thing before they leave, whoever wrote them there.

Nothing here is a reason to log one: this is the net below those who take care.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import quote

import attrs
from attrs import define, field
from structlog.typing import EventDict

from bargein.gateway.secret import Secret

HIDDEN: Final = "[secret]"
PII: Final = "pii."
"""What keys begin with that hold what people have said."""

_LEAST_CHARS: Final = 6
"""A shorter value is found in words that are none of it, and what is missing would tell it."""

_SHAPES: Final = re.compile(
    r"eyJ[\w-]{6,}\.[\w-]{4,}\.[\w-]*"  # a JSON Web Token
    r"|\bsk-ant-[\w-]{8,}"
    r"|(?<=[Bb]earer )[\w.~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL | re.ASCII,
)
"""What is a secret by its looks, such as a client's token, which no setting knows."""


@define(eq=False)
class Redaction:
    """What must not be in a log.  Lives as long as the process; used from any thread.

    Attributes:
        pii: Whether keys that begin with `pii.` stay.
    """

    pii: bool = True
    _values: tuple[str, ...] = field(default=(), init=False)

    def hide(self, *secrets: str) -> None:
        """Hide these values from now on, as they are and as JSON, Python or a URL spells them."""
        spelt = {
            spelling
            for secret in secrets
            if len(secret) >= _LEAST_CHARS
            for spelling in _spellings(secret)
        }
        # The longest first: one may begin with another.
        self._values = tuple(sorted({*self._values, *spelt}, key=len, reverse=True))

    def without_pii(self, _: Any, __: str, event: EventDict) -> EventDict:
        """Leave out what people have said, where that is asked for; a processor of structlog."""
        if self.pii:
            return event
        return {key: value for key, value in event.items() if not key.startswith(PII)}

    def in_line(self, _: Any, __: str, line: Any) -> str:
        """Put `[secret]` in the place of each secret; the processor behind the one that renders."""
        text = str(line)
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return _SHAPES.sub(HIDDEN, text)


def secrets_in(settings: object) -> Iterator[str]:
    """Return every secret that settings hold, their groups included."""
    for part in attrs.fields(type(settings)):
        value: Any = getattr(settings, part.name)
        if isinstance(value, Secret):
            yield str(cast("Secret[Any]", value).get_secret_value())
        elif attrs.has(cast("type[Any]", type(value))):
            yield from secrets_in(value)


def _spellings(secret: str) -> set[str]:
    spelt = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret), quote(secret, "")}
    return spelt | {json.dumps(text)[1:-1] for text in spelt}  # as it stands in a line of JSON
