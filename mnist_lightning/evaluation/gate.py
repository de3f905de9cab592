"""Is a challenger good enough to become the champion? Measures both on the same pictures, and compares them."""

import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray

from mnist_lightning.common.constants import EXPORTED, IMAGE_INPUT
from mnist_lightning.common.engine import load_session
from mnist_lightning.common.paths import resource
from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.evaluation.exported import largest_difference
from mnist_lightning.evaluation.gate_data import FEEDBACK, NO_DIGIT, TEST, TITLES, GateData, GateSizes, LabelledImages
from mnist_lightning.evaluation.significance import mcnemar
from mnist_lightning.models.archive import ArchiveError, load_network
from mnist_lightning.models.digitnet import DigitNet, predict_logits
from mnist_lightning.serving.config import ARCHIVE_ERRORS

SHIPPED = "config/gate.yaml"
READ_AT_ONCE = 250  # pictures, as in `evaluate`
LATENCY_ROUNDS = 200
COMPARED, MAX_DIFFERENCE = 500, 0.01  # images, and probability: weights are rounded to 16 bits
MAX_NUMBER = 1_000_000  # in the configuration
VALIDATION_LOSS, LATENCY, SIZE = "validation_loss", "latency", "size"


class GateError(ValueError):
    """The gate's configuration cannot be used; the message names the key, its value and what is allowed."""


@dataclass(frozen=True)
class GateConfig:
    """The margins of `config/gate.yaml`, which explains them."""

    max_drop: Mapping[str, float]  # points, by set
    max_rise: Mapping[str, float]  # percent
    significance: float
    min_gain: float  # percent
    sizes: GateSizes

    @classmethod
    def load(cls, path: Path | None = None) -> "GateConfig":
        """Read a file, by default the one that ships with the project. Raises GateError, OSError."""
        path = path or resource(SHIPPED)
        try:
            return cls._from_values(yaml.safe_load(path.read_text()))
        except (yaml.YAMLError, UnicodeDecodeError, GateError) as error:
            raise GateError(f"{path}: {' '.join(str(error).split())}") from error

    @classmethod
    def _from_values(cls, values: Any) -> "GateConfig":
        sizes = [field.name for field in fields(GateSizes)]
        keys = ["max_drop", "max_rise", "significance", "min_gain", *sizes]
        _check_keys("the gate", values, keys)
        _check_keys("max_drop", values["max_drop"], list(TITLES))
        _check_keys("max_rise", values["max_rise"], [VALIDATION_LOSS, LATENCY, SIZE])
        numbers = {**values["max_drop"], **values["max_rise"], **{key: values[key] for key in keys[2:]}}
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
                raise GateError(f"{key} is {repr(value)[:40]}; it must be a number from 0 to {MAX_NUMBER:,}")
        for key in sizes:
            if not isinstance(values[key], int) or not values[key]:
                raise GateError(f"{key} is {values[key]!r}; it must be an integer of at least 1")
        counts = GateSizes(**{key: values[key] for key in sizes})
        return cls(values["max_drop"], values["max_rise"], values["significance"], values["min_gain"], counts)


@dataclass(frozen=True)
class Measurement:
    """How one archive does."""

    correct: Mapping[str, NDArray[np.bool_]]  # (N,) for each set: read correctly, or for non-digits, rejected
    by_digit: tuple[float, ...]  # accuracy on MNIST's test set, (10,)
    validation_loss: float  # of the probabilities that are served
    latency: float  # seconds of the model for one picture
    size: int  # bytes of the archive

    def accuracy(self, name: str) -> float:
        """The fraction of a set that is correct."""
        return float(self.correct[name].mean())

    def metrics(self) -> dict[str, float]:
        """All figures by name."""
        accuracies = {name: self.accuracy(name) for name in self.correct}
        return {**accuracies, VALIDATION_LOSS: self.validation_loss, LATENCY: self.latency, SIZE: float(self.size)}


@dataclass(frozen=True)
class Check:
    """One comparison of challenger and champion."""

    title: str
    champion: str
    challenger: str
    allowed: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The comparison of a challenger with the champion."""

    champion: Measurement
    challenger: Measurement
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may become the champion."""
        return all(check.passed for check in self.checks)

    @property
    def summary(self) -> str:
        """One sentence: what it gains, or what it fails."""
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            return f"passes: {self.checks[-1].title}: {self.checks[-1].challenger}"
        return f"fails: {'; '.join(f'{check.title} {check.challenger}, not {check.allowed}' for check in failed)}"


def measure(archives: Sequence[Path], data: GateData) -> list[Measurement]:
    """Measure archives. Raises ArchiveError, also if one would serve another model than its weights."""
    networks = [load_network(path) for path in archives]
    latencies = _latencies(archives)
    for path, network in zip(archives, networks, strict=True):
        _check_export(path, network, data.validation[0][:COMPARED])
    sizes = [path.stat().st_size for path in archives]
    return [
        _measure(network, data, latency, size)
        for network, latency, size in zip(networks, latencies, sizes, strict=True)
    ]


def compare(champion: Measurement, challenger: Measurement, config: GateConfig) -> Verdict:
    """All checks; the last one is of the gain."""
    checks = [
        *_drops(champion, challenger, config.max_drop),
        *_rises(champion, challenger, config.max_rise),
        _gain(champion, challenger, config),
    ]
    return Verdict(champion, challenger, tuple(checks))


