"""MLflow's model from code: answers a table of pictures as the server does. MLflow runs this file to load the model."""

from pathlib import Path
from typing import Any

import pandas as pd  # with mlflow, which warns of any other type of `model_input`
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from mnist_lightning.common.constants import EXPORTED
from mnist_lightning.inference.loader import load_model
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.table import ON_ERROR, PICTURES, RAISE, answer_column
from mnist_lightning.preprocessing.errors import BadPictureError


class DigitModel(PythonModel):
    """Answers the pictures in the column `image`."""

    def load_context(self, context: Any) -> None:
        """Load the exported model and the weights beside it."""
        exported = Path(context.artifacts[EXPORTED])
        self.model = load_model(exported.read_bytes(), exported.parent)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[Answer]:
        """An answer for each row, with the fields of the signature.

        Raises MlflowException, which MLflow's server reports as status 400, for the first picture that cannot be read,
        unless the parameter `on_error` is `report`.
        """
        try:
            return answer_column(self.model, model_input[PICTURES], (params or {}).get(ON_ERROR, RAISE))
        except (BadPictureError, ValueError) as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error


set_model(DigitModel())
