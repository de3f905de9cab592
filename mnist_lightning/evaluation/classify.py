"""Classify picture files: with a network in this process, or by asking a running server."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from mnist_lightning import client
from mnist_lightning.inference import prediction
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.second_look import Scores
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import NormalizedImage, read_picture
from mnist_lightning.preprocessing.strokes import Floats

THREADS = 8
BATCH = 512  # images that the network receives at a time


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
        answers = iter(answer_images(network, [image for image in normalized if isinstance(image, NormalizedImage)]))
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
        return read_picture(picture)
    except BadPictureError as error:
        return Unanswered(str(error))


def answer_images(network: DigitNet, images: Sequence[NormalizedImage]) -> list[Answer]:
    """The server's answers to images that are preprocessed already."""

    def predict(batch: Floats) -> Scores:
        with torch.inference_mode():
            parts = [
                network.predict_probabilities(part) for part in torch.split(torch.from_numpy(batch)[:, None], BATCH)
            ]
        return torch.cat([part[0] for part in parts]).numpy(), torch.cat([part[1] for part in parts]).numpy()

    requests = prediction.read([[image] for image in images], predict, network.threshold)
    return [reading.answer for (reading,) in requests]
