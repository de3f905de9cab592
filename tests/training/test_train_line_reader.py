"""The line reader is trained by a command, logged to MLflow, and written whole."""

import os
import signal
import threading
from pathlib import Path
from unittest.mock import patch

import mlflow
import pytest
from mlflow.entities import Run

from mnist_lightning import train_line_reader
from mnist_lightning.common.engine import load_session
from mnist_lightning.tracking import runs
from mnist_lightning.training.line_reading import LineReadingModule
from tests.training.conftest import Workplace

TINY = ("--lines", "48", "--epochs", "1")


def recorded(workplace: Workplace) -> Run:
    client = mlflow.MlflowClient(workplace.tracking_uri)
    experiment = client.get_experiment_by_name(runs.LINE_READER_EXPERIMENT)
    assert experiment is not None
    runs_found: list[Run] = list(client.search_runs([experiment.experiment_id]))
    (run,) = runs_found
    return run


def test_a_short_training(workplace: Workplace) -> None:
    output = workplace.folder / "new" / "made.onnx"
    data = ("--data", str(workplace.mnist_folder))
    done = workplace.run(train_line_reader.main, *TINY, *data, "--output", str(output))
    assert done.code == 0, done.errors
    assert f"{output}: 0.00 % of the held-out lines are read without a mistake" in done.output
    assert "composing 88 lines" in done.errors
    assert "line reader epoch 1/1" in done.errors
    load_session(output.read_bytes(), output.name)
    run = recorded(workplace)
    assert (run.info.status, run.data.params["lines"]) == ("FINISHED", "48")
    assert 0 <= run.data.metrics["validation_exact_matches"] <= 1
    client = mlflow.MlflowClient(workplace.tracking_uri)
    assert {"digest.txt", "model"} <= {file.path for file in client.list_artifacts(run.info.run_id)}


def test_ctrl_c_marks_the_run_and_writes_nothing(workplace: Workplace, interruptible: None) -> None:
    output = workplace.folder / "made.onnx"

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)

    data = ("--data", str(workplace.mnist_folder))
    with patch.object(LineReadingModule, "training_step", interrupt):
        done = workplace.run(train_line_reader.main, *TINY, *data, "--output", str(output))
    assert (done.code, output.exists()) == (130, False)
    assert "KILLED" in done.errors
    assert recorded(workplace).info.status == "KILLED"


@pytest.mark.parametrize("place", ["file/made.onnx", "."])
def test_an_output_that_cannot_be_written_is_an_error_in_a_line(place: str, workplace: Workplace) -> None:
    Path(workplace.folder, "file").write_text("")
    done = workplace.run(train_line_reader.main, "--output", place)
    assert (done.code, done.errors.startswith("error: "), done.errors.count("\n")) == (1, True, 1)


@pytest.mark.parametrize("flags", [("--seed", "-1"), ("--seed", str(2**32)), ("--lines", "0")])
def test_values_out_of_range_are_refused(flags: tuple[str, str], workplace: Workplace) -> None:
    done = workplace.run(train_line_reader.main, *flags)
    assert done.code == 2
    assert flags[1] in done.errors
