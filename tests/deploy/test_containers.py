"""deploy/Containerfile, compose.yml and bargein.service, held to what they name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bargein.gateway.pages import UNCHECKED_PATHS
from bargein.gateway.settings import Settings, load_settings, options
from bargein.gateway.workers.crew import DRAIN_MORE_S
from bargein.server import main
from tests.deploy.manifests import DEPLOY, compose, seconds, unit
from tests.project.tree import ROOT, packages_in_tree, pyproject

RECIPE = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
PIN = re.compile(r"^([a-z0-9._-]+)==([^\s\\;]+)", re.MULTILINE)

STRINGS: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
TIME: dict[str, Any] = {"type": "string", "pattern": "^[0-9]+s$"}
SERVICE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "healthcheck", "restart", "stop_grace_period"],
    "properties": {
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["context", "dockerfile"],
            "properties": {"context": {"type": "string"}, "dockerfile": {"type": "string"}},
        },
        "image": {"type": "string", "pattern": "^[a-z0-9-]+(:[a-z0-9.-]+)?$"},
        "init": {"const": True},
        "read_only": {"const": True},
        "tmpfs": STRINGS,
        "cap_drop": {"const": ["ALL"]},
        "security_opt": STRINGS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "secrets": STRINGS,
        "command": STRINGS,
        "volumes": STRINGS,
        "ports": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^127\.0\.0\.1:[0-9-]+:[0-9]+$"},
        },
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["condition"],
                "properties": {"condition": {"enum": ["service_healthy", "service_started"]}},
            },
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test", "interval", "timeout", "retries"],
            "properties": {
                "test": {
                    "type": "array",
                    "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}],
                    "items": {"type": "string"},
                },
                "interval": TIME,
                "timeout": TIME,
                "start_period": TIME,
                "retries": {"type": "integer"},
            },
        },
        "stop_grace_period": TIME,
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "deploy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"replicas": {"type": "integer", "minimum": 1}},
        },
    },
}
SHAPE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "services"],
    "properties": {
        "name": {"type": "string"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {
            "type": "object",
            "additionalProperties": {"type": "object", "maxProperties": 0},
        },
        "secrets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file"],
                "properties": {"file": {"type": "string", "pattern": "^\\./secrets/"}},
            },
        },
    },
}
"""What of Compose's language is used here: a word that is misspelt is none of it."""


