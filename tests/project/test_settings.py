from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attrs import exceptions, fields, fields_dict
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bargein.gateway.settings import (
    AnthropicAccess,
    Auth,
    Budgets,
    Limits,
    Logs,
    Quotas,
    RedisAccess,
    Settings,
    SettingsError,
    Slots,
    Tls,
    Traces,
    load_settings,
    options,
)
from bargein.gateway.settings_kinds import is_loopback
from tests.project import settings_page
from tests.project.tree import ROOT

CANARY = "sk-ant-canary-5f1d"

READERS = ("service", "terms")

UNREAD: set[str] = set()
"""Settings without effect so far; each leaves this set with the part that it sets."""


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bargein.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


# --- sources and precedence -----------------------------------------------------------------


def test_without_any_source_the_defaults_hold():
    assert load_settings({}, {}, None) == Settings()


def test_the_defaults_are_those_of_the_contract():
    s = Settings()
    assert (s.host, s.port, s.store) == ("127.0.0.1", 8710, "sqlite:///bargein.sqlite3")
    assert (s.heartbeat_s, s.grace_s, s.drain_s) == (20, 15, 30)
    assert (s.queue_most, s.abandon_ms) == (8, 250)
    assert s.limits == Limits(
        command_bytes=65_536,
        frame_bytes=262_144,
        commands_per_s=20,
        commands_burst=60,
        speech_per_s=100,
        speech_burst=200,
        interrupts_per_s=10,
        strikes_most=10,
        strikes_window_s=60,
        lagging_events=256,
        lagging_s=30,
        stall_s=10,
        tail_events=4096,
        tail_bytes=1_048_576,
        connections_most=10_000,
        sessions_most=10_000,
        memory_bytes=None,
        handshakes_most=200,
        handshakes_per_address_most=10,
        uncounted_networks=("127.0.0.0/8", "::1/128"),
        handshake_s=5,
    )
    assert s.quotas == Quotas(
        connections_most=8,
        sessions_most=16,
        new_sessions_per_minute_most=5,
        turns_most=4,
        tokens_per_hour_most=200_000,
        timeline_bytes=67_108_864,
    )
    assert s.tiers == {}


def test_a_file_overrides_the_default(tmp_path: Path):
    path = _file(
        tmp_path,
        '[bargein]\nport = 9001\nheartbeat_s = 5\nhosts = ["chat.example.com"]\n'
        "[bargein.limits]\ntail_events = 300\n[elsewhere]\nport = 1\n",
    )
    settings = load_settings({}, {}, path)
    assert settings.port == 9001
    assert settings.heartbeat_s == 5.0
    assert isinstance(settings.heartbeat_s, float)
    assert settings.hosts == ("chat.example.com",)
    assert settings.limits == Limits(tail_events=300)


def test_a_tier_is_a_table_of_the_quotas_that_differ(tmp_path: Path):
    text = "[bargein.quotas]\nturns_most = 2\n[bargein.tiers.gold]\nturns_most = 8\n"
    settings = load_settings({}, {}, _file(tmp_path, "[bargein]\n" + text))
    assert settings.quotas == Quotas(turns_most=2)
    assert settings.tiers == {"gold": {"turns_most": 8}}


def test_the_environment_overrides_the_file(tmp_path: Path):
    path = _file(tmp_path, "[bargein]\nport = 9001\ngrace_s = 1\n")
    settings = load_settings({}, {"BARGEIN_PORT": "9002"}, path)
    assert (settings.port, settings.grace_s) == (9002, 1.0)


def test_a_flag_overrides_the_environment_and_the_file(tmp_path: Path):
    path = _file(tmp_path, "[bargein]\nport = 9001\n")
    settings = load_settings({"port": 9003}, {"BARGEIN_PORT": "9002"}, path)
    assert settings.port == 9003


def test_a_flag_in_a_group_leaves_the_rest_of_the_group(tmp_path: Path):
    path = _file(tmp_path, "[bargein.limits]\ntail_events = 300\n")
    settings = load_settings({"limits.lagging_events": 30}, {}, path)
    assert settings.limits == Limits(tail_events=300, lagging_events=30)


def test_flags_and_variables_that_are_empty_count_as_not_given():
    environ = {"BARGEIN_PORT": "", "ANTHROPIC_API_KEY": ""}
    assert load_settings({"host": None, "origins": ()}, environ, None) == Settings()


