"""BentoML with adaptive batching and two workers.

bentoml serve benchmarks.peers.bento_app:Digits
"""

import base64

import bentoml  # type: ignore[import-not-found]

from benchmarks.peers.predictor import Answer, Predictor


@bentoml.service(workers=2, traffic={"timeout": 30})
class Digits:
    """Answers {"pictures": [base64, …]} with a list; the pictures of several requests form one batch."""

    def __init__(self) -> None:
        self.predictor = Predictor()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def predict(self, pictures: list[str]) -> list[Answer]:
        """Answer pictures in base64."""
        return self.predictor.predict_files([base64.b64decode(picture) for picture in pictures])