def test_the_compose_file_is_of_the_shape_that_compose_takes():
    jsonschema.validate(compose(), SHAPE, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("section", ["services", "volumes", "secrets"])
def test_a_misspelt_word_would_be_found(section: str):
    wrong = compose()
    next(iter(wrong[section].values()))["imaeg"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SHAPE, jsonschema.Draft202012Validator)


def test_what_services_name_is_there():
    document = compose()
    for service in document["services"].values():
        assert set(service.get("secrets", ())) <= set(document["secrets"])
        assert set(service.get("depends_on", ())) <= set(document["services"])
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert named <= set(document["volumes"])
    used = {name for service in document["services"].values() for name in service["secrets"]}
    assert used == set(document["secrets"])
    built = document["services"]["bargein"]["build"]
    assert (DEPLOY / built["context"] / built["dockerfile"]).resolve() == DEPLOY / "Containerfile"


def settings_in_compose(tmp_path: Path) -> Settings:
    """Return what the server makes of its variables, and of a file where there is only a key."""
    environ = dict(compose()["services"]["bargein"]["environment"])
    known = {option.env for option in options()}
    assert set(environ) - known == {"BARGEIN_CONFIG"}
    file = tmp_path / "bargein.toml"
    file.write_text('[bargein.anthropic]\napi_key = "sk-ant-0123456789"\n', encoding="utf-8")
    return load_settings({}, environ, file)


def test_the_variables_are_settings_that_the_server_takes(tmp_path: Path):
    settings = settings_in_compose(tmp_path)
    assert settings.auth.on
    assert settings.store_on_redis
    services = compose()["services"]
    assert settings.store.startswith("redis://redis:")
    assert "redis" in services
    for service in services.values():
        for value in service.get("environment", {}).values():
            if value.startswith("/run/secrets/"):
                assert Path(value).name in service["secrets"]
    for word in services["redis"]["command"]:
        if word.startswith("/run/secrets/"):
            assert Path(word).name in services["redis"]["secrets"]


def test_there_is_time_to_drain(tmp_path: Path):
    drain_s = settings_in_compose(tmp_path).drain_s
    given_s = seconds(compose()["services"]["bargein"]["stop_grace_period"])
    assert given_s >= drain_s + DRAIN_MORE_S
    assert float(unit()["Service"]["TimeoutStopSec"]) >= Settings().drain_s + DRAIN_MORE_S


def test_ports_agree():
    port = Settings().port
    assert f"EXPOSE {port}" in RECIPE
    for mapping in compose()["services"]["bargein"]["ports"]:
        assert mapping.endswith(f":{port}")
        first, _, last = mapping.split(":")[1].partition("-")
        assert int(last) - int(first) + 1 == compose()["services"]["bargein"]["deploy"]["replicas"]


def test_health_is_asked_on_pages_that_there_are():
    asked = [RECIPE, compose()["services"]["bargein"]["healthcheck"]["test"][-1]]
    for text in asked:
        paths = re.findall(rf"http://127\.0\.0\.1:{Settings().port}(/\w+)", text)
        assert paths
        assert set(paths) <= UNCHECKED_PATHS


def copied() -> set[str]:
    """Return what is copied into the image, by its path in the repository."""
    return {
        source
        for line in re.findall(r"^COPY (?!--)(.+)$", RECIPE, re.MULTILINE)
        for source in shlex.split(line)[:-1]
    }


def test_the_image_has_every_package_and_every_file_that_the_build_needs():
    packages = {name.split(".")[1] for name in packages_in_tree() if "." in name}
    assert packages <= copied()
    assert {"pyproject.toml", "server.py", pyproject()["project"]["readme"]} <= copied()
    data = [
        pattern
        for patterns in pyproject()["tool"]["setuptools"]["package-data"]["bargein"]
        for pattern in [patterns]
    ]
    assert all(str(Path(pattern).parent) in copied() for pattern in data)
    assert all((ROOT / source).exists() for source in copied())


def test_the_build_is_given_what_the_image_copies_and_no_secret():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    first, *rest = [line for line in lines if not line.startswith("#")]
    given = {line.removeprefix("!") for line in rest if line.startswith("!")}
    assert (first, set(rest) - {f"!{path}" for path in given}) == ("*", {"**/__pycache__"})
    assert given == copied()
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for named in compose()["secrets"].values():
        assert named["file"].startswith("./secrets/")


def test_the_image_runs_a_command_that_there_is_as_somebody_without_rights():
    assert re.search(r"^USER (\d+):\1$", RECIPE, re.MULTILINE)
    assert 'ENTRYPOINT ["bargein"]' in RECIPE
    (command,) = re.findall(r'^CMD \["(\w+)"\]$', RECIPE, re.MULTILINE)
    assert command in main.commands


def test_no_file_names_a_registry():
    images = re.findall(r"^FROM (\S+)", RECIPE, re.MULTILINE)
    images += [service["image"] for service in compose()["services"].values()]
    assert images
    assert [image for image in images if "/" in image] == []


def test_what_the_image_installs_is_what_the_tests_ran_with():
    tested = dict(PIN.findall((ROOT / "requirements-dev.lock").read_text(encoding="utf-8")))
    tested |= dict(PIN.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    installed = dict(PIN.findall((DEPLOY / "requirements.lock").read_text(encoding="utf-8")))
    assert {"coredis", "opentelemetry-sdk", "trio", "setuptools"} <= set(installed)
    assert installed.items() <= tested.items()
    text = (DEPLOY / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text


def test_the_unit_starts_a_command_that_there_is_and_reloads_it_with_a_hangup():
    service = unit()["Service"]
    program, command, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/bargein")
    assert command in main.commands
    flags = {option.flag for option in options()}
    assert {word for word in arguments if word.startswith("--")} <= flags
    assert "-HUP" in service["ExecReload"]
    assert service["RestartPreventExitStatus"] == "78"
    assert service["KillMode"] == "mixed"  # SIGTERM is for the supervisor, which passes it on