def test_a_list_is_separated_by_commas_in_a_variable_and_in_a_flag():
    text = "https://a.example, https://b.example:8443,"
    expected = ("https://a.example", "https://b.example:8443")
    assert load_settings({}, {"BARGEIN_ORIGINS": text}, None).origins == expected
    assert load_settings({"origins": text}, {}, None).origins == expected


def test_a_list_may_be_given_as_a_sequence():
    settings = load_settings({"hosts": ("a.example", "b.example")}, {}, None)
    assert settings.hosts == ("a.example", "b.example")


def test_a_variable_that_is_no_setting_is_left_alone():
    environ = {"BARGEIN_SERVICE_HOST": "10.0.0.7", "BARGEIN_TEST_SCALE": "10"}
    assert load_settings({}, environ, None) == Settings()


@pytest.mark.parametrize(
    ("store", "path"),
    [
        ("sqlite:///bargein.sqlite3", Path("bargein.sqlite3")),
        ("sqlite:////var/lib/bargein/t.db", Path("/var/lib/bargein/t.db")),
        ("memory:", None),
        ("redis://127.0.0.1:6379/0", None),
        ("rediss://me@redis.example", None),
    ],
)
def test_a_store_url_names_a_file_or_memory(store: str, path: Path | None):
    assert load_settings({"store": store}, {}, None).store_path == path


@pytest.mark.parametrize(
    "store",
    [
        "redis://",
        "redis:///0",
        "redis://h.example/x",
        f"redis://:{CANARY}@h.example",
        f"rediss://u:{CANARY}@h.example/0",
        f"http://u:{CANARY}@h.example",
        "sqlite:///",
        "sqlite://x",
        "postgres://h.example",
    ],
)
def test_what_is_no_store_is_refused_and_a_password_in_it_not_repeated(store: str):
    with pytest.raises(SettingsError, match="is not a store URL") as refused:
        load_settings({"store": store}, {}, None)
    assert CANARY not in str(refused.value)


def test_the_password_of_redis_is_kept_out_of_sight():
    settings = load_settings({}, {"BARGEIN_REDIS_PASSWORD": CANARY}, None)
    password = settings.redis.password
    assert password is not None
    assert password.get_secret_value() == CANARY
    assert CANARY not in f"{settings!r} {settings} {settings.redis}"


@pytest.mark.parametrize("option", options(), ids=lambda option: option.key)
def test_each_setting_is_read_from_its_variable(option: settings_page.Option):
    texts = {
        "host": "::1",
        "store": "memory:",
        "app": "shop.agents:app",
        "model": "some-model",
        "origins": "https://a.example",
        "hosts": "a.example",
        "heartbeat_s": "25",
        "limits.command_bytes": "2048",
        "limits.frame_bytes": "70000",
        "limits.lagging_events": "17",
        "limits.memory_bytes": "536870912",
        "limits.uncounted_networks": "10.0.0.0/8, 192.0.2.7",
        "limits.handshake_s": "7",
        "trusted_proxies": "fd00::/8",
        "behind_proxy": "true",
        "console": "false",
        "logs.pii": "false",
        "tiers": '{"gold": {"connections_most": 80}}',
        "auth.secret": "a-secret-of-more-than-32-characters",
        "auth.look_s": "2",
        "auth.leeway_s": "5",
        "anthropic.api_key": CANARY,
        "anthropic.base_url": "http://127.0.0.1:9999",
        "traces.endpoint": "http://collector.internal:4318",
        "workers": "auto",
        "redis.replicas": "2",
        "redis.cold_dir": "/var/lib/bargein",
    }
    given_text = texts.get(option.key, "4321" if "most" not in option.key else "43")
    pair = {"BARGEIN_TLS_CERTIFICATE": "cert.pem", "BARGEIN_TLS_KEY": "key.pem"}
    beside = pair if option.env in pair else dict[str, str]()
    beside |= {"BARGEIN_STORE": "redis://h.example/0"} if option.key == "workers" else {}
    beside |= {"BARGEIN_REDIS_COLD_DIR": "cold"} if option.key == "redis.cold_after_s" else {}
    read = _value(load_settings({}, beside | {option.env: given_text}, None), option.key)
    assert read != option.default
    switched_off = option.default is True
    assert (
        read.get_secret_value() == CANARY
        if option.key.endswith("api_key")
        else (read or switched_off)
    )


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.integers(0, 65_535))
def test_every_port_is_read_the_same_from_each_source(port: int):
    assert load_settings({"port": str(port)}, {}, None).port == port
    assert load_settings({"port": port}, {}, None).port == port
    assert load_settings({}, {"BARGEIN_PORT": str(port)}, None).port == port


