"""The comparison of two models, and the shadow that makes it for a share of the batches."""

from collections.abc import Sequence

import numpy as np
import pytest

from mnist_lightning.inference import shadow
from mnist_lightning.inference.metrics import MetricsBuffer
from mnist_lightning.inference.prediction import Answer, Reading
from mnist_lightning.inference.shadow import (
    AGREEMENTS,
    COMPARED,
    COMPARISONS,
    CONFIDENCE,
    DISAGREEMENTS,
    DROPPED,
    FAILED,
    TIME,
    Answered,
    Images,
    Shadow,
)
from mnist_lightning.preprocessing.normalize import NormalizedImage

IMAGE = NormalizedImage(np.zeros((28, 28), np.float32), 1)


def single(number: str, confidence: float = 0.9) -> Answer:
    return {"prediction": 1, "confidence": confidence, "number": number}


def several(number: str) -> Answer:
    return {**single(number), "digits": [single(digit) for digit in number]}


def answered(*answers: Answer, seconds: float = 0.0) -> Answered:
    """A batch of requests with a picture each."""
    return Answered([[IMAGE]] * len(answers), [[Reading(IMAGE, answer)] for answer in answers], seconds)


def reads(*answers: Answer) -> shadow.Read:
    """A model that gives these answers."""
    return lambda images: [[Reading(IMAGE, answer)] for answer in answers]


def test_agreement_is_that_of_the_numbers() -> None:
    champion = answered(single("7"), single("4"), single("?"), several("12"), several("12"), several("12"))
    challenger = answered(single("7"), single("9"), single("1"), several("12"), several("13"), single("1"))
    counts = shadow.compare("shadow", champion, challenger)
    assert {key: count for key, count in counts.items() if key[0] in (AGREEMENTS, DISAGREEMENTS)} == {
        (AGREEMENTS, "shadow", "7"): 1,
        (DISAGREEMENTS, "shadow", "4", "9"): 1,
        (DISAGREEMENTS, "shadow", "?", "1"): 1,
        (AGREEMENTS, "shadow", "several"): 1,
        (DISAGREEMENTS, "shadow", "several", "several"): 1,
        (DISAGREEMENTS, "shadow", "several", "1"): 1,
    }


@pytest.mark.parametrize(
    ("champion", "challenger", "bound"),
    [
        *[(1.0, 0.0, "-1.0"), (0.9, 0.85, "-0.1"), (0.9, 0.9, "-0.01"), (0.9, 0.905, "-0.01")],
        *[(0.9, 0.95, "0.01"), (0.2, 0.9, "0.5"), (0.0, 1.0, "0.5")],
    ],
)
def test_the_difference_of_confidence_is_the_challengers_minus_the_champions(
    champion: float, challenger: float, bound: str
) -> None:
    counts = shadow.compare("canary", answered(single("7", champion)), answered(single("7", challenger)))
    assert counts[CONFIDENCE, "canary", bound] == 1


def test_times_are_those_of_both_models() -> None:
    counts = shadow.compare("shadow", answered(single("7"), seconds=0.002), answered(single("7"), seconds=0.003))
    assert (counts[TIME, "shadow", "champion"], counts[TIME, "shadow", "challenger"]) == (2000, 3000)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_the_share_of_the_batches_is_kept(share: float) -> None:
    metrics = MetricsBuffer(None)
    made = Shadow(share, reads(single("7")), metrics)
    for _ in range(2000):
        made.offer(answered(single("7")))
        if not made.waiting.empty():
            made.compare_next()
    assert metrics.pending[COMPARISONS, "shadow", COMPARED] == pytest.approx(2000 * share, abs=2)


def test_batches_are_dropped_while_one_waits() -> None:
    metrics = MetricsBuffer(None)
    made = Shadow(1.0, reads(single("7")), metrics)
    for _ in range(5):
        made.offer(answered(single("7")))
    made.compare_next()
    made.offer(answered(single("7")))
    made.compare_next()
    assert metrics.pending[COMPARISONS, "shadow", DROPPED] == 4
    assert metrics.pending[COMPARISONS, "shadow", COMPARED] == 2


def test_a_batch_without_pictures_is_not_compared() -> None:
    made = Shadow(1.0, reads(), MetricsBuffer(None))
    made.offer(Answered([[], []], [[], []], 0.0))
    assert made.waiting.empty()


def test_a_challenger_that_fails_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Images) -> list[list[Reading]]:
        raise RuntimeError("index out of bounds")

    metrics = MetricsBuffer(None)
    made = Shadow(1.0, fail, metrics)
    for _ in range(3):
        made.offer(answered(single("7")))
        made.compare_next()
    assert metrics.pending == {(COMPARISONS, "shadow", FAILED): 3}
    assert messages(caplog.messages) == ["the challenger fails in the shadow: index out of bounds"]


def messages(found: Sequence[str]) -> list[str]:
    return [message for message in found if "challenger" in message]