def _drops(champion: Measurement, challenger: Measurement, max_drop: Mapping[str, float]) -> Iterator[Check]:
    for name in champion.correct:
        before, after = 100 * champion.accuracy(name), 100 * challenger.accuracy(name)
        least = before - max_drop[name]
        yield Check(
            TITLES[name], f"{before:.2f} %", f"{after:.2f} %", f"at least {least:.2f} %", passed=after >= least - 1e-9
        )


def _rises(champion: Measurement, challenger: Measurement, max_rise: Mapping[str, float]) -> Iterator[Check]:
    formats = {
        VALIDATION_LOSS: ("validation loss", 1.0, ".4f", ""),
        LATENCY: ("time of the model for a picture", 1e6, ".0f", " µs"),
        SIZE: ("size of the archive", 1e-3, ".0f", " kB"),
    }
    before, after = champion.metrics(), challenger.metrics()
    for name, (title, scale, form, unit) in formats.items():
        most = before[name] * (1 + max_rise[name] / 100)
        old, new, limit = (f"{scale * value:{form}}{unit}" for value in (before[name], after[name], most))
        yield Check(title, old, new, f"at most {limit}", passed=after[name] <= most)


def _gain(champion: Measurement, challenger: Measurement, config: GateConfig) -> Check:
    if FEEDBACK in champion.correct:
        before, after = champion.correct[FEEDBACK], challenger.correct[FEEDBACK]
        lost, won = int((before & ~after).sum()), int((~before & after).sum())
        p_value = mcnemar(lost, won)
        return Check(
            "feedback that only one of them reads",
            str(lost),
            f"{won} (p = {p_value:.2g})",
            f"more, with p below {config.significance:g}",
            passed=won > lost and p_value < config.significance,
        )
    most = champion.validation_loss * (1 - config.min_gain / 100)
    return Check(
        "gain in validation loss",
        f"{champion.validation_loss:.4f}",
        f"{challenger.validation_loss:.4f}",
        f"at most {most:.4f}, for want of feedback",
        passed=challenger.validation_loss <= most,
    )


def _measure(network: DigitNet, data: GateData, latency: float, size: int) -> Measurement:
    correct = {name: _correct(network, labelled) for name, labelled in data.sets.items()}
    labels = data.sets[TEST].labels
    images, digits = data.validation
    return Measurement(
        correct=correct,
        by_digit=tuple(_share(correct[TEST][labels == digit]) for digit in range(10)),
        validation_loss=F.cross_entropy(predict_logits(network, images), digits).item(),
        latency=latency,
        size=size,
    )


def _share(correct: NDArray[np.bool_]) -> float:
    return float(correct.mean()) if len(correct) else 0.0


def _correct(network: DigitNet, labelled: LabelledImages) -> NDArray[np.bool_]:
    """Which pictures are read as their labels, or get a note if they show no digit, (N,)."""
    images = labelled.images
    correct = np.zeros(len(images), np.bool_)
    present = [index for index, image in enumerate(images) if image is not None]
    for first in range(0, len(present), READ_AT_ONCE):
        part = present[first : first + READ_AT_ONCE]
        answers = answer_images(network, [image for index in part if (image := images[index]) is not None])
        for index, answer in zip(part, answers, strict=True):
            label = labelled.labels[index]
            correct[index] = "note" in answer if label == NO_DIGIT else answer["prediction"] == label
    return correct


def _check_export(path: Path, network: DigitNet, images: torch.Tensor) -> None:
    """Raise ArchiveError unless an archive's exported model answers as its network on images (N, 1, 28, 28) uint8."""
    difference = largest_difference(_exported(path), network, images.float() / 255)
    if not difference <= MAX_DIFFERENCE:
        raise ArchiveError(
            f"the model in {path.name} answers otherwise than its weights, by {difference:.2g}; package it again: "
            "python -m mnist_lightning.package --archive FILE"
        )


def _latencies(archives: Sequence[Path]) -> list[float]:
    """The shortest time of each archive's model for one picture, in turns: other processes only make it longer."""
    picture = {IMAGE_INPUT: np.zeros((1, 1, 28, 28), np.float32)}
    sessions = [load_session(_exported(path), str(path)) for path in archives]
    seconds = np.empty((LATENCY_ROUNDS, len(sessions)))
    for round_ in range(LATENCY_ROUNDS):
        for place, session in enumerate(sessions):
            started = time.perf_counter()
            session.run(None, picture)
            seconds[round_, place] = time.perf_counter() - started
    return [float(best) for best in seconds.min(axis=0)]


def _exported(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(EXPORTED)
    except ARCHIVE_ERRORS as error:
        raise ArchiveError(
            f"{path} holds no exported model; create it with: python -m mnist_lightning.package"
        ) from error


def _check_keys(where: str, values: Any, keys: list[str]) -> None:
    if not isinstance(values, dict) or set(values) != set(keys):
        found = ", ".join(map(str, values)) if isinstance(values, dict) else repr(values)
        raise GateError(f"{where} has {found}; it must have exactly {', '.join(keys)}")
