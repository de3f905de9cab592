"""One training by two processes as on two machines: torchrun, gloo, loopback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from mnist_lightning.datasets.datamodule import ShuffledBatches
from mnist_lightning.serving.torchserve import free_port
from mnist_lightning.training import distributed
from tests.support import PROJECT, Trained

# The verb, with each process's weights kept at the end of its training.
PROGRAM = """
import sys
import torch
from mnist_lightning import train
from mnist_lightning.training import distributed

class Witness(distributed.Apart):
    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.network.state_dict(), f"weights-{distributed.rank()}.pt")

distributed.Apart = Witness
sys.exit(train.main())
"""


def test_processes_share_every_batch() -> None:
    whole = ShuffledBatches(1000, 64, 3)
    parts = [ShuffledBatches(1000, 64, 3, (which, 2)) for which in range(2)]
    for epoch in (0, 1):
        for batches in (whole, *parts):
            batches.set_epoch(epoch)
        for batch, *shares in zip(whole, *parts, strict=True):
            assert [len(share) for share in shares] == [32, 32]
            assert sorted(batch) == sorted([*shares[0], *shares[1]])
    assert len(whole) == len(parts[0]) == 15
    assert next(iter(whole)) != next(iter(ShuffledBatches(1000, 64, 3)))  # another epoch, another order


def test_what_processes_cannot_share_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed.check(127, resuming=True)  # alone, anything
    monkeypatch.setattr(distributed, "size", lambda: 2)
    distributed.check(128, resuming=False)
    with pytest.raises(distributed.ClusterError, match="batch_size is 127, which 2 processes cannot divide"):
        distributed.check(127, resuming=False)
    with pytest.raises(distributed.ClusterError, match="without torchrun"):
        distributed.check(128, resuming=True)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Path:
    """The folder in which two processes made one training of what the small comparison's SGD had."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "program.py").write_text(PROGRAM)
    flags = ["--config", str(PROJECT / "config/quick.yaml"), "--limit", "6000", "--only", "SGD"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    meet = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    uri = f"sqlite:///{folder}/mlflow.db"
    here = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": uri}
    processes = [
        subprocess.Popen(
            [*command, *meet, f"--node-rank={rank}", "program.py", *flags, "--data_dir", str(mnist_folder)],
            cwd=folder,
            env={**os.environ, **here},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in processes] == [0, 0], said
    assert ["champion: SGD" in text for text in said] == [True, False]
    return folder


def test_two_processes_make_one_run_of_as_many_steps(together: Path, trained: Trained) -> None:
    client = MlflowClient(f"sqlite:///{together}/mlflow.db")
    comparison, child = client.search_runs(["1"], order_by=["attributes.start_time"])
    assert (comparison.info.run_name, child.info.run_name) == ("optimizers", "SGD")
    assert {comparison.info.status, child.info.status} == {"FINISHED"}
    alone = MlflowClient(trained.tracking_uri)
    (other,) = alone.search_runs(["1"], "attributes.run_name = 'SGD'")
    steps = [
        [entry.step for entry in asked.get_metric_history(run.info.run_id, "train_loss")]
        for asked, run in ((client, child), (alone, other))
    ]
    assert steps[0] == steps[1] == [6000 // 128 - 1]


def test_two_processes_end_with_the_same_weights_and_as_good_ones(together: Path, trained: Trained) -> None:
    one, other = (torch.load(together / f"weights-{rank}.pt", weights_only=True) for rank in range(2))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    found = json.loads((together / "model_store/mnist.json").read_text())
    told = json.loads((trained.store / "mnist.json").read_text())
    alone = next(run for run in told["candidates"] if run["optimizer"] == "SGD")
    assert found["final_test_accuracy"] == pytest.approx(alone["final_test_accuracy"], abs=0.01)
