"""The evaluation of a classifier on labelled pictures: accuracy, calibration, errors, rejections."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mnist_lightning.datasets.samples import Sample
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.calibration import calibration_error
from mnist_lightning.evaluation.classify import Classifier, Outcome, Unanswered
from mnist_lightning.preprocessing.decode import decode_with_scale
from mnist_lightning.preprocessing.normalize import from_bytes

BATCH_SIZE = 250
GALLERY_SIZE = 30  # misread pictures in the figure


@dataclass(frozen=True)
class Results:
    """Labelled pictures and the classifier's outcome for each."""

    samples: Sequence[Sample[int]]
    outcomes: Sequence[Outcome]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) digits."""
        return np.array([sample.label for sample in self.samples])

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(N,) digits; -1 for pictures without an answer."""
        return np.array([-1 if isinstance(one, Unanswered) else one["prediction"] for one in self.outcomes])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, 10); zeros for pictures without an answer."""
        return np.array([[0.0] * 10 if isinstance(one, Unanswered) else one["probabilities"] for one in self.outcomes])


@dataclass(frozen=True)
class Report:
    """The report as `--json` prints it. Pictures without an answer count as errors."""

    pictures: int
    accuracy: float
    calibration_error: float | None  # of the pictures with an answer
    by_digit: dict[str, float]  # accuracy
    by_folder: dict[str, float]  # accuracy
    confusion: list[list[int]]  # (10, 10): how often each digit (row) was read as each digit (column)
    misread: dict[str, int]  # the wrong predictions by picture
    no_digit: float  # fraction of pictures with a note
    notes: dict[str, str]  # by picture
    refused: dict[str, str]  # why a picture has no answer


def classify_samples(samples: Sequence[Sample[Any]], classify: Classifier) -> list[Outcome]:
    """Classify labelled pictures in batches; on a terminal, stderr shows the progress."""
    outcomes: list[Outcome] = []
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("classifying", total=len(samples))
        for start in range(0, len(samples), BATCH_SIZE):
            batch = samples[start : start + BATCH_SIZE]
            outcomes += classify([sample.content for sample in batch])
            progress.advance(task, len(batch))
    return outcomes


def make_report(results: Results) -> Report:
    """Compute the report of at least one picture."""
    names = [sample.name for sample in results.samples]
    labels, predictions = results.labels, results.predictions
    correct, answered = predictions == labels, predictions >= 0
    outcomes = zip(names, results.outcomes, strict=True)
    answers = {name: one for name, one in outcomes if not isinstance(one, Unanswered)}
    notes = {name: answer["note"] for name, answer in answers.items() if "note" in answer}
    return Report(
        pictures=len(labels),
        accuracy=float(correct.mean()),
        calibration_error=_calibration_error(results.probabilities[answered], labels[answered]),
        by_digit=_group_means(labels, correct),
        by_folder=_group_means(np.array([sample.group for sample in results.samples]), correct),
        confusion=plots.confusion_counts(labels[answered], predictions[answered]).tolist(),
        misread={names[index]: int(predictions[index]) for index in np.flatnonzero(answered & ~correct)},
        no_digit=len(notes) / len(labels),
        notes=dict(sorted(notes.items())),
        refused=refusals(results.samples, results.outcomes),
    )


def save_figures(results: Results, folder: Path) -> list[Path]:
    """Write the confusion matrix and the misread pictures as PNG files; their paths. Raises OSError."""
    answered = results.predictions >= 0
    figures = {
        "confusion_matrix.png": plots.confusion_matrix(results.labels[answered], results.predictions[answered]),
        "misread.png": _misread_pictures(results),
    }
    return plots.save_all(figures, folder)


def refusals(samples: Sequence[Sample[Any]], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Why a picture has no answer, by picture, of those that have none."""
    pairs = zip(samples, outcomes, strict=True)
    return {sample.name: one.reason for sample, one in pairs if isinstance(one, Unanswered)}


def most_confident(wrong: NDArray[np.bool_], confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The indices of the errors that a gallery shows, most confident first, from arrays (N,)."""
    indices = np.flatnonzero(wrong)
    return indices[np.argsort(-confidence[indices])][:GALLERY_SIZE]


def gallery_picture(content: bytes) -> tuple[NDArray[np.uint8], float]:
    """A picture file as RGBA pixels (H, W, 4), upright, and their scale: 0.5 if the file has twice as many per side.

    Raises BadPictureError.
    """
    decoded = decode_with_scale(content)
    return np.asarray(Image.fromarray(decoded.pixels).convert("RGBA")), 1 / decoded.scale


def print_refusals(refused: dict[str, str]) -> None:
    """Print a line for each picture without an answer."""
    for name, reason in refused.items():
        print(f"no answer for {name}: {reason}")


def print_report(report: Report) -> None:
    """Print the report as tables."""
    console = Console()
    for title, accuracies in (("digit", report.by_digit), ("folder", report.by_folder)):
        table = Table(title, "accuracy")
        for key, accuracy in accuracies.items():
            table.add_row(key, f"{100 * accuracy:.2f} %")
        console.print(table)
    print_refusals(report.refused)
    print(f"{100 * report.no_digit:.2f} % do not look like a single digit")
    error = report.calibration_error
    calibration = "" if error is None else f", expected calibration error {100 * error:.2f} %"
    print(f"{report.pictures:,} pictures, accuracy {100 * report.accuracy:.2f} %{calibration}")


def _calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float | None:
    return calibration_error(torch.tensor(probabilities), torch.tensor(labels)) if len(labels) else None


def _group_means(groups: NDArray[np.generic], correct: NDArray[np.bool_]) -> dict[str, float]:
    return {str(group): float(correct[groups == group].mean()) for group in np.unique(groups)}


def _misread_pictures(results: Results) -> Figure:
    """The most confident errors: each picture as it was sent, and the network's input."""
    labels, predictions, confidence = results.labels, results.predictions, results.probabilities.max(axis=1)
    shown = most_confident((predictions >= 0) & (predictions != labels), confidence)
    contents = [results.samples[index].content for index in shown]
    return plots.pictures_and_inputs(
        [gallery_picture(content)[0] for content in contents],
        [from_bytes(content) for content in contents],
        [f"{labels[index]} → {predictions[index]}, {100 * confidence[index]:.0f} %" for index in shown],
    )
