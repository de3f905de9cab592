"""The evaluation of a classifier on pictures of numbers: exact matches, digit errors, calibration, rejections."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mnist_lightning.client import number_of
from mnist_lightning.datasets.samples import Sample
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.calibration import confidence_error
from mnist_lightning.evaluation.classify import Outcome, Unanswered
from mnist_lightning.evaluation.report import gallery_picture, most_confident, print_refusals, refusals

HIGH_CONFIDENCE = 0.95


@dataclass(frozen=True)
class NumberResults:
    """Pictures labelled with the number that they show, and the classifier's outcome for each."""

    samples: Sequence[Sample[str]]
    outcomes: Sequence[Outcome]

    @property
    def labels(self) -> list[str]:
        """(N,) numbers, their lines joined by line feeds."""
        return [sample.label for sample in self.samples]

    @property
    def texts(self) -> list[str]:
        """(N,) numbers as they were read, with `?` for a piece that is no digit; empty for no answer."""
        return ["" if isinstance(one, Unanswered) else number_of(one) for one in self.outcomes]

    @property
    def confidences(self) -> NDArray[np.float64]:
        """(N,); zeros for pictures without an answer."""
        return np.array([0.0 if isinstance(one, Unanswered) else one["confidence"] for one in self.outcomes])


@dataclass(frozen=True)
class Rates:
    """How well some pictures are read. A picture without an answer counts as one whose digits are all missed."""

    pictures: int
    exact_match_rate: float  # fraction of numbers in which every character is right
    digit_error_rate: float  # edits from reading to label, with a line feed as one character, per digit of the labels


@dataclass(frozen=True)
class NumberReport:
    """The report as `--json` prints it."""

    total: Rates
    by_length: dict[str, Rates]  # by number of digits
    by_folder: dict[str, Rates]
    calibration_error: float | None  # of the complete readings: those without a `?`
    confident: int  # complete readings with a confidence of HIGH_CONFIDENCE or more
    confident_exact_match_rate: float | None
    incomplete: float  # fraction of pictures whose reading has a `?`
    misread: dict[str, str]  # the wrong readings by picture
    refused: dict[str, str]  # why a picture has no answer


@dataclass(frozen=True)
class _Counts:
    """What the rates are computed from, for each of N pictures."""

    correct: NDArray[np.bool_]
    edits: NDArray[np.int64]
    digits: NDArray[np.int64]  # of the labels

    def rates(self, chosen: NDArray[np.bool_]) -> Rates:
        edits, digits = int(self.edits[chosen].sum()), int(self.digits[chosen].sum())
        return Rates(int(chosen.sum()), float(self.correct[chosen].mean()), edits / digits)

    def rates_by(self, groups: NDArray[np.generic]) -> dict[str, Rates]:
        return {str(group): self.rates(groups == group) for group in np.unique(groups)}


def make_report(results: NumberResults) -> NumberReport:
    """Compute the report of at least one picture."""
    labels, texts, confidences = results.labels, results.texts, results.confidences
    counts = _count(labels, texts)
    complete = np.array([text != "" and "?" not in text for text in texts])
    confident = complete & (confidences >= HIGH_CONFIDENCE)
    wrong = {sample.name: text for sample, text in zip(results.samples, texts, strict=True) if text != sample.label}
    refused = refusals(results.samples, results.outcomes)
    return NumberReport(
        total=counts.rates(np.ones(len(labels), dtype=bool)),
        by_length=counts.rates_by(counts.digits),
        by_folder=counts.rates_by(np.array([sample.group for sample in results.samples])),
        calibration_error=_calibration_error(confidences[complete], counts.correct[complete]),
        confident=int(confident.sum()),
        confident_exact_match_rate=float(counts.correct[confident].mean()) if confident.any() else None,
        incomplete=sum("?" in text for text in texts) / len(texts),
        misread={name: text for name, text in wrong.items() if name not in refused},
        refused=refused,
    )


def save_figures(results: NumberResults, folder: Path) -> list[Path]:
    """Write the misread pictures as a PNG file; its path. Raises OSError."""
    return plots.save_all({"misread_numbers.png": _misread_pictures(results)}, folder)


def print_report(report: NumberReport) -> None:
    """Print the report as tables."""
    console = Console()
    for title, groups in (("digits", report.by_length), ("folder", report.by_folder)):
        table = Table(title, "pictures", "exact matches", "digit errors")
        for key, rates in groups.items():
            table.add_row(
                key, f"{rates.pictures:,}", _percent(rates.exact_match_rate), _percent(rates.digit_error_rate)
            )
        console.print(table)
    print_refusals(report.refused)
    print(f"{_percent(report.incomplete)} have a piece that does not look like a digit")
    if report.confident_exact_match_rate is not None:
        share, threshold = _percent(report.confident_exact_match_rate), f"{100 * HIGH_CONFIDENCE:.0f} %"
        print(f"{report.confident:,} are read with a confidence of at least {threshold}: {share} of them right")
    total, error = report.total, report.calibration_error
    calibration = "" if error is None else f", expected calibration error {_percent(error)}"
    exact, edits = _percent(total.exact_match_rate), _percent(total.digit_error_rate)
    print(f"{total.pictures:,} pictures, exact matches {exact}, digit errors {edits}{calibration}")


def _count(labels: Sequence[str], texts: Sequence[str]) -> _Counts:
    from torchmetrics.functional.text import edit_distance  # only here: importing it takes seconds

    correct = [text == label for label, text in zip(labels, texts, strict=True)]
    digits = [len(label.replace("\n", "")) for label in labels]
    edits = edit_distance(texts, labels, reduction="none").numpy()
    return _Counts(np.array(correct), edits.astype(np.int64), np.array(digits))


def _calibration_error(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> float | None:
    return confidence_error(torch.tensor(confidences), torch.tensor(correct)) if len(correct) else None


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _misread_pictures(results: NumberResults) -> Figure:
    """The most confident errors: each picture as it was sent, with the boxes of its digits."""
    labels, texts, confidences = results.labels, results.texts, results.confidences
    wrong = np.array([text not in ("", label) for label, text in zip(labels, texts, strict=True)])
    shown = most_confident(wrong, confidences)
    scaled = [gallery_picture(results.samples[index].content) for index in shown]
    boxes = [_boxes(results.outcomes[index]) for index in shown]
    titles = [f"{labels[index]} → {texts[index]}, {100 * confidences[index]:.0f} %" for index in shown]
    return plots.boxed_pictures(
        [pixels for pixels, _ in scaled],
        [scale * found for (_, scale), found in zip(scaled, boxes, strict=True)],
        [title.replace("\n", " / ") for title in titles],
    )


def _boxes(outcome: Outcome) -> NDArray[np.float64]:
    """The boxes of an answer's digits, (n, 4); none for one digit or no answer."""
    digits = [] if isinstance(outcome, Unanswered) else outcome.get("digits", [])
    return np.array([digit["box"] for digit in digits], dtype=float).reshape(-1, 4)
