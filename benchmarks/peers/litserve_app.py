"""LitServe with batching, two workers.

python -m benchmarks.peers.litserve_app PORT
"""

import base64
import sys
from collections.abc import Sequence

import litserve
import numpy as np
import torch

from benchmarks.peers.reader import Answer, Reader, batch
from mnist_lightning.preprocessing.normalize import from_bytes


class DigitAPI(litserve.LitAPI):
    """JSON {"image": base64} -> the answer."""

    def setup(self, device: str) -> None:
        """One network a worker."""
        self.reader = Reader()

    def decode_request(self, request: dict[str, str]) -> np.ndarray:
        """One request -> (28, 28)."""
        return from_bytes(base64.b64decode(request["image"]))

    def batch(self, inputs: Sequence[np.ndarray]) -> torch.Tensor:
        """B of them -> (B, 1, 28, 28)."""
        return batch(inputs)

    def predict(self, x: torch.Tensor) -> list[Answer]:
        """A batch -> its answers."""
        return self.reader.infer(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """The answers are apart already."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """The answer is JSON already."""
        return output


def main() -> None:
    """Serve."""
    api = DigitAPI(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)


if __name__ == "__main__":
    main()
