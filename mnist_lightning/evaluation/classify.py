"""Classify picture files: with a network in this process, or by asking a running server."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from mnist_lightning import client
from mnist_lightning.inference import prediction
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import BadPictureError, decode
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count

THREADS = 8


@dataclass(frozen=True)
class Unanswered:
    """A picture without an answer."""

    reason: str


Outcome = Answer | Unanswered
Classifier = Callable[[Sequence[bytes]], list[Outcome]]  # contents of picture files -> one outcome for each


def network_classifier(network: DigitNet) -> Classifier:
    """A classifier that preprocesses and classifies in this process, as the server does."""

    def classify(pictures: Sequence[bytes]) -> list[Outcome]:
        with ThreadPoolExecutor(THREADS) as pool:
            normalized = list(pool.map(_normalize, pictures))
        answers = iter(_predict(network, [image for image in normalized if isinstance(image, NormalizedImage)]))
        return [next(answers) if isinstance(image, NormalizedImage) else image for image in normalized]

    return classify


def server_classifier(url: str, token: str | None) -> Classifier:
    """A classifier that asks a server. It raises ServerUnreachableError."""

    def ask(picture: bytes) -> Outcome:
        try:
            return client.ask(picture, url, token=token)
        except client.ServerUnreachableError:
            raise
        except client.ClientError as error:
            return Unanswered(str(error))

    def classify(pictures: Sequence[bytes]) -> list[Outcome]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(ask, pictures))

    return classify


def _normalize(picture: bytes) -> NormalizedImage | Unanswered:
    try:
        return normalize_with_count(decode(picture))
    except BadPictureError as error:
        return Unanswered(str(error))


def _predict(network: DigitNet, images: Sequence[NormalizedImage]) -> list[Answer]:
    if not images:
        return []
    batch = torch.from_numpy(np.stack([image.image for image in images])).unsqueeze(1)  # (B, 1, 28, 28)
    with torch.inference_mode():
        probabilities, is_digit = network.predict_probabilities(batch)
    return prediction.format_answers(probabilities.numpy(), is_digit.numpy(), network.threshold, images)
