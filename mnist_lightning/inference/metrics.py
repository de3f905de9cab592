"""What the worker counts for Prometheus: digits and confidences, what is none, refusals, batches.

TorchServe carries a worker's metrics to its metrics port as one line of text for each change, which Java takes apart
with a regular expression. So they are added up here and told once a second, whatever the load.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ts.metrics import caching_metric
from ts.metrics.metric_cache_errors import MetricsCacheKeyError
from ts.metrics.metric_type_enum import MetricTypes

from mnist_lightning.inference.protocols import Answer

EVERY = 1.0  # seconds
# Lower bounds. TorchServe's histograms take no buckets of ours, and a line for each observation.
CONFIDENCES = (0.0, 0.5, 0.9, 0.99)
SIZES = (1, 2, 3, 5, 9, 17)
PREDICTIONS, NO_DIGITS, REFUSALS, BATCHES, MODEL = (
    "mnist_predictions_total",
    "mnist_no_digits_total",
    "mnist_refusals_total",
    "mnist_batches_total",
    "mnist_model",
)


class Counts:
    """Counted and not told yet. Their names and labels are those of config/metrics.yaml."""

    def __init__(self, metrics: Any) -> None:
        """`metrics` is TorchServe's cache of them, None where nobody asks."""
        self.metrics = metrics
        self.weights = ""
        self.waiting: Counter[tuple[str, ...]] = Counter()
        self.lock = threading.Lock()

    def start(self) -> None:
        """Tell what was counted every second, for as long as the process lives."""
        if self.metrics is not None:
            threading.Thread(target=self._tell_for_ever, daemon=True).start()

    def model(self, weights: str) -> None:
        """From now on it is this one."""
        if self.metrics is not None:
            former = [((MODEL, self.weights), 0)] if self.weights else []
            self._write(MetricTypes.GAUGE, [*former, ((MODEL, weights), 1)])
        self.weights = weights

    def batch(self, size: int, answers: Sequence[Answer]) -> None:
        """A batch of `size` requests, and the answers about its pictures."""
        found = [
            (PREDICTIONS, str(answer["prediction"]), str(_floor(CONFIDENCES, answer["confidence"])))
            for answer in answers
        ]
        noted = [(NO_DIGITS,) for answer in answers if "note" in answer]
        self._add([*found, *noted, (BATCHES, str(_floor(SIZES, size)))])

    def refusal(self, error: Exception) -> None:
        """A request that got no prediction."""
        self._add([(REFUSALS, type(error).__name__)])

    def tell(self) -> None:
        """Write down what was counted since the last time."""
        with self.lock:
            told, self.waiting = self.waiting, Counter()
        self._write(MetricTypes.COUNTER, told.items())

    def _add(self, keys: Iterable[tuple[str, ...]]) -> None:
        with self.lock:
            self.waiting.update(keys)

    def _tell_for_ever(self) -> None:
        while True:
            time.sleep(EVERY)
            self.tell()

    def _write(self, kind: MetricTypes, counted: Iterable[tuple[tuple[str, ...], int]]) -> None:
        # Silent but for this: TorchServe writes a line of its own for every batch otherwise.
        caching_metric.logger.setLevel(logging.INFO)
        try:
            for (name, *labels), amount in counted:
                self.metrics.get_metric(name, kind).add_or_update(amount, labels)
        except MetricsCacheKeyError:
            pass  # a server with another configuration of metrics than ours; it counts nothing of this
        finally:
            caching_metric.logger.setLevel(logging.NOTSET)


def _floor(bounds: tuple[float, ...], value: float) -> float:
    """The highest of the bounds that is not above the value."""
    return max(bound for bound in bounds if bound <= value)
