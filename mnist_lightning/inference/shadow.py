"""The champion's answers beside the challenger's: how often they agree, and a shadow that compares a share of them.

The shadow works in a thread of its own, after the champion's answers are sent. It holds one batch; while it works on
that, the next ones are dropped.
"""

import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mnist_lightning.inference.metrics import Key, MetricsBuffer
from mnist_lightning.inference.prediction import Answer, Reading
from mnist_lightning.preprocessing.normalize import NormalizedImage

AGREEMENTS, DISAGREEMENTS, CONFIDENCE, TIME, COMPARISONS = (
    "mnist_challenger_agreements_total",
    "mnist_challenger_disagreements_total",
    "mnist_challenger_confidence_total",
    "mnist_challenger_microseconds_total",
    "mnist_challenger_comparisons_total",
)
SHADOW, CANARY = "shadow", "canary"
COMPARED, FAILED, DROPPED = "compared", "failed", "dropped"
# Lower bounds of the challenger's confidence minus the champion's.
DIFFERENCES = (-1.0, -0.5, -0.1, -0.01, 0.01, 0.1, 0.5)
SEVERAL = "several"
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

Images = Sequence[Sequence[NormalizedImage]]  # of each request
Readings = Sequence[Sequence[Reading]]
Read = Callable[[Images], list[list[Reading]]]


class Answered(NamedTuple):
    """The requests of a batch that the champion has answered, and how long that took."""

    images: Images
    readings: Readings
    seconds: float


def compare(mode: str, champion: Answered, challenger: Answered) -> Counter[Key]:
    """The counts of a comparison on the same pictures. `mode` is SHADOW or CANARY."""
    counts: Counter[Key] = Counter({(COMPARISONS, mode, COMPARED): 1})
    for model, answered in (("champion", champion), ("challenger", challenger)):
        counts[TIME, mode, model] += round(answered.seconds * 1e6)
    pairs = zip(_answers(champion), _answers(challenger), strict=True)
    counts.update(key for own, other in pairs for key in _compare_answers(mode, own, other))
    return counts


def timed(read: Read, images: Images) -> Answered:
    """Read pictures, with the time that it takes."""
    started = time.perf_counter()
    readings = read(images)
    return Answered(images, readings, time.perf_counter() - started)


class Shadow:
    """Compares the challenger with the champion on a share of the batches.

    Args:
        share: of the batches, from 0 to 1.
        read: the challenger.
        metrics: where the comparisons are counted.
    """

    def __init__(self, share: float, read: Read, metrics: MetricsBuffer) -> None:
        self.share, self.read, self.metrics = share, read, metrics
        self.waiting: queue.Queue[Answered] = queue.Queue(maxsize=1)
        self.phase = 0.0
        self.logged = ""

    def start(self) -> None:
        """Compare what is offered, for as long as the process lives."""
        threading.Thread(target=self._compare_forever, daemon=True).start()

    def offer(self, answered: Answered) -> None:
        """Take a batch, if it is one of the share and the shadow is idle. Returns at once."""
        # Multiples of the golden ratio are spread evenly, in step with no pattern of the requests.
        self.phase = (self.phase + GOLDEN_RATIO) % 1
        if self.phase < self.share and any(answered.images):
            try:
                self.waiting.put_nowait(answered)
            except queue.Full:
                self.metrics.add([(COMPARISONS, SHADOW, DROPPED)])

    def compare_next(self) -> None:
        """Compare the batch that waits, or wait for one. Never raises."""
        champion = self.waiting.get()
        try:
            self.metrics.add(compare(SHADOW, champion, timed(self.read, champion.images)))
        except Exception as error:  # the boundary: whatever the challenger does, the champion continues to answer
            self.metrics.add([(COMPARISONS, SHADOW, FAILED)])
            message = f"the challenger fails in the shadow: {error}"
            if message != self.logged:
                logging.getLogger(__name__).error(message)
            self.logged = message

    def _compare_forever(self) -> None:
        while True:
            self.compare_next()


def _answers(answered: Answered) -> list[Answer]:
    return [reading.answer for request in answered.readings for reading in request]


def _compare_answers(mode: str, champion: Answer, challenger: Answer) -> list[Key]:
    own, other = _label(champion), _label(challenger)
    if SEVERAL in (own, other):  # their confidence is that of the line reader
        agree = champion["number"] == challenger["number"]
        return [(AGREEMENTS, mode, own) if agree else (DISAGREEMENTS, mode, own, other)]
    change = challenger["confidence"] - champion["confidence"]
    bound = max(bound for bound in DIFFERENCES if bound <= change)
    return [
        (AGREEMENTS, mode, own) if own == other else (DISAGREEMENTS, mode, own, other),
        (CONFIDENCE, mode, str(bound)),
    ]


def _label(answer: Answer) -> str:
    """The digit, "?" for none, or SEVERAL."""
    return SEVERAL if "digits" in answer else str(answer["number"])
