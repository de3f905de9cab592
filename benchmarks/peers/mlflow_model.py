"""MLflow's model server, with the network as a model of the flavor `pyfunc`.

python -m benchmarks.peers.mlflow_model FOLDER
mlflow models serve --model-uri FOLDER --env-manager local --workers 2
"""

import base64
import sys
from typing import Any

from mlflow import pyfunc
from mlflow.pyfunc.model import PythonModel

from benchmarks.peers.predictor import Answer, Predictor


class DigitModel(PythonModel):
    """Answers {"inputs": [base64, …]} with {"predictions": [...]}."""

    def load_context(self, context: Any) -> None:
        """Load a network for each worker."""
        self.predictor = Predictor()

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[Answer]:
        """Answer pictures in base64."""
        return self.predictor.predict_files([base64.b64decode(picture) for picture in model_input])


def main() -> None:
    """Save the model; the server imports its class from this module."""
    from benchmarks.peers.mlflow_model import DigitModel as Importable  # by its name, not as __main__'s

    pyfunc.save_model(sys.argv[1], python_model=Importable(), pip_requirements=[])


if __name__ == "__main__":
    main()
