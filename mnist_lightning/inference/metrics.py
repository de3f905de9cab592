"""The worker's counters for Prometheus: predictions by digit and confidence, rejected pictures, errors, batches, drift.

TorchServe passes a worker's metrics to its metrics port as one line of text for each change, which Java parses with a
regular expression. This module adds them up and writes them once a second, whatever the load.
"""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

from ts.metrics import caching_metric
from ts.metrics.metric_cache_errors import MetricsCacheKeyError
from ts.metrics.metric_type_enum import MetricTypes

from mnist_lightning.common.constants import FEATURES_METRIC, REFERENCE_METRIC
from mnist_lightning.common.reference import Counts
from mnist_lightning.inference import features
from mnist_lightning.inference.prediction import Answer, Reading

FLUSH_SECONDS = 1.0
MAX_MEASURED = 200  # pictures between two flushes whose features are measured, at 60 microseconds each
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
Key = tuple[str, ...]  # a metric's name and the values of its labels


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
        self.reference_bins: set[tuple[str, str]] = set()
        self.unmeasured: list[Reading] = []
        self.pending: Counter[Key] = Counter()
        self.lock, self.writing = threading.Lock(), threading.Lock()

    def start(self) -> None:
        """Write the counts every FLUSH_SECONDS, for as long as the process lives."""
        if self.metrics is not None:
            # A counter that starts at its first count has no increase for Prometheus.
            self.add(dict.fromkeys([(FEATURES_METRIC, *each) for each in features.bins()], 0))
            threading.Thread(target=self._flush_forever, daemon=True).start()

    def model(self, weights: str) -> None:
        """Set the digest of the weights in use."""
        if self.metrics is not None:
            former = [((MODEL, self.weights, self.worker), 0)] if self.weights else []
            self._write(MetricTypes.GAUGE, [*former, ((MODEL, weights, self.worker), 1)])
        self.weights = weights

    def reference(self, counts: Counts) -> None:
        """Set the distributions that the features are compared with."""
        found = {(name, each): count for name, bins in counts.items() for each, count in bins.items()}
        former = dict.fromkeys(self.reference_bins - found.keys(), 0)
        self.reference_bins = set(found)
        self.gauges({(REFERENCE_METRIC, *key): count for key, count in (former | found).items()})

    def gauges(self, values: Mapping[Key, int]) -> None:
        """Set gauges, by name and labels, at once."""
        if self.metrics is not None:
            self._write(MetricTypes.GAUGE, values.items())

    def batch(self, size: int, answers: Sequence[Answer]) -> None:
        """Count a batch of `size` requests and the answers to its pictures."""
        digits = [digit for answer in answers for digit in answer.get("digits", [answer])]
        predictions = [
            (PREDICTIONS, str(digit["prediction"]), str(_floor(CONFIDENCES, digit["confidence"]))) for digit in digits
        ]
        rejected = [(NOT_DIGITS,) for answer in answers if "note" in answer and "digits" not in answer]
        counts = [(DIGITS, str(_floor(DIGIT_COUNTS, len(answer.get("digits", [answer]))))) for answer in answers]
        self.add([*predictions, *rejected, *counts, (BATCHES, str(_floor(BATCH_SIZES, size)))])

    def features(self, readings: Iterable[Reading]) -> None:
        """Count the features of pictures, at the next flush, or of as many as that has time for."""
        if self.metrics is not None:
            with self.lock:
                self.unmeasured += islice(readings, MAX_MEASURED - len(self.unmeasured))

    def error(self, error: Exception) -> None:
        """Count a request that got no prediction."""
        self.add([(ERRORS, type(error).__name__)])

    def flush(self) -> None:
        """Write the counts since the last call."""
        with self.lock:
            readings, self.unmeasured = self.unmeasured, []
        self.add({(FEATURES_METRIC, *key): count for key, count in features.count(readings).items()})
        with self.lock:
            counts, self.pending = self.pending, Counter()
        self._write(MetricTypes.COUNTER, counts.items())

    def add(self, keys: Iterable[Key] | Mapping[Key, int]) -> None:
        """Count each key, or add the amount of each, by name and labels."""
        with self.lock:
            self.pending.update(keys)

    def _flush_forever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            try:
                self.flush()
            except Exception:  # the boundary: the counts of a second are lost, not all that follow
                logging.getLogger(__name__).exception("the counts of a second are lost")

    def _write(self, kind: MetricTypes, counted: Iterable[tuple[Key, int]]) -> None:
        # Only these lines: TorchServe writes another for every batch otherwise. One thread after the other: the first
        # to finish would silence the rest of another's lines.
        with self.writing:
            caching_metric.logger.setLevel(logging.INFO)
            try:
                for (name, *labels), amount in counted:
                    # A server's own metrics configuration may lack a name.
                    with contextlib.suppress(MetricsCacheKeyError):
                        self.metrics.get_metric(name, kind).add_or_update(amount, labels)
            finally:
                caching_metric.logger.setLevel(logging.NOTSET)


def worker_name(arguments: Sequence[str]) -> str:
    """TorchServe's name of a worker with this command line: the end of its socket's name, such as 9000."""
    after = dict(pairwise(arguments))
    return after.get("--sock-name", "").rpartition(".")[2] or after.get("--port", "")


def _floor(bounds: tuple[float, ...], value: float) -> float:
    """The highest bound that does not exceed the value."""
    return max(bound for bound in bounds if bound <= value)
