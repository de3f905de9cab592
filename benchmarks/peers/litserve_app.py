"""LitServe with batching.

python -m benchmarks.peers.litserve_app PORT WORKERS
"""

import base64
import sys
from collections.abc import Sequence

import litserve  # type: ignore[import-not-found]

from benchmarks.peers.predictor import Answer, Predictor
from mnist_lightning.common.constants import LOOPBACK
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.preprocessing.strokes import Floats


class DigitAPI(litserve.LitAPI):  # type: ignore[misc]
    """Answers {"image": base64}."""

    def setup(self, device: str) -> None:
        """Load a network for each worker."""
        self.predictor = Predictor()

    def decode_request(self, request: dict[str, str]) -> Floats:
        """A request -> (28, 28)."""
        return from_bytes(base64.b64decode(request["image"]))

    def batch(self, inputs: Sequence[Floats]) -> Sequence[Floats]:
        """B images (28, 28), as they are."""
        return inputs

    def predict(self, x: Sequence[Floats]) -> list[Answer]:
        """B images (28, 28) -> B answers."""
        return self.predictor.predict(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """The answers are separate already."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """The answer can be encoded as JSON already."""
        return output


def main() -> None:
    """Serve."""
    port, workers = map(int, sys.argv[1:])
    api = DigitAPI(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(host=LOOPBACK, port=port, generate_client_file=False)


if __name__ == "__main__":
    main()
