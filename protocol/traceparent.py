"""Where a client's own trace goes on here: the `traceparent` of W3C Trace Context."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

# A later version may have more behind the flags.
_FORM: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED: Final = 0x01


@frozen
class Traceparent:
    """The span of a client that a turn is part of.

    Attributes:
        sampled: Whether the client keeps its trace; what is part of it is kept or not alike.
    """

    trace_id: str
    span_id: str
    sampled: bool


def read_traceparent(text: str | None) -> Traceparent | None:
    """Return what *text* says; None where it is not as W3C wants it, which is to be ignored."""
    found = _FORM.fullmatch(text or "")
    if found is None:
        return None
    version, trace_id, span_id = found["version"], found["trace"], found["span"]
    if version == "ff" or (version == "00" and found["more"]):
        return None
    if not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return Traceparent(trace_id, span_id, bool(int(found["flags"], 16) & _SAMPLED))
