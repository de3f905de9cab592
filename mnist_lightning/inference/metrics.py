"""The worker's counters for Prometheus: predictions by digit and confidence, rejected pictures, errors, batches.

TorchServe passes a worker's metrics to its metrics port as one line of text for each change, which Java parses with a
regular expression. This module adds them up and writes them once a second, whatever the load.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ts.metrics import caching_metric
from ts.metrics.metric_cache_errors import MetricsCacheKeyError
from ts.metrics.metric_type_enum import MetricTypes

from mnist_lightning.inference.prediction import Answer

FLUSH_SECONDS = 1.0
# Lower bounds. TorchServe's histograms have fixed buckets, and write a line for each observation.
CONFIDENCES = (0.0, 0.5, 0.9, 0.99)
BATCH_SIZES = (1, 2, 3, 5, 9, 17)
DIGIT_COUNTS = (1, 2, 3, 4, 5, 9, 17, 33)
PREDICTIONS, NOT_DIGITS, DIGITS, ERRORS, BATCHES, MODEL = (
    "mnist_predictions_total",
    "mnist_no_digits_total",
    "mnist_pictures_total",
    "mnist_refusals_total",
    "mnist_batches_total",
    "mnist_model",
)


class MetricsBuffer:
    """Counts that are not written yet. Their names and labels are those in config/metrics.yaml.

    Args:
        metrics: TorchServe's metrics cache; None if nothing collects metrics.
        worker: TorchServe's name of this worker.
    """

    def __init__(self, metrics: Any, worker: str = "") -> None:
        self.metrics = metrics
        self.worker = worker
        self.weights = ""
        self.pending: Counter[tuple[str, ...]] = Counter()
        self.lock = threading.Lock()

    def start(self) -> None:
        """Write the counts every FLUSH_SECONDS, for as long as the process lives."""
        if self.metrics is not None:
            threading.Thread(target=self._flush_forever, daemon=True).start()

    def model(self, weights: str) -> None:
        """Set the digest of the weights in use."""
        if self.metrics is not None:
            former = [((MODEL, self.weights, self.worker), 0)] if self.weights else []
            self._write(MetricTypes.GAUGE, [*former, ((MODEL, weights, self.worker), 1)])
        self.weights = weights

    def batch(self, size: int, answers: Sequence[Answer]) -> None:
        """Count a batch of `size` requests and the answers to its pictures."""
        digits = [digit for answer in answers for digit in answer.get("digits", [answer])]
        predictions = [
            (PREDICTIONS, str(digit["prediction"]), str(_floor(CONFIDENCES, digit["confidence"]))) for digit in digits
        ]
        rejected = [(NOT_DIGITS,) for answer in answers if "note" in answer and "digits" not in answer]
        counts = [(DIGITS, str(_floor(DIGIT_COUNTS, len(answer.get("digits", [answer]))))) for answer in answers]
        self._add([*predictions, *rejected, *counts, (BATCHES, str(_floor(BATCH_SIZES, size)))])

    def error(self, error: Exception) -> None:
        """Count a request that got no prediction."""
        self._add([(ERRORS, type(error).__name__)])

    def flush(self) -> None:
        """Write the counts since the last call."""
        with self.lock:
            counts, self.pending = self.pending, Counter()
        self._write(MetricTypes.COUNTER, counts.items())

    def _add(self, keys: Iterable[tuple[str, ...]]) -> None:
        with self.lock:
            self.pending.update(keys)

    def _flush_forever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()

    def _write(self, kind: MetricTypes, counted: Iterable[tuple[tuple[str, ...], int]]) -> None:
        # Only these lines: TorchServe writes another for every batch otherwise.
        caching_metric.logger.setLevel(logging.INFO)
        try:
            for (name, *labels), amount in counted:
                self.metrics.get_metric(name, kind).add_or_update(amount, labels)
        except MetricsCacheKeyError:
            pass  # a server whose metrics configuration lacks these names; it does not count them
        finally:
            caching_metric.logger.setLevel(logging.NOTSET)


def worker_name(arguments: Sequence[str]) -> str:
    """TorchServe's name of a worker with this command line: the end of its socket's name, such as 9000."""
    after = dict(pairwise(arguments))
    return after.get("--sock-name", "").rpartition(".")[2] or after.get("--port", "")


def _floor(bounds: tuple[float, ...], value: float) -> float:
    """The highest bound that does not exceed the value."""
    return max(bound for bound in bounds if bound <= value)
