"""The networks that ship with the package are trained by commands, logged to MLflow, and written whole."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import lightning as L
import mlflow
import pytest
from mlflow.entities import Run

from mnist_lightning import train_line_reader, train_segmenter
from mnist_lightning.common.engine import load_session
from mnist_lightning.tracking import runs
from mnist_lightning.training.line_reading import LineReadingModule
from mnist_lightning.training.segmentation import SegmentationModule
from tests.training.conftest import Workplace


@dataclass(frozen=True)
class Case:
    """A verb, and what it says and records of a training on 48 examples."""

    main: Callable[[list[str] | None], int]
    module: type[L.LightningModule]
    experiment: str
    examples: str  # the parameter, and the flag without its dashes
    metric: str
    result: str
    announcement: str
    progress: str
    artifacts: frozenset[str]

    @property
    def tiny(self) -> tuple[str, ...]:
        return f"--{self.examples}", "48", "--epochs", "1"


CASES = {
    "segmenter": Case(
        train_segmenter.main,
        SegmentationModule,
        runs.SEGMENTER_EXPERIMENT,
        "photographs",
        "validation_iou",
        "intersection over union 0.",
        "drawing 52 photographs",
        "segmenter epoch 1/1",
        frozenset({"examples.png", "digest.txt", "model"}),
    ),
    "line reader": Case(
        train_line_reader.main,
        LineReadingModule,
        runs.LINE_READER_EXPERIMENT,
        "lines",
        "validation_exact_matches",
        "0.00 % of the held-out lines are read without a mistake",
        "composing 88 lines",
        "line reader epoch 1/1",
        frozenset({"digest.txt", "model"}),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def recorded(workplace: Workplace, case: Case) -> Run:
    client = mlflow.MlflowClient(workplace.tracking_uri)
    experiment = client.get_experiment_by_name(case.experiment)
    assert experiment is not None
    runs_found: list[Run] = list(client.search_runs([experiment.experiment_id]))
    (run,) = runs_found
    return run


def test_a_short_training(case: Case, workplace: Workplace) -> None:
    output = workplace.folder / "new" / "made.onnx"
    data = ("--data", str(workplace.mnist_folder))
    done = workplace.run(case.main, *case.tiny, *data, "--output", str(output))
    assert done.code == 0, done.errors
    assert f"{output}: {case.result}" in done.output
    assert case.announcement in done.errors
    assert case.progress in done.errors
    load_session(output.read_bytes(), output.name)
    run = recorded(workplace, case)
    assert (run.info.status, run.data.params[case.examples]) == ("FINISHED", "48")
    assert 0 <= run.data.metrics[case.metric] <= 1
    client = mlflow.MlflowClient(workplace.tracking_uri)
    assert case.artifacts <= {file.path for file in client.list_artifacts(run.info.run_id)}


def test_ctrl_c_marks_the_run_and_writes_nothing(case: Case, workplace: Workplace, interruptible: None) -> None:
    output = workplace.folder / "made.onnx"

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)

    data = ("--data", str(workplace.mnist_folder))
    with patch.object(case.module, "training_step", interrupt):
        done = workplace.run(case.main, *case.tiny, *data, "--output", str(output))
    assert (done.code, output.exists()) == (130, False)
    assert "KILLED" in done.errors
    assert recorded(workplace, case).info.status == "KILLED"


@pytest.mark.parametrize("place", ["file/made.onnx", "."])
def test_an_output_that_cannot_be_written_is_an_error_in_a_line(place: str, case: Case, workplace: Workplace) -> None:
    Path(workplace.folder, "file").write_text("")
    done = workplace.run(case.main, "--output", place)
    assert (done.code, done.errors.startswith("error: "), done.errors.count("\n")) == (1, True, 1)


@pytest.mark.parametrize(("flag", "value"), [("seed", "-1"), ("seed", str(2**32)), ("examples", "0")])
def test_values_out_of_range_are_refused(flag: str, value: str, case: Case, workplace: Workplace) -> None:
    done = workplace.run(case.main, f"--{case.examples if flag == 'examples' else flag}", value)
    assert done.code == 2
    assert value in done.errors
