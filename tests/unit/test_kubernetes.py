"""The Kubernetes manifests conform to the published schemas and to each other. Their probes: tests/server."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support import PROJECT

FOLDER = PROJECT / "config" / "kubernetes"
OLDEST, NEWEST = "1.28", "1.37"  # validated versions of Kubernetes
KSERVE_FIELDS = {
    "minReplicas",
    "maxReplicas",
    "scaleMetric",
    "scaleTarget",
    "canaryTrafficPercent",
}  # of a predictor, beside a pod's fields


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def pod_of(name: str) -> dict[str, Any]:
    """The pod of a manifest, without KServe's fields."""
    spec = manifest(name)["spec"]
    pod = spec["template"]["spec"] if "template" in spec else spec["predictor"]
    return {key: value for key, value in pod.items() if key not in KSERVE_FIELDS}


def test_the_kustomization_lists_every_manifest() -> None:
    assert sorted(manifest("kustomization.yaml")["resources"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", manifest("kustomization.yaml")["resources"])
def test_manifests_conform_to_the_schemas(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_an_unknown_field_is_rejected() -> None:
    wrong = manifest("deployment.yaml")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_kserve_runs_the_same_pod() -> None:
    """A predictor is a pod with a few more fields. KServe's package with its schema needs another psutil."""
    service = manifest("kserve/inference-service.yaml")
    deployment, predictor = pod_of("deployment.yaml"), pod_of("kserve/inference-service.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mnist"}, "spec": predictor}
    kubernetes_validate.validate(pod, NEWEST, strict=True)
    assert predictor["containers"][0].pop("name") == "kserve-container"
    assert deployment["containers"][0].pop("name") == "mnist-serve"
    del deployment["topologySpreadConstraints"]  # they select by a label that KServe does not set
    assert deployment == predictor


def test_kserves_canary_is_the_same_pod_with_what_knative_accepts() -> None:
    service, canary = manifest("kserve/inference-service.yaml"), manifest("kserve/canary.yaml")
    assert [canary[key] for key in ("apiVersion", "kind")] == [service[key] for key in ("apiVersion", "kind")]
    assert canary["metadata"]["name"] == service["metadata"]["name"]
    assert canary["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Knative"}
    assert 0 < canary["spec"]["predictor"]["canaryTrafficPercent"] < 50
    pod, expected = pod_of("kserve/canary.yaml"), pod_of("kserve/inference-service.yaml")
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mnist"}, "spec": pod}, NEWEST, strict=True
    )
    for name in ("automountServiceAccountToken", "terminationGracePeriodSeconds"):  # Knative sets them
        del expected[name]
    (container,), (own,) = expected["containers"], pod["containers"]
    for name in ("startupProbe", "lifecycle"):  # Knative has its own
        del container[name]
    container["ports"][0]["name"] = "http1"  # which names the protocol
    container["livenessProbe"]["httpGet"]["port"] = container["ports"][0]["containerPort"]
    assert own.pop("image") == f"{container.pop('image')}:new"
    assert pod == expected


def test_selectors_and_ports_match() -> None:
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


def test_the_pod_is_confined_like_the_image() -> None:
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
