"""`bargein chat`: a conversation in a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import trio

from bargein.gateway.flags import BAD_CONFIGURATION, fail
from bargein.gateway.terminal.address import (
    DEFAULT_URL,
    Address,
    AddressRefused,
    read_address,
    session_named,
)
from bargein.gateway.terminal.conversation import NO_PERMISSION, UNAVAILABLE, Wishes, converse
from bargein.gateway.terminal.listing import ListUnavailable, line_of, listed_sessions
from bargein.gateway.terminal.token_file import TokenUnusable, token_source


@click.command("chat")
@click.argument("url", default=DEFAULT_URL)
@click.option("--session", metavar="ID", help="Go on with this session.")
@click.option("--watch", is_flag=True, help="Only look on.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the token; else it is BARGEIN_CHAT_TOKEN in the environment.",
)
@click.option("--list", "lists", is_flag=True, help="List your sessions and exit.")
@click.option("--plain", is_flag=True, help="Lines only, as where there is no terminal.")
def chat_command(
    url: str,
    session: str | None,
    token_file: Path | None,
    *,
    watch: bool,
    lists: bool,
    plain: bool,
) -> None:
    """Talk to the agent that is served at URL (by default ws://127.0.0.1:8710).

    Ctrl-C stops an answer, Ctrl-D leaves, /help shows more.
    """
    try:
        address = read_address(url)
        session_id = address.session_id if session is None else session_named(session)
        token = token_source(token_file, os.environ)
        first = token.read()
    except (AddressRefused, TokenUnusable) as error:
        fail(str(error), BAD_CONFIGURATION)
    if lists:
        _print_list(address, first)
        return
    if watch and session_id is None:
        fail("--watch needs a session: --session ID", BAD_CONFIGURATION)
    plain = plain or os.environ.get("TERM", "") in ("", "dumb")
    colours = not os.environ.get("NO_COLOR")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    wishes = Wishes(address, session_id, token, watch, plain, colours, editor)
    sys.exit(trio.run(converse, wishes))


def _print_list(address: Address, token: str | None) -> None:
    try:
        sessions = listed_sessions(address, token)
    except ListUnavailable as error:
        denied = error.status in (401, 403)
        code = NO_PERMISSION if denied else UNAVAILABLE
        fail(f"{address.shown}: {error}", code)
    for session in sessions:
        click.echo(line_of(session))
