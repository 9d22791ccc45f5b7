"""`bargein chat` in a pipe: what it prints where, and how it ends."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryFile
from typing import Any

import pytest
import trio
from attrs import frozen
from click.testing import CliRunner

from bargein.gateway.secret import Secret
from bargein.gateway.settings_groups import Auth, Tls
from bargein.gateway.terminal.address import read_address
from bargein.gateway.terminal.command import chat_command
from bargein.gateway.terminal.conversation import Ends, Wishes, converse
from bargein.gateway.terminal.listing import ListUnavailable, line_of, listed_sessions
from bargein.gateway.terminal.token_file import TokenSource
from tests.docs.server_process import COMMAND, environment
from tests.e2e.edge_process import free_port
from tests.e2e.harness import text_of, world
from tests.e2e.process import server_process
from tests.e2e.scripts import FOR_EVER, by_words
from tests.fakes.anthropic_answers import Leave, Say, doing, saying
from tests.fakes.certificates import make_pair
from tests.fakes.tokens import SECRET, Signer
from tests.terminal.person import person_process

LIMIT_S = 60.0
SHORT = """\
model = "scripted"
pace_ms = 30

[[scenes]]
name = "short"
steps = [{ say = "%s" }]
"""


@frozen
class Done:
    """What a process came to."""

    code: int
    said: str
    noted: str


async def piped(words: str, *arguments: str, variables: Mapping[str, str] | None = None) -> Done:
    """Run `echo words | bargein chat arguments`, as a process."""
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            [COMMAND, "chat", *arguments],
            stdin=words.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(**(variables or {})),
        )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


async def talked(words: str, url: str, token: TokenSource | None = None, **wishes: Any) -> Done:
    """Do the same in this process."""
    asked = Wishes(read_address(url), wishes.pop("session", None), token or TokenSource(), **wishes)
    with TemporaryFile() as typed, TemporaryFile() as said, TemporaryFile() as noted:
        typed.write(words.encode())
        typed.seek(0)
        with trio.fail_after(LIMIT_S):
            code = await converse(asked, Ends(typed.fileno(), said.fileno(), noted.fileno()))
        for file in (said, noted):
            file.seek(0)
        return Done(code, said.read().decode(), noted.read().decode())


async def test_a_pipe_gets_the_answers_alone_one_after_the_other_and_the_rest_goes_to_stderr():
    script = by_words({"First": saying("The ", "first\x1b[2J.")})
    async with world(script) as w:
        done = await piped("First question\n\nSecond question", f"ws://127.0.0.1:{w.port}")
        assert done.said == "The first\\x1b[2J.\nVery well.\n"
        assert done.code == 0
        assert "\x1b" not in done.noted
        assert "To come back:  bargein chat --session sess_" in done.noted
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told == ["First question", "The first\x1b[2J.", "Second question"]
        listed = await trio.to_thread.run_sync(
            listed_sessions, read_address(f"ws://127.0.0.1:{w.port}"), None
        )
        (session,) = listed
        assert line_of(session).startswith("sess_")


async def test_words_that_are_too_long_are_refused_here_and_what_follows_is_said():
    async with world(by_words({})) as w:
        url = f"ws://127.0.0.1:{w.port}"
        long = "x" * 200_000
        refused = await talked(long, url)
        assert (refused.code, refused.said) == (1, "")
        assert "(frame_too_large)" in refused.noted
        assert w.api.bodies == []
        bad = '{"type":"say","text":"Hi","id":"a b"}\n{"type":"ping","nonce":9007199254740993}\n'
        done = await talked(f"{bad}{long}\nHello", url)
        assert (done.code, done.said) == (0, "Very well.\n")
        assert [text_of(message) for message in w.api.bodies[-1]["messages"]] == ["Hello"]


async def test_an_answer_that_fails_is_an_exit_code():
    failing = doing(Say("Well, "), Leave())
    async with world(lambda _: failing) as w:
        w.forgiven.add("model.failed")
        done = await talked("Fail, please", f"ws://127.0.0.1:{w.port}")
        assert done.said == "Well, \n" * 4, "it is taken up again three times"
        assert "(model_error)" in done.noted
        assert done.code == 1


async def test_a_server_that_is_not_there_is_said_in_one_line():
    done = await talked("Hello", f"ws://127.0.0.1:{free_port()}")
    assert done.code == 69
    assert done.said == ""
    (line,) = done.noted.splitlines()
    assert line.startswith("bargein: ws://127.0.0.1:")
    assert line.endswith("can't be reached: Connection refused")


async def test_a_server_of_another_kind_is_no_session(nursery: trio.Nursery):
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope")

    (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    done = await talked("Hello", f"ws://127.0.0.1:{port}")
    assert done.code == 69
    assert done.noted.endswith("the server answered 404: nope\n")


async def test_what_a_strange_server_says_to_a_list_can_not_drive_the_terminal(
    nursery: trio.Nursery,
):
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x1b[2Jowned\r\n\r\n")

    (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    with pytest.raises(ListUnavailable) as unavailable:
        await trio.to_thread.run_sync(listed_sessions, read_address(f"ws://127.0.0.1:{port}"), None)
    assert str(unavailable.value) == r"\x1b[2Jowned"


async def test_a_session_that_is_not_there_is_told_from_a_server_that_is_not():
    async with world([]) as w:
        done = await talked("Hello", f"ws://127.0.0.1:{w.port}", session="sess_none")
        assert done.code == 66
        assert "there is no session sess_none of yours" in done.noted


async def test_a_session_that_is_closed_is_read_to_its_end_and_that_is_no_error():
    async with world(by_words({})) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        await alice.send("close")
        assert await alice.until_closed() == 4102
        done = await talked("Hello?", f"ws://127.0.0.1:{w.port}", session=alice.session_id)
        assert done.code == 0
        assert done.said == "Very well.\n"
        assert "To come back" not in done.noted


async def test_a_token_lets_one_in_and_a_bad_one_is_explained_and_not_shown(tmp_path: Path):
    good = Signer("HS256", SECRET).sign("ann")
    async with world(by_words({}), auth=Auth(secret=Secret(SECRET))) as w:
        url = f"ws://127.0.0.1:{w.port}"
        none = await talked("Hello", url)
        assert (none.code, none.said) == (77, "")
        assert "--token-file or BARGEIN_CHAT_TOKEN gives one" in none.noted
        bad = await talked("Hello", url, TokenSource(fixed=good[:-4] + "AAAA"))
        assert bad.code == 77
        assert good[:20] not in bad.noted
        file = tmp_path / "token"
        file.write_text(f"{good}\n", encoding="ascii")
        from_file = await talked("Hello", url, TokenSource(file))
        assert (from_file.code, from_file.said) == (0, "Very well.\n")
        variables = {"BARGEIN_CHAT_TOKEN": good}
        from_environment = await piped("Hello", url, variables=variables)
        assert (from_environment.code, from_environment.said) == (0, "Very well.\n")


async def test_over_tls_a_private_authority_is_trusted_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pair = make_pair(tmp_path)
    tls = Tls(str(pair.certificate), str(pair.key))
    async with world(by_words({}), tls=tls) as w:
        url = f"wss://localhost:{w.port}"
        stranger = await talked("Hello", url)
        assert stranger.code == 69
        assert "its certificate is not trusted" in stranger.noted
        monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
        done = await talked("Hello", url)
        assert (done.code, done.said) == (0, "Very well.\n"), done.noted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("ws://example.invalid",),
            "without encryption only to this machine; try wss://example.invalid",
        ),
        (
            ("ws://localhost/?token=secret",),
            "a token or password never stands in an address; see --token-file",
        ),
        (("--token-file", "none/there"), "none/there: No such file or directory"),
        (("--watch",), "--watch needs a session: --session ID"),
        (("--session", "a b"), "'a b' is no session's id; one looks like sess_0123abcd…"),
    ],
)
def test_a_wrong_command_line_is_said_in_one_line(arguments: tuple[str, ...], said: str):
    result = CliRunner().invoke(chat_command, list(arguments))
    assert result.exit_code == 78
    assert result.stderr == f"bargein: {said}\n"


async def test_a_pipe_outlives_its_server_and_takes_the_answer_up_again(tmp_path: Path):
    play = tmp_path / "short.toml"
    said = " ".join(f"w{number}" for number in range(60))
    play.write_text(SHORT % said, encoding="utf-8")
    async with server_process(tmp_path, BARGEIN_SCREENPLAY=str(play)) as server:
        process = await trio.lowlevel.open_process(
            [COMMAND, "chat", f"ws://127.0.0.1:{server.port}"],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdin.send_all(b"Long story")
        await process.stdin.aclose()
        printed = b""
        while b"w10 " not in printed:
            printed += await process.stdout.receive_some()
        await server.kill()
        await server.start()
        async for more in process.stdout:
            printed += more
        noted = b"".join([piece async for piece in process.stderr]).decode()
        assert await process.wait() == 0, noted
        assert "(server_restarted)" in noted
        words = printed.decode().split()
        assert words[-1] == "w59"
        assert words[: words.index("w10")] == [f"w{number}" for number in range(10)]


async def test_plainly_on_a_terminal_a_typed_line_or_ctrl_c_interrupts():
    async with (
        world(by_words({"Long": FOR_EVER})) as w,
        person_process("--plain", f"ws://127.0.0.1:{w.port}") as someone,
    ):
        await someone.shows(r"answers, with the model")
        someone.types("Long story")
        await someone.shows(r"I go on")
        someone.types("Stop there")
        await someone.shows(r"(?s)--  stopped after .*^Very well\.$")
        someone.types("Long story again")
        await someone.shows(r"(?s)again\s+I go on")
        someone.gets(signal.SIGINT)
        await someone.shows(r"(?s)--  stopped after .*--  stopped after ")
        someone.gets(signal.SIGTERM)
        assert await someone.ended() == 0
        assert b"\x1b" not in someone.written
