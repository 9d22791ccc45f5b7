"""All verbs are there, and a server that starts loads none of what it won't use."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click import Context
from click.testing import CliRunner

from bargein.gateway.secret import Secret
from bargein.gateway.settings import options
from bargein.server import VERBS, main

UNUSED = (
    "anthropic",
    "bargein.cluster.redis_bus",
    "bargein.gateway.review",
    "bargein.gateway.terminal.conversation",
    "bargein.gateway.workers.supervisor",
    "bargein.timeline.redis.store",
    "cattrs",
    "coredis",
    "cryptography",
    "httpx2",
    "jwt",
    "mcp",
    "numpy",
    "opentelemetry",
    "pydantic",
    "webrtcvad",
)
"""What takes long to import, and no server needs that has neither Redis nor auth."""


def test_a_server_that_starts_imports_none_of_what_others_need():
    program = f"import sys, bargein.server\nprint(*[m for m in {UNUSED!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


def test_looking_for_garbage_goes_on_after_the_imports():
    program = "import gc; before = gc.get_threshold(); import bargein.server\n"
    program += "assert gc.isenabled()\nassert gc.get_threshold() == before"
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_made_late_is_listed_and_has_its_name(verb: str):
    context = Context(main)
    assert verb in main.list_commands(context)
    made = main.get_command(context, verb)
    assert made is not None
    assert made.name == verb
    assert main.get_command(context, verb) is made


@pytest.mark.parametrize("wrong", ["sesions", "reports", "serv"])
def test_of_a_verb_that_is_none_the_nearest_is_suggested(wrong: str):
    refused = CliRunner().invoke(main, [wrong])
    assert refused.exit_code == 2
    assert "Did you mean" in refused.output


def test_a_flag_says_what_its_setting_is_for():
    serve = main.get_command(Context(main), "serve")
    assert serve is not None
    wide = Context(serve, info_name="serve", terminal_width=400, max_content_width=400)
    shown = " ".join(serve.get_help(wide).split())
    for option in options():
        if option.flag is not None and option.flag.startswith("--"):
            assert f"{option.flag} VALUE {' '.join(option.text.split())}" in shown


def test_a_secret_is_shown_to_nobody_who_does_not_ask():
    secret = Secret("hunter2")
    assert secret.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {secret!s:>20}"
    assert secret != Secret("hunter2")