# --- what is wrong is refused, by key, source and reason --------------------------------------


@pytest.mark.parametrize(
    ("line", "key", "right"),
    [
        ("prot = 1", "prot", "did you mean port?"),
        (
            "[bargein.limits]\ntail_event = 1",
            "limits.tail_event",
            "did you mean limits.tail_events?",
        ),
        ("[bargein.limit]\ntail_events = 1", "limit", "there is no such setting"),
        ("limits = 5", "limits", "there is no such setting"),
        ('port = "8710"', "port", "a whole number from 0 to 65535"),
        ("port = 65536", "port", "a whole number from 0 to 65535"),
        ("port = true", "port", "a whole number from 0 to 65535"),
        ("port = 1.0", "port", "a whole number from 0 to 65535"),
        ("heartbeat_s = 0", "heartbeat_s", "a number from 0.01 to 3600 (seconds)"),
        ("heartbeat_s = nan", "heartbeat_s", "a number from 0.01 to 3600 (seconds)"),
        ("heartbeat_s = true", "heartbeat_s", "a number from 0.01 to 3600 (seconds)"),
        ('host = "0.0.0.0"', "host", "a loopback address"),
        ('host = "::"', "host", "a loopback address"),
        ('host = "localhost.example.com"', "host", "a loopback address"),
        ("host = 5", "host", "a loopback address"),
        ('store = "postgres://x"', "store", "sqlite:///PATH"),
        ('store = "sqlite:///"', "store", "sqlite:///PATH"),
        ('store = "bargein.sqlite3"', "store", "sqlite:///PATH"),
        ('model = " "', "model", "the name of a model"),
        ('model = "a\\nb"', "model", "the name of a model"),
        ('origins = "https://a.example"', "origins", "a list"),
        ('origins = ["*"]', "origins", "an origin as a browser sends it"),
        ('origins = ["null"]', "origins", "an origin as a browser sends it"),
        ('origins = ["https://a.example/"]', "origins", "an origin as a browser sends it"),
        ('origins = ["https://A.example"]', "origins", "an origin as a browser sends it"),
        ('origins = ["https://a.example:443"]', "origins", "an origin as a browser sends it"),
        ('origins = ["https://a.example:port"]', "origins", "an origin as a browser sends it"),
        ('origins = ["ftp://a.example"]', "origins", "an origin as a browser sends it"),
        ('origins = ["https://u@a.example"]', "origins", "an origin as a browser sends it"),
        ("origins = [5]", "origins", "an origin as a browser sends it"),
        ('hosts = ["https://a.example"]', "hosts", "a host name"),
        ('trusted_proxies = ["proxy.example"]', "trusted_proxies", "a network or an address"),
        ('trusted_proxies = ["10.0.0.1/8"]', "trusted_proxies", "a network or an address"),
        ('hosts = ["a.example:80"]', "hosts", "a host name"),
        ('anthropic.base_url = "http://api.example.com"', "anthropic.base_url", "https://"),
        ('anthropic.base_url = "https://u:p@h.example"', "anthropic.base_url", "without user"),
        ("tiers = 5", "tiers", "a table of tiers"),
        ("[bargein.tiers]\ngold = 5", "tiers", "a table of tiers"),
        ("[bargein.tiers.gold]\nseats = 5", "tiers", "with any of these: connections_most"),
        ("[bargein.tiers.gold]\nturns_most = 0", "tiers", "a table of tiers"),
        ('[bargein.tiers.gold]\nturns_most = "4"', "tiers", "a table of tiers"),
        ('[bargein.tiers."pure gold"]\nturns_most = 4', "tiers", "a table of tiers"),
        ("anthropic.base_url = 5", "anthropic.base_url", "https://"),
        ("anthropic.api_key = 5", "anthropic.api_key", "visible ASCII"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, line: str, key: str, right: str):
    path = _file(tmp_path, f"[bargein]\n{line}\n")
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {}, path)
    assert refused.value.key == key
    assert refused.value.source == f"file {path}"
    assert right in refused.value.reason
    assert str(refused.value) == f"{key} (file {path}): {refused.value.reason}"


@pytest.mark.parametrize("good", ["http://localhost:5173", "https://a.example", "http://[::1]"])
def test_an_origin_is_taken_as_a_browser_sends_it(good: str):
    assert load_settings({"origins": (good,)}, {}, None).origins == (good,)


@pytest.mark.parametrize("text", ["tcp://10.0.0.1:8710", "-1", "1e3", " 1", "٣", "9" * 5000])
def test_what_is_wrong_in_a_variable_is_named(text: str):
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {"BARGEIN_PORT": text}, None)
    assert (refused.value.key, refused.value.source) == (
        "port",
        "environment variable BARGEIN_PORT",
    )
    assert refused.value.reason.endswith("is not a whole number from 0 to 65535 (TCP port)")


