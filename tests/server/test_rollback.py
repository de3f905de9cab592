"""The way back to the previous champion, on a server that runs."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from mnist_lightning.tracking import registry, runs
from tests.mlflow_stores import log_served_model, log_training, open_store
from tests.server.archives import always, write_archive
from tests.server.serve_process import ServeProcess, serve
from tests.support import SEVEN, verb


@pytest.fixture(scope="module")
def process(small_store: Path, mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server whose champion takes every picture for a 3; the one before reads them."""
    folder = tmp_path_factory.mktemp("rollback")
    store = folder / "store"
    store.mkdir()
    original = small_store / "mnist.mar"
    shutil.copy(original, store / "previous.mar")
    write_archive(original, store / "mnist.mar", **always(original, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        with open_store(mlflow_tables, folder / "mlflow.db"):
            for name in ("previous", "mnist"):
                with runs.run("comparison") as parent:
                    run_id = log_training(parent, "SGD")
                log_served_model(run_id)
                registry.make_champion(registry.register(run_id))
                (store / f"{name}.json").write_text(json.dumps({"run_id": run_id}))
    (folder / "runtime").mkdir()
    with serve(store, folder / "runtime") as process:
        process.wait_until_ready()
        yield process


def roll_back(process: ServeProcess, runtime: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    store = f"sqlite:///{process.store.parent}/mlflow.db"
    flags = ("--store", str(process.store), *flags)
    return verb("rollback", *flags, XDG_RUNTIME_DIR=str(runtime), MLFLOW_TRACKING_URI=store)


def test_the_previous_champion_answers_again_and_no_request_is_lost(process: ServeProcess) -> None:
    stopped = threading.Event()

    def predict() -> int:
        answer = requests.post(f"{process.url}/predictions/mnist", data=SEVEN.read_bytes(), timeout=30)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["prediction"])

    def keep_asking() -> list[int]:
        digits = [predict()]
        while not stopped.is_set():
            digits.append(predict())
            stopped.wait(0.05)  # the verb starts for seconds, in which the clients need not occupy the cores
        return digits

    assert predict() == 3

    with ThreadPoolExecutor(4) as pool:  # a worker switches at its next request: both get some
        clients = [pool.submit(keep_asking) for _ in range(4)]
        try:
            done = roll_back(process, process.folder, "--reason", "all threes")
            assert predict() == 7
        finally:
            stopped.set()
        digits = [client.result() for client in clients]
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"champion: {process.store / 'mnist.mar'}\nserved: weights ")
    assert {digit for each in digits for digit in each} <= {3, 7}
    history = roll_back(process, process.folder, "--history").stdout
    assert history.count("rollback") == 1
    assert "all threes" in history


def test_a_rollback_without_a_server_says_so(process: ServeProcess, tmp_path: Path) -> None:
    done = roll_back(process, tmp_path)
    assert (done.returncode, done.stderr) == (0, "no server runs that could load it\n")
