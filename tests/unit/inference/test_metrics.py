"""What is counted, without TorchServe. tests/server/test_metrics.py reads the metrics port."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from ts.metrics import caching_metric

from mnist_lightning.inference.metrics import MetricsBuffer
from mnist_lightning.inference.prediction import Answer
from tests.support import PROJECT


class Cache:
    """A metrics cache that adds up what is written to it."""

    def __init__(self) -> None:
        self.totals: Counter[tuple[str, ...]] = Counter()

    def get_metric(self, name: str, _: object) -> "Metric":
        return Metric(self, name)


class Metric:
    def __init__(self, cache: Cache, name: str) -> None:
        self.cache, self.name = cache, name

    def add_or_update(self, amount: int, labels: Sequence[str]) -> None:
        self.cache.totals[self.name, *labels] += amount


def counted(*batches: tuple[int, Sequence[Answer]]) -> Counter[tuple[str, ...]]:
    """The counts that these batches, each a count of requests and answers, leave in the cache."""
    cache = Cache()
    buffer = MetricsBuffer(cache)
    for size, answers in batches:
        buffer.batch(size, answers)
    assert not cache.totals
    buffer.flush()
    return cache.totals


def scores(digit: int, confidence: float = 0.95) -> dict[str, object]:
    return {"prediction": digit, "confidence": confidence}


SEVEN: Answer = {**scores(7), "number": "7"}
REJECTED: Answer = {**scores(3, 0.4), "number": "?", "note": "this does not look like a digit"}


def number(count: int) -> Answer:
    """An answer for so many twos."""
    digits = [scores(2, 0.999)] * count
    return {**scores(8, 0.6), "number": "2" * count, "digits": digits, "note": f"several digits: {'2' * count}"}


class SlowMetric(Metric):
    """Its line is lost if another thread silences the logger meanwhile, as TorchServe's would be."""

    def add_or_update(self, amount: int, labels: Sequence[str]) -> None:
        time.sleep(0.02)
        if caching_metric.logger.isEnabledFor(logging.INFO):
            super().add_or_update(amount, labels)


def test_no_thread_silences_the_lines_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache()
    monkeypatch.setattr(cache, "get_metric", lambda name, _: SlowMetric(cache, name))
    buffer = MetricsBuffer(cache)
    names = [f"mnist_{n}" for n in range(6)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: buffer.gauges({(name, "1"): 1, (name, "2"): 1}), names))
    assert cache.totals == {(name, label): 1 for name in names for label in "12"}
    assert not caching_metric.logger.isEnabledFor(logging.INFO)


def test_one_digit_is_counted_with_its_confidence() -> None:
    assert counted((1, [SEVEN])) == {
        ("mnist_predictions_total", "7", "0.9"): 1,
        ("mnist_pictures_total", "1"): 1,
        ("mnist_batches_total", "1"): 1,
    }


def test_every_digit_of_a_number_is_counted_and_the_whole_picture_is_not() -> None:
    assert counted((1, [number(3)])) == {
        ("mnist_predictions_total", "2", "0.99"): 3,
        ("mnist_pictures_total", "3"): 1,
        ("mnist_batches_total", "1"): 1,
    }


def test_the_note_of_a_number_is_no_rejection() -> None:
    totals = counted((3, [SEVEN, REJECTED, number(2)]), (1, [REJECTED]))
    assert totals["mnist_no_digits_total",] == 2
    assert totals["mnist_pictures_total", "1"] == 3
    assert totals["mnist_predictions_total", "3", "0.0"] == 2


@pytest.mark.parametrize(
    ("count", "bucket"),
    [(2, "2"), (4, "4"), (5, "5"), (8, "5"), (9, "9"), (16, "9"), (17, "17"), (33, "33"), (64, "33")],
)
def test_pictures_are_counted_by_their_number_of_digits(count: int, bucket: str) -> None:
    assert counted((1, [number(count)]))["mnist_pictures_total", bucket] == 1


def test_a_batch_of_errors_only() -> None:
    assert counted((2, [])) == {("mnist_batches_total", "2"): 1}


def test_names_and_labels_are_those_of_the_configuration() -> None:
    declared = yaml.safe_load((PROJECT / "config/metrics.yaml").read_text())["model_metrics"]["counter"]
    labels = {metric["name"]: len(metric["dimensions"]) for metric in declared}
    for name, *values in counted((3, [SEVEN, REJECTED, number(2)])):
        assert labels[name] == len(values)
