"""Logs: one JSON object a line for machines, readable lines for a person at a terminal."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Any, TextIO, cast

import structlog

from bargein.gateway.log_lines import escape_controls, tell_exceptions
from bargein.gateway.log_stream import LogStream
from bargein.gateway.redaction import Redaction


def set_up_logs(stream: TextIO | None = None, *, worker: int | None = None) -> Redaction:
    """Send everything that is logged, also by libraries, to *stream*; return what hides secrets.

    By default to stderr, which costs lines, and nothing else, where it is full, stuck or closed.
    Lines of one of several workers have its number, whichever thread they come from.
    """
    redaction = Redaction()
    out = stream or LogStream.on(sys.stderr)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker is not None:
        shared.append(partial(_with_worker, worker))
    told: list[structlog.typing.Processor] = [tell_exceptions, redaction.without_pii]
    last: list[structlog.typing.Processor] = (
        [*told, escape_controls, structlog.dev.ConsoleRenderer()]
        if out.isatty()
        else [*told, structlog.processors.JSONRenderer()]
    )
    last.append(redaction.in_line)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", out)),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[_strip, *last]
    )
    lines = logging.StreamHandler(out)
    lines.setFormatter(formatter)
    logging.raiseExceptions = False  # what can't be logged is not reported in another way
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(logging.WARNING)
    return redaction


def say(text: str) -> None:
    """Tell the person who started the server something; nobody may be there to read it."""
    LogStream.on(sys.stderr).write(text + "\n")


def _with_worker(
    worker: int, _: Any, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {"worker": worker, **event}


def _strip(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(_, __, event)
