"""The model of MLflow that answers as the server does: `mlflow models serve`, `mlflow.pyfunc.load_model`, Spark."""

import base64
from importlib.metadata import version
from pathlib import Path

import cv2
import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Object, Property

from mnist_lightning.common.constants import EXPORTED, WEIGHTS
from mnist_lightning.common.paths import resource
from mnist_lightning.inference.table import ON_ERROR, PICTURES, RAISE

NAME = "served_model"  # of the logged model
MODEL_URI = "served_model_uri"  # the run's tag
REQUIREMENTS = ("mlflow", "multipart", "numpy", "onnxruntime", "opencv-python-headless", "pi-heif", "pillow")
DOUBLES, LONGS, STRINGS = Array(DataType.double), Array(DataType.long), Array(DataType.string)
DIGIT = Object(
    [
        Property("prediction", DataType.long),
        Property("confidence", DataType.double),
        Property("probabilities", DOUBLES),
        Property("is_digit", DataType.double),
        Property("box", LONGS),
    ]
)
# Spark reads the first column as a string, and the first number as a number.
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(AnyType(), PICTURES)]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "number"),
            ColSpec(DataType.long, "prediction"),
            ColSpec(DataType.double, "confidence"),
            ColSpec(DOUBLES, "probabilities"),
            ColSpec(DataType.double, "is_digit"),
            ColSpec(DataType.long, "rotation"),
            ColSpec(DataType.string, "note"),
            ColSpec(STRINGS, "lines"),
            ColSpec(Array(DIGIT), "digits"),
            ColSpec(DataType.string, "error"),
        ]
    ),
    params=ParamSchema([ParamSpec(ON_ERROR, DataType.string, RAISE)]),
)


def log(run_id: str, parts: Path) -> str:
    """Log the model that an archive holds to its run, so that it can be registered; its URI.

    Args:
        run_id: the run, which need not be open.
        parts: the archive's content, as `package --parts` copies it.
    """
    logged = Model.log(
        artifact_path=None,
        name=NAME,
        flavor=mlflow.pyfunc,
        run_id=run_id,
        python_model=str(resource("handlers/mlflow_model.py")),
        artifacts={name: (parts / name).absolute().as_uri() for name in (EXPORTED, WEIGHTS)},
        code_paths=[str(parts / "code" / "mnist_lightning")],
        signature=SIGNATURE,
        input_example=_example(),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
    )
    mlflow.MlflowClient().set_tag(run_id, MODEL_URI, logged.model_uri)
    return str(logged.model_uri)


def _example() -> dict[str, list[str]]:
    """A drawing of a 1."""
    drawing = np.full((28, 28), 255, np.uint8)
    drawing[4:24, 13:16] = 0
    _, file = cv2.imencode(".png", drawing)
    return {PICTURES: [base64.b64encode(file.tobytes()).decode()]}
