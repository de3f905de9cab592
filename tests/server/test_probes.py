"""The probes of the Kubernetes manifests, against a real server."""

import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest
import requests

from mnist_lightning.serving.torchserve import Server
from tests.support import PROJECT
from tests.unit.test_kubernetes import pod_of


def run_probe(probe: dict[str, Any], server: Server) -> bool:
    """Run a probe with this environment's Python and this server's port instead of the container's."""
    if "httpGet" in probe:
        return requests.get(server.url + probe["httpGet"]["path"], timeout=probe["timeoutSeconds"]).ok
    python, *words = probe["exec"]["command"]
    assert python == "/opt/venv/bin/python"
    command = [sys.executable, *words, "--port", server.url.rpartition(":")[2]]
    try:
        done = subprocess.run(command, cwd=PROJECT, timeout=probe["timeoutSeconds"], check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def test_a_server_that_does_not_predict_is_alive_but_not_ready(server: Server) -> None:
    [container] = pod_of("deployment.yaml")["containers"]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {name: run_probe(probe, server) for name, probe in probes.items()} == dict.fromkeys(probes, True)
    workers = [p for p in psutil.Process(server.process.pid).children(recursive=True) if "python" in p.name()]
    assert workers
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        hurried = {name: {**probes[name], "timeoutSeconds": 3} for name in ("readiness", "liveness")}
        stopped = {name: run_probe(probe, server) for name, probe in hurried.items()}
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
    assert stopped == {"readiness": False, "liveness": True}
    assert run_probe(probes["readiness"], server)


@pytest.mark.parametrize("path", ["/v1/models/mnist:predict", "/v2/models/mnist/infer"])
def test_torchserve_has_kserves_paths(path: str, server: Server) -> None:
    one = [[255 if 4 <= row < 24 and 13 <= column < 16 else 0 for column in range(28)] for row in range(28)]
    expected = requests.post(f"{server.url}/predictions/mnist", json={"image": one}, timeout=10)
    answer = requests.post(server.url + path, json={"image": one}, timeout=10)
    assert answer.status_code == expected.status_code == 200
    assert answer.json() == expected.json()
