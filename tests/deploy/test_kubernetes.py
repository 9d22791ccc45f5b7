"""deploy/kubernetes, held to the schemas of Kubernetes and to what the server knows."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest

from bargein.gateway.pages import UNCHECKED_PATHS
from bargein.gateway.settings import load_settings, options
from bargein.gateway.workers.crew import DRAIN_MORE_S
from tests.deploy.manifests import KUBERNETES, container, kubernetes, pod, read
from tests.docs.metrics_page import series

VERSION = kubernetes_validate.latest_version()


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_a_manifest_is_what_its_schema_says(path: Path):
    kubernetes_validate.validate(read(path), VERSION, strict=True)


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_a_word_that_is_not_known_would_be_found(path: Path):
    wrong = copy.deepcopy(read(path))
    wrong["spek"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_there_is_one_of_each_kind():
    kinds = sorted(read(path)["kind"] for path in KUBERNETES)
    assert kinds == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    ]


def config() -> dict[str, Any]:
    return tomllib.loads(kubernetes("ConfigMap")["data"]["bargein.toml"])


def test_the_configuration_is_one_that_the_server_takes(tmp_path: Path):
    file = tmp_path / "bargein.toml"
    file.write_text(kubernetes("ConfigMap")["data"]["bargein.toml"], encoding="utf-8")
    settings = load_settings({}, {}, file)
    assert settings.auth.on
    assert settings.store_on_redis
    assert settings.port == container()["ports"][0]["containerPort"]


def test_every_variable_is_one_of_the_server():
    known = {option.env for option in options()} | {"BARGEIN_CONFIG"}
    assert {variable["name"] for variable in container()["env"]} <= known


def test_no_variable_is_made_up_for_a_service_of_that_name():
    assert pod()["enableServiceLinks"] is False


def test_every_file_that_the_settings_name_is_mounted():
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert set(mounts.values()) == set(volumes)
    items = {item["path"] for item in volumes["secrets"]["secret"]["items"]}
    for named in (
        config()["bargein"]["redis"]["password_file"],
        config()["bargein"]["auth"]["secret_file"],
    ):
        path = Path(named)
        assert mounts[str(path.parent)] == "secrets"
        assert path.name in items
    (file,) = [one["value"] for one in container()["env"] if one["name"] == "BARGEIN_CONFIG"]
    assert mounts[str(Path(file).parent)] == "config"
    assert volumes["config"]["configMap"]["name"] == kubernetes("ConfigMap")["metadata"]["name"]
    assert Path(file).name in kubernetes("ConfigMap")["data"]


def test_probes_ask_for_pages_that_are_answered_whoever_asks():
    paths = {
        container()[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths == UNCHECKED_PATHS
    assert container()["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container()["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_there_is_time_to_drain():
    before_s = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed_s = before_s + config()["bargein"]["drain_s"] + DRAIN_MORE_S
    assert pod()["terminationGracePeriodSeconds"] > needed_s


def test_who_may_come_in_is_said_where_it_is_relied_on():
    (rule,) = kubernetes("NetworkPolicy")["spec"]["ingress"]
    names = [
        one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for one in rule["from"]
    ]
    assert names == ["ingress", "monitoring"]
    text = kubernetes("ConfigMap")["data"]["bargein.toml"]
    assert "the NetworkPolicy lets in the proxy and who scrapes" in text


def test_a_pod_has_no_rights_that_it_does_not_need():
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["automountServiceAccountToken"] is False
    own = container()["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}


def test_all_name_the_same_pods():
    labels = kubernetes("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert kubernetes("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes("Service")["spec"]["selector"] == labels
    assert kubernetes("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert (
        kubernetes("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
        == (kubernetes("Deployment")["metadata"]["name"])
    )


def test_pods_are_added_by_a_figure_that_there_is():
    metrics = kubernetes("HorizontalPodAutoscaler")["spec"]["metrics"]
    names = {one["pods"]["metric"]["name"] for one in metrics if one["type"] == "Pods"}
    assert names
    assert names <= series()


def test_while_all_are_replaced_none_is_missing():
    rolling = kubernetes("Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}
