"""BentoML with adaptive batching, two workers.

bentoml serve benchmarks.peers.bento_app:Digits
"""

import base64

import bentoml

from benchmarks.peers.reader import Answer, Reader


@bentoml.service(workers=2, traffic={"timeout": 30})
class Digits:
    """JSON {"pictures": [base64, …]} -> as many answers; the pictures of several requests become one batch."""

    def __init__(self) -> None:
        self.reader = Reader()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, pictures: list[str]) -> list[Answer]:
        """Read them."""
        return self.reader.read([base64.b64decode(picture) for picture in pictures])
