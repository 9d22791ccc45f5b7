from typing import Any

import pytest
from websockets.datastructures import Headers

from bargein.gateway.handshake import AllowList, Upgrade, is_session_path, read_upgrade
from bargein.gateway.request_head import Refusal

ALLOWED = AllowList(
    hosts=("agent.example", "edge.example:8443"),
    origins=("https://app.example", "https://app.example:8443", "null"),
)


def read(path: str = "/v1/session", **headers: Any) -> Upgrade | Refusal:
    lines = Headers()
    for name, values in ({"Host": "localhost"} | headers).items():
        for value in [values] if isinstance(values, str) else values:
            lines[name.replace("_", "-")] = value
    return read_upgrade(path, lines, ALLOWED)


def status_of(answer: Upgrade | Refusal) -> int:
    if isinstance(answer, Upgrade):
        return 101
    assert answer.sentence.endswith((".", "session"))
    return answer.status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 101),
        ("http://localhost:3000", 101),
        ("https://localhost:3000", 101),
        ("http://127.0.0.1:5173", 101),
        ("http://[::1]:80", 101),
        ("https://app.example", 101),
        ("https://app.example:8443", 101),
        ("null", 403),
        ("", 403),
        ("http://app.example", 403),
        ("https://app.example:443", 403),
        ("https://app.example/", 403),
        ("https://APP.example", 403),
        ("https://app.example.evil.example", 403),
        ("https://evil-app.example", 403),
        ("https://app.example@evil.example", 403),
        ("https://xn--pp-kia.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost:3000.evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://127.0.0.2", 403),
        ("http://localhost:", 403),
        ("http://localhost:123456", 403),
        ("http://localhost:3000/path", 403),
        ("HTTP://LOCALHOST", 403),
        ("file://", 403),
        ("chrome-extension://abc", 403),
        ("http://[::1", 403),
    ],
)
def test_an_origin_is_compared_exactly(origin: str, status: int) -> None:
    assert status_of(read(Origin=origin)) == status


def test_a_client_without_an_origin_is_no_browser_and_welcome() -> None:
    assert status_of(read()) == 101


def test_two_origins_are_a_bad_request() -> None:
    assert status_of(read(Origin=["http://localhost", "http://localhost"])) == 400


def test_loopback_origins_can_be_shut_out() -> None:
    headers = Headers({"Host": "localhost", "Origin": "http://localhost:3000"})
    answer = read_upgrade("/v1/session", headers, AllowList(loopback_origins=False))
    assert status_of(answer) == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 101),
        ("LOCALHOST:8710", 101),
        ("127.0.0.1:1", 101),
        ("[::1]", 101),
        ("[::1]:8710", 101),
        ("agent.example", 101),
        ("Agent.Example:9", 101),
        ("edge.example:8443", 101),
        ("edge.example", 421),
        ("edge.example:8710", 421),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("agent.example.evil.example", 421),
        ("agent.example:8443:1", 421),
        ("agent.example:http", 421),
        ("user@localhost", 421),
        ("localhost:", 421),
        ("::1", 421),
        ("10.0.0.1", 421),
        ("", 421),
    ],
)
def test_a_host_has_to_be_a_name_of_this_server(host: str, status: int) -> None:
    assert status_of(read(Host=host)) == status


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"]])
def test_anything_but_one_host_is_a_bad_request(hosts: list[str]) -> None:
    assert status_of(read(Host=hosts)) == 400


