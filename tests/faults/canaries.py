"""Secrets that are of no use to anybody, put where real ones are: none may ever be seen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bargein.gateway.log_lines import json_line
from tests.e2e.harness import KEY

ENVIRONMENT: Final = "canary-of-the-environment-5d1f"
HEADER: Final = "canary-of-a-header-91c4"
ARGUMENT: Final = "canary-of-an-argument-e07b"
EXCEPTION: Final = "canary-of-an-exception-3a66"
PATH: Final = "/srv/canary-of-a-path-77aa/customers.db"
API_KEY: Final = KEY

NEVER: Final = (ENVIRONMENT, HEADER, ARGUMENT, API_KEY)
"""Secrets: they stand nowhere."""

FOR_THE_LOG: Final = (EXCEPTION, PATH)
"""What an exception says: in a log line, under a key that begins with `pii.`, and nowhere else."""


def seen_in(text: str, *tokens: str) -> list[str]:
    """Return the canaries and the tokens that stand in *text*."""
    return [canary for canary in (*NEVER, *FOR_THE_LOG, *tokens) if canary in text]


def seen_in_logs(lines: Iterable[Mapping[str, Any]], *tokens: str) -> list[str]:
    """Return the canaries and the tokens in log lines, apart from what `pii.` keys may hold."""
    found: list[str] = []
    for line in lines:
        whole = json_line(dict(line))
        public = {key: part for key, part in json.loads(whole).items() if key[:4] != "pii."}
        found += seen_in(json.dumps(public), *tokens)
        found += [canary for canary in (*NEVER, *tokens) if canary in whole]
    return found
