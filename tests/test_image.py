"""The image, hardened as in production; where no Docker engine answers, these are skipped.

BASE_IMAGE, TORCH_INDEX_URL and TORCH_VERSION are handed on to the build where they are set.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, Trained

from benchmarks import presentations
from mnist_lightning.client import ask
from mnist_lightning.server import answers, free_port


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], cwd=PROJECT, capture_output=True, text=True, timeout=900, check=False)
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    try:
        subprocess.run(["docker", "info"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no Docker engine answers")
    names = ("BASE_IMAGE", "TORCH_INDEX_URL", "TORCH_VERSION")
    settings = [word for name in names if name in os.environ for word in ("--build-arg", f"{name}={os.environ[name]}")]
    docker("build", "--network", "host", *settings, "-t", "mnist-serve:test", ".")
    return "mnist-serve:test"


@pytest.fixture
def container(image: str, trained: Trained) -> Iterator[tuple[str, str]]:
    """A running container's name, and the address that it answers on."""
    port, name = free_port(), f"mnist-serve-test-{os.getpid()}"
    store = tempfile.mkdtemp(prefix="mnist-store-")  # outside pytest's own folder, which only its owner may enter
    Path(store).chmod(0o755)
    shutil.copy(trained.store / "mnist.mar", store)
    hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "1g"]
    places = ["--tmpfs", "/tmp:size=64m", "-v", f"{store}:/srv/model_store:ro", "-p", f"127.0.0.1:{port}:8080"]
    docker("run", "-d", "--name", name, *hardened, *places, image)
    yield name, f"http://127.0.0.1:{port}"
    docker("rm", "-f", name, check=False)
    shutil.rmtree(store)


def test_it_answers_and_stops_as_it_should(container: tuple[str, str]) -> None:
    name, url = container
    deadline = time.monotonic() + 60
    while not answers(url, timeout=2):
        assert time.monotonic() < deadline, docker("logs", name)
        time.sleep(0.2)
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 13:16] = 255
    assert ask(presentations.sketchpad(digit, np.random.default_rng(0)), url)["prediction"] in range(10)
    docker("exec", name, "/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--check")
    assert docker("exec", name, "id", "-u") == "10001"
    started = time.monotonic()
    docker("stop", name)
    assert time.monotonic() - started < 5.5
    assert docker("inspect", name, "--format", "{{.State.ExitCode}}") == "0"