def test_where_one_comes_from_is_checked_before_what_one_asks_for() -> None:
    assert status_of(read("/v1/session?after=-1", Host="evil.example")) == 421
    assert status_of(read("/v1/session?after=-1", Origin="https://evil.example")) == 403


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/session", (None, None, None, "json", "drive")),
        ("/v1/session?", (None, None, None, "json", "drive")),
        ("/v1/session/sess_01", ("sess_01", None, None, "json", "drive")),
        ("/v1/session/sess_01?after=0", ("sess_01", 0, None, "json", "drive")),
        ("/v1/session/s?after=42&epoch=e.1-x", ("s", 42, "e.1-x", "json", "drive")),
        ("/v1/session/s?after=9007199254740992", ("s", 2**53, None, "json", "drive")),
        ("/v1/session?view=text&role=watch", (None, None, None, "text", "watch")),
        ("/v1/session?view=json&role=drive&utm=1", (None, None, None, "json", "drive")),
    ],
)
def test_path_and_query_say_what_is_asked_for(path: str, expected: tuple[Any, ...]) -> None:
    upgrade = read(path)
    assert isinstance(upgrade, Upgrade)
    assert expected == (
        upgrade.session_id,
        upgrade.after,
        upgrade.epoch,
        upgrade.view,
        upgrade.role,
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/session?after=-1", 400),
        ("/v1/session?after=1.5", 400),
        ("/v1/session?after=", 400),
        ("/v1/session?after=%2B1", 400),
        ("/v1/session?after=1e3", 400),
        ("/v1/session?after=%D9%A1", 400),  # a digit, but not one of ours
        ("/v1/session?after=9007199254740993", 400),
        ("/v1/session?after=" + "9" * 3000, 400),
        ("/v1/session?after=1&after=2", 400),
        ("/v1/session?epoch=", 400),
        ("/v1/session?epoch=a%00b", 400),
        ("/v1/session?epoch=" + "x" * 65, 400),
        ("/v1/session?view=xml", 400),
        ("/v1/session?view=", 400),
        ("/v1/session?role=admin", 400),
        ("/v1/session?role=Drive", 400),
        ("/v1/session?after", 400),
        ("/v1/session?view=%ff", 400),
        ("/v1/session?" + "&".join(f"a{n}=1" for n in range(17)), 400),
        ("/v1/session?token=abc", 401),
        ("/v1/session?access_token=abc", 401),
        ("/v1/session/a/b", 400),
        ("/v1/session/%73", 400),
        ("/v1/session/" + "x" * 65, 400),
        ("/v1/session/", 404),
    ],
)
def test_a_bad_path_or_query_is_refused_with_a_sentence(path: str, status: int) -> None:
    assert status_of(read(path)) == status


@pytest.mark.parametrize(
    ("offered", "strict", "token"),
    [
        ([], False, None),
        (["bargein.v1"], True, None),
        (["bargein.v2, bargein.v1"], True, None),
        (["bargein.v2", "bargein.v1"], True, None),
        (["bargein.v1, bargein.jwt.a.b-c_d"], True, "a.b-c_d"),
        (["bargein.jwt.x", "bargein.v1"], True, "x"),
        (["bargein.v1, bargein.jwt."], True, ""),
    ],
)
def test_subprotocols_say_how_strict_to_be(
    offered: list[str], strict: bool, token: str | None
) -> None:
    upgrade = read(Sec_WebSocket_Protocol=offered)
    assert isinstance(upgrade, Upgrade)
    assert (upgrade.strict, upgrade.token) == (strict, token)


@pytest.mark.parametrize(
    "offered",
    [
        ["bargein.v2"],
        ["bargein.jwt.abc"],
        ["graphql-ws, bargein.V1"],
        ["bargein.v1 bargein.v2"],
        ["bargein.v1; q=1"],
        [""],
        ["bargein.v1, bargein.jwt.a, bargein.jwt.b"],
    ],
)
def test_offers_without_our_subprotocol_are_refused(offered: list[str]) -> None:
    assert status_of(read(Sec_WebSocket_Protocol=offered)) == 400


def test_the_refusal_names_the_version_that_is_served() -> None:
    refusal = read(Sec_WebSocket_Protocol="bargein.v2")
    assert isinstance(refusal, Refusal)
    assert "bargein.v1" in refusal.sentence


def test_tokens_are_carried_and_never_shown() -> None:
    upgrade = read(
        Sec_WebSocket_Protocol="bargein.v1, bargein.jwt.canary-1", Authorization="Bearer canary-2"
    )
    assert isinstance(upgrade, Upgrade)
    assert upgrade.token == "canary-1"  # noqa: S105
    assert upgrade.authorization == "Bearer canary-2"
    assert "canary" not in repr(upgrade) + str(upgrade)
    assert status_of(read(Authorization=["Bearer a", "Bearer b"])) == 400


def test_only_two_paths_are_for_sessions() -> None:
    assert is_session_path("/v1/session?x=1")
    assert is_session_path("/v1/session/abc")
    assert not is_session_path("/v1/sessions")
    assert not is_session_path("/?/v1/session")