@pytest.mark.parametrize(
    "deep", ["[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000], ids=["lists", "tables"]
)
def test_json_that_is_nested_too_deeply_is_refused_and_not_quoted_whole(deep: str):
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {"BARGEIN_TIERS": deep}, None)
    assert refused.value.key == "tiers"
    assert refused.value.reason.startswith(repr(deep)[:100])
    assert "is not a table of tiers" in refused.value.reason
    assert len(refused.value.reason) < 1000


def test_what_is_wrong_in_a_flag_is_named():
    with pytest.raises(SettingsError) as refused:
        load_settings({"limits.stall_s": "soon"}, {}, None)
    assert (refused.value.key, refused.value.source) == (
        "limits.stall_s",
        "command line, --limits-stall-s",
    )


def test_a_flag_of_no_setting_is_refused():
    with pytest.raises(SettingsError, match="there is no such setting; did you mean store"):
        load_settings({"stor": "memory:"}, {}, None)


def test_a_wrong_value_is_refused_even_where_it_is_overridden(tmp_path: Path):
    path = _file(tmp_path, '[bargein]\nport = "x"\n')
    with pytest.raises(SettingsError) as refused:
        load_settings({"port": 1}, {}, path)
    assert refused.value.source == f"file {path}"


def test_without_auth_no_other_machine_is_served():
    with pytest.raises(SettingsError) as refused:
        load_settings({"host": "0.0.0.0"}, {}, None)  # noqa: S104  the address that is refused
    assert refused.value.key == "host"
    assert "without auth no other is served" in refused.value.reason


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("192.168.1.5", False),
        ("127.0.0.1.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_address_and_not_by_lookup(host: str, expected: bool):
    assert is_loopback(host) is expected


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {}, tmp_path / "none.toml")
    assert refused.value.key == "config"
    assert "No such file" in refused.value.reason


@pytest.mark.parametrize("content", [b"[bargein", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="it is not TOML") as refused:
        load_settings({}, {}, path)
    assert refused.value.key == "config"


@pytest.mark.parametrize("text", ["port = 1\n", "bargein = 1\n", ""])
def test_a_file_without_the_table_is_refused(tmp_path: Path, text: str):
    with pytest.raises(SettingsError, match=r"a table \[bargein\] with the settings is missing"):
        load_settings({}, {}, _file(tmp_path, text))


def test_values_that_contradict_each_other_are_refused_with_the_one_that_was_given():
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {"BARGEIN_LIMITS_TAIL_EVENTS": "100"}, None)
    assert refused.value.key == "limits.tail_events"
    assert refused.value.source == "environment variable BARGEIN_LIMITS_TAIL_EVENTS"
    assert "limits.lagging_events (256) must not exceed limits.tail_events (100)" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("given", "missing"), [("tls.certificate", "tls.key"), ("tls.key", "tls.certificate")]
)
def test_a_certificate_and_its_key_are_given_together(given: str, missing: str):
    with pytest.raises(SettingsError) as refused:
        load_settings({given: "x.pem"}, {}, None)
    assert refused.value.key == given
    assert refused.value.reason == f"{missing} has to be given, too"


