"""The load benchmark on TorchServe, with wrk if it is installed and with threads."""

import json
import os
import shutil
from pathlib import Path

import psutil
import pytest

from mnist_lightning import benchmark
from mnist_lightning.datasets import samples
from mnist_lightning.loadtest import measure
from mnist_lightning.loadtest.generators import Target, generate_load
from mnist_lightning.serving import resources
from mnist_lightning.serving.torchserve import Server, free_port
from tests.support import SEVEN, verb

SHORT = ("--seconds", "1", "--warm-up", "1")


@pytest.fixture(params=["wrk", "threads"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    monkeypatch.setenv("PATH", os.environ["PATH"] if name == "wrk" else "")
    return name


def test_table_figure_and_json(
    server: Server, generator: str, mnist_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "new" / "load.png"
    flags = ["--url", server.url, "--connections", "1", "4", "--data", str(mnist_folder), "--plot", str(plot)]
    assert benchmark.main([*SHORT, *flags]) == 0
    output = capsys.readouterr().out
    report = json.loads(output.splitlines()[-1])
    assert report["url"] == f"{server.url}/predictions/mnist"
    assert report["generator"].startswith(generator)
    assert report["pictures"] == dict.fromkeys(samples.PRESENTATIONS, 40)
    one, four = report["loads"]
    assert (one["connections"], four["connections"]) == (1, 4)
    for load in (one, four):
        assert load["errors"] == 0
        assert load["requests_per_second"] > 0
        assert 0 < load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"]
        # Little's law: each connection has one request at a time.
        assert load["requests_per_second"] * load["p50_ms"] / 1000 < 2 * load["connections"]
        assert 200 < load["memory_mb"] < 4000  # Java and a worker with torch
        assert f"{load['requests_per_second']:,.0f}" in output
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_rejected_pictures_count_as_errors(server: Server, generator: str) -> None:
    url, broken = f"{server.url}/predictions/mnist", b"\x89PNG broken"
    bad = generate_load(Target(url, [broken]), 2, 1)
    mixed = generate_load(Target(url, [broken, SEVEN.read_bytes()]), 2, 1)
    assert bad.error_responses == bad.responses > 0
    assert 0 < mixed.error_responses == pytest.approx(mixed.responses / 2, rel=0.3)


def test_unknown_path_is_an_error(server: Server) -> None:
    """In a process of its own, as a user runs it."""
    done = verb("benchmark", *SHORT, "--url", f"{server.url}/elsewhere", "--picture", str(SEVEN))
    assert (done.returncode, done.stdout) == (1, "")
    assert "answered 404" in done.stderr
    assert "Traceback" not in done.stderr


def test_memory_includes_the_workers(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    assert resources.listening_pids(port) == [server.process.pid]
    total = measure.resident_memory_mb([server.process.pid])
    java = psutil.Process(server.process.pid).memory_info().rss / 1e6
    assert total is not None
    assert total > java + 100  # a worker with torch
    assert resources.listening_pids(free_port()) == []
