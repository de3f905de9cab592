"""The manifests against Kubernetes' published schemas, and their probes against a real server."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import psutil
import pytest
import requests
import yaml

from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import PROJECT, Trained

FOLDER = PROJECT / "config" / "kubernetes"
OLDEST, NEWEST = "1.28", "1.37"  # of the schemas that are asked
# What KServe's predictor has beside the fields of a pod.
KSERVE = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def pod_of(name: str) -> dict[str, Any]:
    """A manifest's pod without what KServe adds to it, and without its container's name."""
    spec = manifest(name)["spec"]
    found = spec["template"]["spec"] if "template" in spec else spec["predictor"]
    return {key: value for key, value in found.items() if key not in KSERVE}


@pytest.fixture(scope="module")
def own_server(trained: Trained) -> Iterator[Server]:
    """A server that this file's tests may hinder."""
    with running(trained.store, free_port()) as server:
        yield server


def ask_as_kubelet(probe: dict[str, Any], server: Server) -> bool:
    """Do what a probe says, with this environment's Python and this server's port in place of the container's."""
    if "httpGet" in probe:
        return requests.get(server.url + probe["httpGet"]["path"], timeout=probe["timeoutSeconds"]).ok
    python, *words = probe["exec"]["command"]
    assert python == "/opt/venv/bin/python"
    port = ["--port", server.url.rpartition(":")[2]]
    try:
        done = subprocess.run(
            [sys.executable, *words, *port], cwd=PROJECT, timeout=probe["timeoutSeconds"], check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def test_the_folder_is_complete() -> None:
    assert sorted(manifest("kustomization.yaml")["resources"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", manifest("kustomization.yaml")["resources"])
def test_the_schemas_hold(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_a_wrong_manifest_would_be_seen() -> None:
    wrong = manifest("deployment.yaml")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_kserve_runs_the_same_pod() -> None:
    """KServe's own schema comes with a package that wants another psutil; its predictor is a pod and four fields."""
    service = manifest("kserve/inference-service.yaml")
    ours, theirs = pod_of("deployment.yaml"), pod_of("kserve/inference-service.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mnist"}, "spec": theirs}
    kubernetes_validate.validate(pod, NEWEST, strict=True)
    assert theirs["containers"][0].pop("name") == "kserve-container"
    assert ours["containers"][0].pop("name") == "mnist-serve"
    del ours["topologySpreadConstraints"]  # these select by a label that KServe does not set
    assert ours == theirs


def test_selectors_and_ports_meet() -> None:
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    [container] = pod_of("deployment.yaml")["containers"]
    [port] = container["ports"]
    service, policy = manifest("service.yaml")["spec"], manifest("network.yaml")["spec"]
    selectors = [manifest(name)["spec"]["selector"]["matchLabels"] for name in ("deployment.yaml", "disruption.yaml")]
    assert [*selectors, service["selector"], policy["podSelector"]["matchLabels"]] == [labels] * 4
    assert service["ports"][0]["targetPort"] == policy["ingress"][0]["ports"][0]["port"] == port["name"]
    assert container["livenessProbe"]["httpGet"]["port"] == port["name"]
    assert f"EXPOSE {port['containerPort']}" in (PROJECT / "Dockerfile").read_text().splitlines()
    assert (
        manifest("autoscaler.yaml")["spec"]["scaleTargetRef"]["name"] == manifest("deployment.yaml")["metadata"]["name"]
    )


def test_the_pod_is_confined_as_the_image_allows() -> None:
    pod = pod_of("deployment.yaml")
    [container] = pod["containers"]
    user = pod["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in (PROJECT / "Dockerfile").read_text().splitlines()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_probes_tell_a_server_that_predicts_from_one_that_is_only_up(own_server: Server) -> None:
    [container] = pod_of("deployment.yaml")["containers"]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {name: ask_as_kubelet(probe, own_server) for name, probe in probes.items()} == dict.fromkeys(probes, True)
    workers = [p for p in psutil.Process(own_server.process.pid).children(recursive=True) if "python" in p.name()]
    assert workers
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        hindered = {name: ask_as_kubelet(probe, own_server) for name, probe in probes.items() if name != "startup"}
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
    assert hindered == {"readiness": False, "liveness": True}
    assert ask_as_kubelet(probes["readiness"], own_server)


@pytest.mark.parametrize("path", ["/v1/models/mnist:predict", "/v2/models/mnist/infer"])
def test_torchserve_knows_kserves_paths(path: str, own_server: Server) -> None:
    digit = {
        "image": [[255 if 4 <= row < 24 and 13 <= column < 16 else 0 for column in range(28)] for row in range(28)]
    }
    usual = requests.post(f"{own_server.url}/predictions/mnist", json=digit, timeout=10)
    answer = requests.post(own_server.url + path, json=digit, timeout=10)
    assert answer.status_code == usual.status_code == 200
    assert answer.json() == usual.json()
    assert requests.get(f"{own_server.url}/v2/health/ready", timeout=10).status_code == 404  # as the manifest says