@pytest.mark.parametrize("workers", ["2", "auto"])
@pytest.mark.parametrize("store", ["memory:", "sqlite:///t.sqlite3"])
def test_more_than_one_worker_needs_redis(workers: str, store: str):
    with pytest.raises(SettingsError) as refused:
        load_settings({"workers": workers, "store": store}, {}, None)
    assert str(refused.value).startswith("workers (command line, --workers): ")
    assert "set store to redis://" in refused.value.reason
    taken = load_settings({"workers": workers, "store": "redis://h.example"}, {}, None)
    assert taken.supervised


def test_one_worker_is_served_without_a_supervisor_from_any_store():
    assert not load_settings({"workers": "1"}, {}, None).supervised
    assert not Settings().supervised


def test_the_fewest_workers_are_not_more_than_the_most():
    with pytest.raises(SettingsError, match=r"workers_min \(3\) must not exceed workers_max"):
        load_settings({"workers_min": "3", "workers_max": "2"}, {}, None)


@pytest.mark.parametrize("text", ["0", "many", "-1", "2000", "1.5"])
def test_what_is_no_number_of_workers_is_refused(text: str):
    with pytest.raises(SettingsError, match=r"whole number from 1 to 1024 .*, or auto"):
        load_settings({"workers": text}, {}, None)


def test_settings_built_in_python_are_held_to_the_same():
    with pytest.raises(ValueError, match="port: 70000 is not a whole number"):
        Settings(port=70_000)


# --- secrets ---------------------------------------------------------------------------------


def test_the_key_is_blind_wherever_it_is_shown():
    settings = load_settings({}, {"ANTHROPIC_API_KEY": CANARY}, None)
    key = settings.anthropic.api_key
    assert key is not None
    assert key.get_secret_value() == CANARY
    assert CANARY not in f"{settings!r} {settings} {settings.anthropic} {key} {key!r}"


def test_a_key_that_is_refused_is_not_shown():
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {"ANTHROPIC_API_KEY": f"{CANARY}\n"}, None)
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_password_in_an_address_is_not_shown():
    with pytest.raises(SettingsError) as refused:
        load_settings({}, {"ANTHROPIC_BASE_URL": f"https://u:{CANARY}@h.example"}, None)
    assert CANARY not in str(refused.value)


def test_the_key_is_not_taken_from_the_command_line():
    with pytest.raises(SettingsError, match="set ANTHROPIC_API_KEY instead") as refused:
        load_settings({"anthropic.api_key": CANARY}, {}, None)
    assert CANARY not in str(refused.value)


# --- the class itself ---------------------------------------------------------------------------


def test_settings_never_change():
    with pytest.raises(exceptions.FrozenInstanceError):
        Settings().port = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_every_number_has_its_unit_in_its_name():
    units = ("_days", "_s", "_ms", "_bytes", "_events", "_most", "_burst", "replicas")
    numbers = [
        option.key
        for option in options()
        if isinstance(option.default, int | float)
        and not isinstance(option.default, bool)
        and option.key != "port"
    ]
    assert len(numbers) > 15
    assert [key for key in numbers if not key.endswith(units)] == []


def test_no_two_settings_share_a_name():
    names = Counter(name for option in options() for name in (option.env, option.flag) if name)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_setting_is_an_option():
    groups = {
        "limits": Limits,
        "quotas": Quotas,
        "tls": Tls,
        "auth": Auth,
        "anthropic": AnthropicAccess,
        "logs": Logs,
        "budgets": Budgets,
        "traces": Traces,
        "redis": RedisAccess,
        "slots": Slots,
    }
    plain = {name for name in fields_dict(Settings) if name not in groups}
    nested = {f"{name}.{part.name}" for name, kind in groups.items() for part in fields(kind)}
    assert {option.key for option in options()} == plain | nested


def test_every_setting_is_read_by_the_server():
    readers = (ROOT / "server.py", *(ROOT / "gateway" / f"{name}.py" for name in READERS))
    trees = [ast.parse(reader.read_text(encoding="utf-8")) for reader in readers]
    nodes = (node for tree in trees for node in ast.walk(tree))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    read |= {"store"} if "store_path" in read else set[str]()
    unread = {option.key for option in options() if option.key.rpartition(".")[2] not in read}
    assert unread == UNREAD


def test_the_page_of_settings_is_the_settings():
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page.page(), "run `make docs`"
