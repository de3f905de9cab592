"""MLflow's model server, with the champion as a model of the `pyfunc` kind.

python -m benchmarks.peers.mlflow_model FOLDER
mlflow models serve --model-uri FOLDER --env-manager local --workers 2
"""

import base64
import sys
from typing import Any

import mlflow

from benchmarks.peers.reader import Answer, Reader


class DigitModel(mlflow.pyfunc.PythonModel):
    """JSON {"inputs": [base64, …]} -> {"predictions": as many answers}."""

    def load_context(self, context: Any) -> None:
        """One network a worker."""
        self.reader = Reader()

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[Answer]:
        """Read them."""
        return self.reader.read([base64.b64decode(picture) for picture in model_input])


def main() -> None:
    """Save the model; it is imported from here when it is served."""
    from benchmarks.peers.mlflow_model import DigitModel as Importable  # by its name, not as __main__'s

    mlflow.pyfunc.save_model(sys.argv[1], python_model=Importable(), pip_requirements=[])


if __name__ == "__main__":
    main()
