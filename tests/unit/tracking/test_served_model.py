"""The model that MLflow serves, with what MLflow's server and Spark call of it."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.models.utils import _enforce_schema

from mnist_lightning.inference.table import MISSING
from mnist_lightning.tracking import runs, served_model
from tests.mlflow_stores import open_store
from tests.small_archive import build_small
from tests.support import BLOCK_IMPORTS, SEVEN

BASE64 = base64.b64encode(SEVEN.read_bytes()).decode()

# Answers one picture, where nothing can be imported but what the model's requirements bring.
ANSWER = (
    BLOCK_IMPORTS
    + """
import mlflow
model = mlflow.pyfunc.load_model({path!r})
import mnist_lightning
print(mnist_lightning.__file__, model.predict({{"image": [{picture!r}]}})[0]["number"])
"""
)
BLOCKED = {"lightning", "torch", "torchvision", "torchmetrics", "ts", "captum", "onnx", "rich", "jsonargparse"}


@pytest.fixture(scope="module")
def logged(mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The run of a served model, and the model's URI; its archive lay in a folder with an odd name."""
    folder = tmp_path_factory.mktemp("served")
    parts = folder / "odd #%20 name"
    parts.mkdir()
    build_small(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        with open_store(mlflow_tables, folder / "mlflow.db"):
            with runs.run("a run") as run_id:
                pass
            uri = served_model.log(run_id, parts / "parts")
            shutil.rmtree(parts)  # the model has copies
            yield run_id, uri


@pytest.fixture(scope="module")
def model(logged: tuple[str, str]) -> Any:
    return mlflow.pyfunc.load_model(logged[1])


def test_the_run_stays_finished_and_names_its_model(logged: tuple[str, str]) -> None:
    run_id, uri = logged
    assert mlflow.get_run(run_id).info.status == "FINISHED"
    assert runs.tags(run_id)[served_model.MODEL_URI] == uri
    assert mlflow.get_logged_model(uri.rpartition("/")[2]).source_run_id == run_id


def test_the_answers_fit_the_signature(model: Any) -> None:
    answers = model.predict(pd.DataFrame({"image": [BASE64, SEVEN.read_bytes()]}))
    signature: ModelSignature = model.metadata.signature
    assert list(answers[0]) == signature.outputs.input_names() == list(MISSING)
    _enforce_schema(answers, signature.outputs)  # raises if a type does not fit
    assert [answer["number"] for answer in answers] == ["7", "7"]
    assert [round(sum(answer["probabilities"]), 3) for answer in answers] == [1.0, 1.0]


def test_what_a_spark_udf_calls(model: Any) -> None:
    """`spark_udf` names the columns that it is given by the signature, and predicts; only Spark itself is left out."""
    names = model.metadata.get_input_schema().input_names()
    batch = pd.DataFrame({names[0]: pd.Series([BASE64, "not base64", None])}, columns=names)
    answers = pd.DataFrame(model.predict(batch, params={"on_error": "report"}))
    assert answers["number"].tolist() == ["7", "", ""]  # the first column, which result_type="string" returns
    assert answers.select_dtypes(include="number").columns[0] == "prediction"  # … and result_type="long"
    assert [bool(error) for error in answers["error"]] == [False, True, True]
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"image\[1\]: a string must be the base64"):
        model.predict(batch)


def test_the_input_example_is_read(logged: tuple[str, str], model: Any) -> None:
    example = model.input_example
    assert [answer["number"] for answer in model.predict(example)] == ["1"]


def test_the_model_needs_nothing_but_its_requirements(logged: tuple[str, str], tmp_path: Path) -> None:
    """Its code and its networks come with it."""
    path = mlflow.artifacts.download_artifacts(logged[1], dst_path=str(tmp_path / "model"))
    script = ANSWER.format(blocked=BLOCKED, path=path, picture=BASE64)
    command = [sys.executable, "-P", "-W", "error::ImportWarning", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(Path(path, "code", "mnist_lightning", "__init__.py")), "7"]
    requirements = Path(path, "requirements.txt").read_text().splitlines()
    assert f"onnxruntime=={version('onnxruntime')}" in requirements
    assert not any(line.startswith(("torch", "lightning", "cloudpickle")) for line in requirements)
    assert [*Path(path).rglob("*.pkl")] == []
