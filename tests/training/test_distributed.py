"""One training by two processes, as on two machines: torchrun, gloo, loopback."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from mnist_lightning.serving.torchserve import free_port
from mnist_lightning.training import distributed
from tests.support import PROJECT
from tests.training.conftest import ONE_THREAD, TRAINED_FLAGS, Trained

# The verb, in processes that save their weights when the training ends.
PROGRAM = """
import sys
import torch
from mnist_lightning import train
from mnist_lightning.packaging import archiver, reference
from mnist_lightning.training import distributed
from tests.small_archive import committed_export

archiver.to_onnx, reference.PICTURES = committed_export, 50  # a quick promotion

class SaveWeights(distributed.PerRankSeed):
    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.network.state_dict(), f"weights-{distributed.rank()}.pt")

distributed.PerRankSeed = SaveWeights
sys.exit(train.main())
"""


def test_an_indivisible_batch_and_a_resumed_training_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed.check(127, resuming=True)  # one process accepts anything
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    distributed.check(128, resuming=False)
    with pytest.raises(distributed.DistributedError, match="batch_size is 127, which 2 processes cannot divide"):
        distributed.check(127, resuming=False)
    with pytest.raises(distributed.DistributedError, match="without torchrun"):
        distributed.check(128, resuming=True)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path, mlflow_tables: Path) -> Path:
    """The folder of a training by two processes, with the data of the `trained` comparison's SGD."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "program.py").write_text(PROGRAM)
    shutil.copy(mlflow_tables, folder / "mlflow.db")
    flags = [*TRAINED_FLAGS, "--only", "SGD"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    rendezvous = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    uri = f"sqlite:///{folder}/mlflow.db"
    settings = {"PYTHONPATH": str(PROJECT), "MLFLOW_TRACKING_URI": uri, **ONE_THREAD}
    processes = [
        subprocess.Popen(
            [*command, *rendezvous, f"--node-rank={rank}", "program.py", *flags, "--data_dir", str(mnist_folder)],
            cwd=folder,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert ["champion: SGD" in text for text in outputs] == [True, False]
    return folder


def test_two_processes_log_one_run_with_the_same_number_of_steps(together: Path, trained: Trained) -> None:
    client = MlflowClient(f"sqlite:///{together}/mlflow.db")
    comparison, child = client.search_runs(["1"], order_by=["attributes.start_time"])
    assert (comparison.info.run_name, child.info.run_name) == ("optimizers", "SGD")
    assert {comparison.info.status, child.info.status} == {"FINISHED"}
    single = MlflowClient(trained.tracking_uri)
    (other,) = single.search_runs(["1"], "attributes.run_name = 'SGD'")
    steps = [
        [entry.step for entry in store.get_metric_history(run.info.run_id, "train_loss")]
        for store, run in ((client, child), (single, other))
    ]
    assert steps[0] == steps[1] == [6000 // 64 - 1]


def test_two_processes_end_with_equal_weights_that_are_as_accurate(together: Path, trained: Trained) -> None:
    one, other = (torch.load(together / f"weights-{rank}.pt", weights_only=True) for rank in range(2))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    found = json.loads((together / "model_store/mnist.json").read_text())
    card = json.loads((trained.store / "mnist.json").read_text())
    alone = next(run for run in card["candidates"] if run["optimizer"] == "SGD")
    assert found["final_test_accuracy"] == pytest.approx(alone["final_test_accuracy"], abs=0.01)
