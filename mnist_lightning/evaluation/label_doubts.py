"""Labels of feedback that are probably wrong: the champion reads another digit, and so does a second opinion.

The second opinion on a picture is a linear classifier on the champion's features, fitted to digits of MNIST and to the
other feedback. Labels of a style that the champion cannot read support each other there, if people agree on them.
After Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mnist_lightning.datasets.feedback import FeedbackPicture, to_batch
from mnist_lightning.datasets.splits import Batch
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import decode

FOLDS = 5
KNOWN_DIGITS = 2_000  # of MNIST, for the second opinion
REGULARIZATION = 0.1  # scikit-learn's C; there are more features than pictures
SHEET_PICTURES = 30  # on one contact sheet


@dataclass(frozen=True)
class Doubt:
    """A picture whose label neither opinion shares."""

    picture: FeedbackPicture
    champion: int
    second: int

    @property
    def reason(self) -> str:
        """A phrase for a person."""
        return f"labelled {self.picture.label}; the champion reads {self.champion}, the second opinion {self.second}"


def find_doubts(network: DigitNet, pictures: Sequence[FeedbackPicture], known: Batch) -> list[Doubt]:
    """The pictures whose labels are doubted and that no person has settled.

    Args:
        network: the champion.
        pictures: the feedback.
        known: digits of MNIST's training images.
    """
    if not pictures:
        return []
    answers = answer_images(network, [picture.image for picture in pictures])
    champion = np.array([answer["prediction"] for answer in answers])
    second = second_opinions(network, to_batch(pictures), known)
    labels = np.array([picture.label for picture in pictures])
    doubted = np.flatnonzero((champion != labels) & (second != labels))
    doubts = [Doubt(pictures[index], int(champion[index]), int(second[index])) for index in doubted.tolist()]
    return [doubt for doubt in doubts if not doubt.picture.is_settled]


def second_opinions(network: DigitNet, feedback: Batch, known: Batch) -> NDArray[np.int64]:
    """A digit (N,) for each picture of the feedback, by a classifier that was not fitted to this picture."""
    known = known[0][:KNOWN_DIGITS], known[1][:KNOWN_DIGITS]
    features, known_features = _features(network, feedback[0]), _features(network, known[0])
    labels, opinions = feedback[1].numpy(), np.full(len(feedback[1]), -1)
    for others, held_out in _folds(len(labels)):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=300))
        classifier.fit(
            np.concatenate([known_features, features[others]]), np.concatenate([known[1].numpy(), labels[others]])
        )
        opinions[held_out] = classifier.predict(features[held_out])
    return opinions


def contact_sheets(doubts: Sequence[Doubt]) -> dict[str, Figure]:
    """Figures by file name: each picture as it was stored and as the network receives it, with the three digits."""
    parts = [doubts[first : first + SHEET_PICTURES] for first in range(0, len(doubts), SHEET_PICTURES)]
    return {f"doubts-{number}.png": _contact_sheet(part) for number, part in enumerate(parts, start=1)}


def save_contact_sheets(doubts: Sequence[Doubt], folder: Path) -> list[Path]:
    """Write the contact sheets into a folder, which is made if need be; their paths. Raises OSError."""
    return plots.save_all(contact_sheets(doubts), folder)


def _contact_sheet(doubts: Sequence[Doubt]) -> Figure:
    return plots.pictures_and_inputs(
        [decode(doubt.picture.path.read_bytes()) for doubt in doubts],
        [doubt.picture.image.image for doubt in doubts],
        [
            f"{doubt.picture.digest[:8]}: {doubt.picture.label}\nread {doubt.champion}, {doubt.second}"
            for doubt in doubts
        ],
    )


def _folds(count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of the others and of those to judge; a single picture is judged by MNIST alone."""
    if count < 2:
        yield np.empty(0, np.int64), np.arange(count)
    else:
        yield from KFold(min(FOLDS, count), shuffle=True, random_state=0).split(np.arange(count))


@torch.inference_mode()
def _features(network: DigitNet, images: torch.Tensor) -> NDArray[np.float32]:
    parts = [network.embed(part.float() / 255) for part in torch.split(images, 500)]
    return np.asarray(torch.cat(parts).numpy())
