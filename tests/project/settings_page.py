"""Writes docs/settings.md from the settings themselves: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from bargein.gateway.settings import Option, options

HEAD = """\
<!-- Generated from gateway/settings.py by `make docs`; a test fails when it drifts. -->

# Settings

A setting comes from up to four places, and the later wins: its default, the table `[bargein]` of
the TOML file that `--config` names, the environment, a flag. An empty variable counts as not
given. Lists are arrays in a file, and separated by commas elsewhere.

What is wrong anywhere stops the start with exit code 78 and one line that names the setting, the
place it came from, and what would be right.

A running server reads all of them again on SIGHUP, flags and environment as they were at its start.
Each setting says what then becomes of a change; [tuning](operations.md#tuning) says the rest.

```toml
[bargein]
port = 8710
store = "sqlite:////var/lib/bargein/timelines.sqlite3"
origins = ["https://app.example.com"]

[bargein.limits]
connections_most = 2000
```
"""

TITLES = {
    "": "The server",
    "limits": "Limits",
    "quotas": "Quotas",
    "tls": "TLS",
    "auth": "Auth",
    "anthropic": "The model API",
    "logs": "Logs",
    "budgets": "Budgets",
    "traces": "Traces",
    "redis": "Redis",
    "slots": "Model slots",
}


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for group, members in groupby(options(), key=lambda option: option.key.rpartition(".")[0]):
        yield f"## {TITLES[group]}\n"
        yield "\n".join(line for option in members for line in _entry(option))


def _entry(option: Option) -> Iterator[str]:
    flag = f"`{option.flag}`" if option.flag else "no flag"
    yield f"**`{option.key}`** (`{option.env}`, {flag})  "
    yield f"{' '.join(option.text.split())}  "
    yield f"Takes {option.kind.right}. Default: {_shown(option.default)}.  "
    yield f"{_renewed(option)}\n"


def _renewed(option: Option) -> str:
    return "A change takes a restart." if option.live is None else f"Live: {option.live}."


def _shown(default: object) -> str:
    match default:
        case None:
            return "none"
        case () | {} if not default:
            return "empty"
        case float():
            return f"`{default:g}`"
        case _:
            return f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
