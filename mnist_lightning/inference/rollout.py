"""A challenger beside the champion: as a shadow, whose answers nobody gets, and as a canary, which answers a share."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnist_lightning.common.constants import CANARY_ENDED, CHALLENGER, EXPORTED, SHARES
from mnist_lightning.inference import prediction
from mnist_lightning.inference.canary import Canary, Outcome
from mnist_lightning.inference.loader import Model, load_model
from mnist_lightning.inference.metrics import MetricsBuffer
from mnist_lightning.inference.prediction import Reading
from mnist_lightning.inference.second_look import Scores
from mnist_lightning.inference.shadow import (
    CANARY,
    COMPARED,
    COMPARISONS,
    FAILED,
    SHADOW,
    Answered,
    Images,
    Read,
    Shadow,
    compare,
    timed,
)
from mnist_lightning.preprocessing.strokes import Floats

LOADED_GAUGE, CANARY_GAUGE, REQUESTS = "mnist_challenger", "mnist_canary", "mnist_canary_requests_total"


class Answers(NamedTuple):
    """The readings of each request's pictures, and the indices of the requests that the challenger has answered."""

    readings: Sequence[Sequence[Reading]]
    by_challenger: frozenset[int] = frozenset()


class Rollout:
    """Answers batches with the champion, and beside it with the challenger.

    Args:
        challenger: the challenger.
        shadow: share of the batches that it reads as a shadow.
        canary: share of the clients that it answers.
        folder: of the server's model, where the file lies that ends the canary.
        metrics: where both are counted.
    """

    def __init__(self, challenger: Model, shadow: float, canary: float, folder: Path, metrics: MetricsBuffer) -> None:
        self.challenger, self.metrics, self.champion_first = challenger, metrics, False
        self.shadow = Shadow(shadow, self.read, metrics)
        self.canary = Canary(canary, challenger.digest, folder / CANARY_ENDED, on_end=self._set_gauges)

    def start(self) -> None:
        """Start the threads of both, and their metrics."""
        self.shadow.start()
        self.canary.start()
        self._set_gauges()
        results = [(COMPARISONS, mode, result) for mode in (SHADOW, CANARY) for result in (COMPARED, FAILED)]
        self.metrics.add(dict.fromkeys([*results, (REQUESTS, "champion"), (REQUESTS, "challenger")], 0))

    def answer(self, champion: Read, images: Images, client: Callable[[int], bytes]) -> Answers:
        """Answer a batch.

        Args:
            champion: reads pictures with the champion.
            images: the pictures of each request.
            client: what identifies the client of a request, by the request's index.
        """
        chosen = self._choose(images, client)
        rest = [() if index in chosen else request for index, request in enumerate(images)]
        answered = timed(champion, rest)
        self.shadow.offer(answered)
        readings: list[Sequence[Reading]] = [*answered.readings]
        by_challenger = bool(chosen) and self._answer_canary(champion, images, chosen, readings)
        if self.canary.share:
            n_answered, n_challenger = sum(map(bool, images)), len(chosen) if by_challenger else 0
            self.metrics.add(
                {(REQUESTS, "champion"): n_answered - n_challenger, (REQUESTS, "challenger"): n_challenger}
            )
        return Answers(readings, frozenset(chosen if by_challenger else ()))

    def read(self, images: Images) -> list[list[Reading]]:
        """Read pictures with the challenger. Raises whatever it raises, ValueError for scores that are not finite."""
        return prediction.read(images, self._predict, self.challenger.threshold)

    def _choose(self, images: Images, client: Callable[[int], bytes]) -> list[int]:
        """The requests that the challenger answers."""
        if not self.canary.is_running:
            return []
        return [index for index, request in enumerate(images) if request and self.canary.takes(client(index))]

    def _answer_canary(
        self, champion: Read, images: Images, chosen: list[int], readings: list[Sequence[Reading]]
    ) -> bool:
        """Answer the chosen requests with both models, so that their times are those of the same pictures.

        The `readings` are the challenger's, or the champion's if the challenger fails; whether they are the first.
        """
        own = [images[index] for index in chosen]
        # Whichever is first pays for what the other finds in the caches, so they take turns.
        self.champion_first = not self.champion_first
        if self.champion_first:
            fallback, answered = timed(champion, own), self._try(own)
        else:
            answered, fallback = self._try(own), timed(champion, own)
        for index, found in zip(chosen, (answered or fallback).readings, strict=True):
            readings[index] = found
        seconds = None if answered is None else answered.seconds / len(own)
        self.canary.outcomes.extend([Outcome(fallback.seconds / len(own), seconds)] * len(own))
        self.metrics.add(compare(CANARY, fallback, answered) if answered else [(COMPARISONS, CANARY, FAILED)])
        return answered is not None

    def _try(self, images: Images) -> Answered | None:
        """What the challenger answers; None if it fails."""
        try:
            return timed(self.read, images)
        except Exception as error:  # the boundary: the champion answers instead, and the canary counts the error
            logging.getLogger(__name__).error("the challenger fails on a request: %s", error)
            return None

    def _predict(self, images: Floats) -> Scores:
        scores = self.challenger.predict(images)
        if not all(np.isfinite(each).all() for each in scores):
            raise ValueError("a score is not finite")
        return scores

    def _set_gauges(self) -> None:
        labels = self.challenger.digest, self.metrics.worker
        self.metrics.gauges({(LOADED_GAUGE, *labels): 1, (CANARY_GAUGE, *labels): int(self.canary.is_running)})


def load_rollout(folder: Path, metrics: MetricsBuffer) -> Rollout | None:
    """The challenger that `serve` has put into the folder of the server's model; None if there is none.

    One that does not load is logged: the champion serves alone.
    """
    own = folder / CHALLENGER
    if not (own / SHARES).is_file():
        return None
    try:
        challenger = load_model((own / EXPORTED).read_bytes(), own)
        return Rollout(challenger, **json.loads((own / SHARES).read_bytes()), folder=folder, metrics=metrics)
    except Exception as error:  # the boundary: a damaged file raises errors of many types
        logging.getLogger(__name__).error("the challenger is not loaded: %s", error)
        return None
