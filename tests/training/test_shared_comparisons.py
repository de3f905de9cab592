"""A comparison that machines share: a real MLflow server on a real PostgreSQL, processes that start together."""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_lightning import package
from mnist_lightning.serving.torchserve import free_port
from mnist_lightning.tracking import comparisons, runs
from mnist_lightning.training.arguments import parse_request
from mnist_lightning.training.comparison import train_comparison
from tests.support import PROJECT, TIMEOUT
from tests.training.conftest import ONE_THREAD, Finished

OPTIMIZERS = ("Adam", "SGD", "RMSprop")
SMALL = ("--limit", "500", "--outliers", "5", "--widths", "[8, 8]")
# Imports the verb once, and runs it in one process for each folder, which is named after its optimizer.
TOGETHER = """
import json, os, sys
from mnist_lightning import train

def run(folder, flags):
    os.chdir(folder)
    for name, number in (("output", 1), ("errors", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    try:
        return train.main([*flags, "--only", os.path.basename(folder)])
    finally:
        sys.stdout.flush()

folders, flags = map(json.loads, sys.argv[1:])
processes = {}
for folder in folders:
    processes[folder] = os.fork()
    if not processes[folder]:
        code = 1
        try:
            code = run(folder, flags)
        finally:
            os._exit(code)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes.values()]))
"""


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any], by: int) -> Iterator[None]:
    """End a process and everything that it started when the block ends."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, by)
        process.wait(60)


def wait_for(what: str, ready: Any) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of an empty PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    tools = found[-1].parent
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
    else:
        user = {}
    with tempfile.TemporaryDirectory() as scratch:
        if user:
            os.chown(scratch, *pwd.getpwnam("postgres")[2:4])
        folder, port = f"{scratch}/data", str(free_port())
        create = [str(tools / "initdb"), "--pgdata", folder, "--username=mlflow", "--auth=trust", "--no-sync"]
        subprocess.run(create, check=True, capture_output=True, cwd=scratch, **user)
        settings = ["-c", "unix_socket_directories=", "-c", "fsync=off", "-p", port]
        process = subprocess.Popen(
            [tools / "postgres", "-D", folder, *settings],
            cwd=scratch,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **user,
        )
        with ended(process, signal.SIGINT):
            ask = [str(tools / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port]
            wait_for("PostgreSQL", lambda: subprocess.run(ask, check=False).returncode == 0)
            yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="module")
def mlflow_server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server with runs in PostgreSQL and files in a folder."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    stores = ["--backend-store-uri", postgres, "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *stores],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # four processes that nothing uses
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return requests.get(f"{url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    with ended(process, signal.SIGKILL):  # at SIGTERM it waits for connections
        wait_for("MLflow server", answers)
        yield url


@pytest.fixture
def client(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    runs.connect()
    yield MlflowClient()
    mlflow.set_tracking_uri("")


def train_together(url: str, folder: Path, mnist_folder: Path, name: str) -> list[Finished]:
    """Three processes, each in a folder of its own, that start at the same moment."""
    places = [folder / optimizer for optimizer in OPTIMIZERS]
    for place in places:
        place.mkdir(parents=True)
    flags = ["--config", str(PROJECT / "config/quick.yaml"), *SMALL, "--data_dir", str(mnist_folder)]
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, json.dumps([*map(str, places)]), json.dumps([*flags, "--comparison", name])],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": url, **ONE_THREAD},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        Finished(code, (place / "output").read_text(), (place / "errors").read_text())
        for code, place in zip(json.loads(done.stdout), places, strict=True)
    ]


def runs_of(client: MlflowClient, query: str = "") -> list[Run]:
    """The runs of the experiment."""
    experiment = client.get_experiment_by_name(runs.EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], query))


def check_shared(client: MlflowClient, name: str) -> str:
    """There is one comparison of this name, with three children; its id."""
    found = runs_of(client)
    (parent,) = [run for run in found if run.info.run_name == name]
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == sorted(OPTIMIZERS)
    assert {run.info.status for run in children} == {"FINISHED"}
    return str(parent.info.run_id)


def test_runs_log_one_dataset_at_the_same_moment(client: MlflowClient) -> None:
    together = threading.Barrier(4)

    def log(number: int) -> None:
        together.wait(60)
        with runs.run(f"run {number}"):
            for seed in range(5):
                images = np.random.default_rng(seed).integers(0, 256, (2, 28, 28), dtype=np.uint8)
                together.wait(60)
                runs.log_dataset(images, images[:, 0, 0], f"dataset {seed}", "training")

    with ThreadPoolExecutor(together.parties) as pool:
        list(pool.map(log, range(together.parties)))
    logged = runs_of(client, "attributes.run_name LIKE 'run %'")
    assert [run.inputs and len(run.inputs.dataset_inputs) for run in logged] == [5] * together.parties


def test_three_processes_share_one_comparison(
    client: MlflowClient, mlflow_server: str, mnist_folder: Path, tmp_path: Path, quick_promotion: None
) -> None:
    for done in train_together(mlflow_server, tmp_path, mnist_folder, "spread out"):
        assert done.code == 0, done.errors
        assert "champion" not in done.output
        assert "package --comparison 'spread out'" in done.output
    assert not list(tmp_path.glob("*/model_store"))
    comparison_id = check_shared(client, "spread out")
    assert client.get_run(comparison_id).info.status == "RUNNING"
    assert package.main(["--comparison", "spread out", "--store", str(tmp_path / "model_store")]) == 0
    assert client.get_run(comparison_id).info.status == "FINISHED"
    card = json.loads((tmp_path / "model_store/mnist.json").read_text())
    assert {run["optimizer"] for run in card["candidates"]} == set(OPTIMIZERS)
    assert card["validation_accuracy"] == max(run["validation_accuracy"] for run in card["candidates"])
    assert client.get_model_version_by_alias("mnist", "champion").run_id == card["run_id"]
    assert len(client.search_model_versions("name='mnist'")) == 1


def test_processes_that_join_at_once_get_the_same_run(client: MlflowClient) -> None:
    for number in range(4):
        start = threading.Barrier(8)

        def join(name: str, start: threading.Barrier) -> str:
            start.wait()
            return comparisons.join(name, "epochs: 1\n")

        with ThreadPoolExecutor(8) as pool:
            (agreed,) = set(pool.map(join, [f"race {number}"] * 8, [start] * 8))
        (run,) = runs_of(client, f"attributes.run_name = 'race {number}'")
        assert run.info.run_id == agreed == comparisons.join(f"race {number}", "epochs: 2\n")
        assert runs.load_text(agreed, runs.RECIPE) == "epochs: 1\n"


def test_a_comparison_has_one_recipe(client: MlflowClient, mnist_folder: Path) -> None:
    config = ["--config", str(PROJECT / "config/quick.yaml"), "--data_dir", str(mnist_folder)]
    first = parse_request([*config, "--limit", "1000"])
    comparison_id = comparisons.join("one recipe", first.recipe_yaml)
    other = parse_request([*config, "--limit", "500", "--comparison", "one recipe", "--only", "SGD"])
    with pytest.raises(runs.TrackingError, match="'one recipe' has another recipe: limit is 500") as error:
        train_comparison(other, promote=lambda _: None)
    assert f"--from-run {comparison_id} --comparison" in str(error.value)
    assert comparisons.statuses(comparison_id) == {}
