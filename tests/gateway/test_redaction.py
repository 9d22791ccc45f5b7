"""What is taken out of log lines, wherever in them it stands and however it is spelt."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from attrs import define

from bargein.gateway.logs import set_up_logs
from bargein.gateway.redaction import HIDDEN, Redaction, secrets_in
from bargein.gateway.secret import Secret
from bargein.gateway.settings import AnthropicAccess, Auth, Settings
from tests.fakes.tokens import SECRET as SHARED_SECRET
from tests.fakes.tokens import SHARED

SAID = "my number"
KEY = 'sk-"quoted"\\and-a-backslash'


def fail(text: str) -> None:
    raise ValueError(text)


@define(eq=False)
class Desk:
    """Logs into a buffer, and what hides secrets in them."""

    out: io.StringIO
    redaction: Redaction

    def line(self) -> str:
        return self.out.getvalue().splitlines()[-1]

    def fields(self) -> dict[str, Any]:
        return json.loads(self.line())


@pytest.fixture
def desk() -> Generator[Desk]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    out = io.StringIO()
    redaction = set_up_logs(out)
    structlog.configure(cache_logger_on_first_use=False)
    yield Desk(out, redaction)
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising


def test_a_known_value_is_hidden_in_every_place_and_the_rest_stays(desk: Desk) -> None:
    desk.redaction.hide("value-of-a-secret")
    structlog.get_logger().info(
        "thing.happened",
        text="before value-of-a-secret after",
        nested={"list": ["value-of-a-secret", 1], "value-of-a-secret": 2},
        count=3,
    )
    assert "value-of-a-secret" not in desk.line()
    fields = desk.fields()
    assert fields["text"] == f"before {HIDDEN} after"
    assert fields["nested"] == {"list": [HIDDEN, 1], HIDDEN: 2}
    assert (fields["event"], fields["count"]) == ("thing.happened", 3)


@pytest.mark.parametrize(
    "spelt",
    [KEY, repr(KEY), repr([KEY]), json.dumps({"key": KEY}), quote(KEY), quote(KEY, safe="")],
)
def test_a_value_is_hidden_however_it_is_spelt(spelt: str, desk: Desk) -> None:
    desk.redaction.hide(KEY)
    structlog.get_logger().warning("thing.happened", text=f"it is {spelt}.")
    assert "backslash" not in desk.line()
    assert HIDDEN in desk.fields()["text"]


def test_what_exceptions_and_libraries_say_is_hidden_too(desk: Desk) -> None:
    desk.redaction.hide("value-of-a-secret")
    try:
        fail("refused: value-of-a-secret")
    except ValueError:
        structlog.get_logger().exception("thing.failed")
        assert "value-of-a-secret" not in desk.line()
        logging.getLogger("some.library").exception("with %s", "value-of-a-secret")
    assert "value-of-a-secret" not in desk.out.getvalue()
    assert desk.out.getvalue().count(HIDDEN) >= 3


def test_of_two_secrets_the_longer_one_is_hidden_whole(desk: Desk) -> None:
    desk.redaction.hide("prefix-of-it")
    desk.redaction.hide("prefix-of-it-and-more")
    structlog.get_logger().info("thing.happened", text="prefix-of-it-and-more, prefix-of-it")
    assert desk.fields()["text"] == f"{HIDDEN}, {HIDDEN}"


def test_a_value_so_short_that_it_is_everywhere_is_left_alone(desk: Desk) -> None:
    desk.redaction.hide("", "a", "event")
    structlog.get_logger().info("a.thing_happened")
    assert desk.fields()["event"] == "a.thing_happened"


@pytest.mark.parametrize(
    "secret",
    [
        SHARED.sign("ann", exp=2_000_000_000),
        f"bargein.jwt.{SHARED.sign('ann')}",
        "sk-ant-api03-0123456789abcdef",
        "Bearer abcdefghijklmnop",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----",
    ],
    ids=["token", "offered token", "api key", "header", "private key"],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_knows_it(secret: str, desk: Desk) -> None:
    structlog.get_logger().info("thing.happened", text=f"it is {secret} here")
    text = desk.fields()["text"]
    assert secret not in text
    assert text.startswith("it is ")
    assert text.endswith(" here")
    for part in secret.replace("\n", ".").split("."):
        assert len(part) < 16 or part not in text


@pytest.mark.parametrize(
    "text", ["session sess_4f0c9a", "a bearer of news", "version 17.4.2", "eyJust a word"]
)
def test_what_does_not_look_like_one_stays(text: str, desk: Desk) -> None:
    structlog.get_logger().info("thing.happened", text=text)
    assert desk.fields()["text"] == text


def test_what_people_said_is_left_out_where_that_is_asked_for(desk: Desk) -> None:
    def happens() -> dict[str, Any]:
        structlog.get_logger().info("thing.happened", session="s", **{"pii.words": SAID})
        return desk.fields()

    assert happens()["pii.words"] == SAID
    desk.redaction.pii = False
    assert "pii.words" not in happens()
    assert happens()["session"] == "s"
    try:
        fail(SAID)
    except ValueError:
        structlog.get_logger().exception("thing.failed")
    assert SAID not in desk.line()
    assert "test_redaction" in desk.line()  # where it came from stays


def test_the_secrets_of_settings_are_found_in_every_group() -> None:
    settings = Settings(
        auth=Auth(secret=Secret(SHARED_SECRET)),
        anthropic=AnthropicAccess(Secret("an-api-key")),
    )
    assert sorted(secrets_in(settings)) == sorted([SHARED_SECRET, "an-api-key"])
    assert list(secrets_in(Settings())) == []
