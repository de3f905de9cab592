"""The comparison of a challenger with the champion: its margins, and what it measures."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from benchmarks.looped_script import save_feedback
from mnist_lightning.common.constants import WEIGHTS
from mnist_lightning.common.paths import resource
from mnist_lightning.datasets.feedback import FeedbackSet
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import gate, gate_report
from mnist_lightning.evaluation.gate import GateConfig, GateError, Measurement, Verdict
from mnist_lightning.evaluation.gate_data import FEEDBACK, NO_DIGIT, NON_DIGITS, TEST, TITLES, GateData, GateSizes
from mnist_lightning.models.archive import ArchiveError
from tests.small_archive import build_small

CONFIG = GateConfig(
    max_drop={"test": 0.1, "corrupted": 1.0, "presented": 1.0, "feedback": 0.0, "non_digits": 4.0},
    max_rise={"validation_loss": 25, "latency": 30, "size": 10},
    significance=0.05,
    min_gain=10,
    sizes=GateSizes(1000, 1000, 1000, 1000),
)
GAIN = "feedback that only one of them reads"


def measurement(
    wrong: Mapping[str, int] = {}, feedback: int = 0, loss: float = 0.02, latency: float = 1e-4, size: int = 1_000_000
) -> Measurement:
    """A model that reads 1,000 pictures of each set but `wrong` ones, and 20 of 40 pictures of feedback and more."""
    correct = {name: np.arange(1000) >= wrong.get(name, 0) for name in TITLES if name != FEEDBACK}
    correct[FEEDBACK] = np.arange(40) < 20 + feedback
    return Measurement(correct, (0.99,) * 10, loss, latency, size)


def failed(verdict: Verdict) -> list[str]:
    return [check.title for check in verdict.checks if not check.passed]


def test_a_challenger_that_reads_the_feedback_better_passes() -> None:
    verdict = gate.compare(measurement(), measurement({"test": 1}, feedback=6), CONFIG)
    assert failed(verdict) == []
    assert verdict.passed
    assert verdict.summary == f"passes: {GAIN}: 6 (p = 0.031)"


@pytest.mark.parametrize(
    ("challenger", "title"),
    [
        (measurement({"test": 2}, feedback=9), "MNIST's test set"),
        (measurement({"corrupted": 11}, feedback=9), "corrupted digits"),
        (measurement({"presented": 11}, feedback=9), "digits as drawn and photographed"),
        (measurement({"non_digits": 41}, feedback=9), "non-digits rejected"),
        (measurement(feedback=9, loss=0.026), "validation loss"),
        (measurement(feedback=9, latency=1.4e-4), "time of the model for a picture"),
        (measurement(feedback=9, size=1_200_000), "size of the archive"),
        (measurement(feedback=5), GAIN),  # p = 0.0625
        (measurement(), GAIN),
    ],
)
def test_a_challenger_that_is_worse_in_one_respect_fails(challenger: Measurement, title: str) -> None:
    verdict = gate.compare(measurement(), challenger, CONFIG)
    assert failed(verdict) == [title]
    assert not verdict.passed
    assert verdict.summary.startswith(f"fails: {title} ")


def test_a_challenger_that_loses_feedback_fails_in_both_respects() -> None:
    assert failed(gate.compare(measurement(feedback=1), measurement(), CONFIG)) == ["held-out feedback", GAIN]


@pytest.mark.parametrize(("loss", "passes"), [(0.02, False), (0.0181, False), (0.018, True)])
def test_without_feedback_the_validation_loss_must_be_lower(loss: float, passes: bool) -> None:
    both = [measurement(), measurement(loss=loss)]
    champion, challenger = (
        replace(one, correct={name: value for name, value in one.correct.items() if name != FEEDBACK}) for one in both
    )
    verdict = gate.compare(champion, challenger, CONFIG)
    assert failed(verdict) == ([] if passes else ["gain in validation loss"])


def test_the_report_has_the_reason_and_every_check() -> None:
    verdict = gate.compare(measurement(), measurement({"test": 2}, feedback=9), CONFIG)
    report = gate_report.render(verdict, "rejection of version 2, compared with version 1", verdict.summary)
    assert report.startswith("# Rejection of version 2, compared with version 1\n\nfails: MNIST's test set 99.80 %")
    assert "| MNIST's test set | 100.00 % | 99.80 % | at least 99.90 % | fails |" in report
    assert report.count("| passes |") == len(verdict.checks) - 1
    assert "| 9 | 99.00 % | 99.00 % |" in report
    assert len(gate_report.figure(verdict).axes) == 2


def shipped() -> dict[str, object]:
    values = yaml.safe_load(resource(gate.SHIPPED).read_text())
    assert isinstance(values, dict)
    return values


def test_the_shipped_margins_are_valid() -> None:
    assert set(GateConfig.load().max_drop) == set(TITLES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"significance": -0.1}, "significance is -0.1; it must be a number from 0 to 1,000,000"),
        ({"significance": True}, "significance is True; it must be a number"),
        ({"min_gain": "much"}, "min_gain is 'much'"),
        ({"min_gain": float("nan")}, "min_gain is nan"),
        ({"min_gain": 10**300}, "min_gain is 1000000000"),
        ({"test_digits": 0}, "test_digits is 0; it must be an integer of at least 1"),
        ({"test_digits": 1.5}, "test_digits is 1.5; it must be an integer"),
        ({"max_drop": {"test": 1}}, "max_drop has test; it must have exactly test, corrupted, presented, feedback"),
        ({"max_rise": None}, "max_rise has None; it must have exactly validation_loss, latency, size"),
        ({"margin": 1}, "the gate has corrupted_digits, margin, max_drop"),
    ],
)
def test_invalid_margins_are_named(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump({**shipped(), **change}))
    with pytest.raises(GateError, match=r"gate\.yaml: ") as caught:
        GateConfig.load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "margins", "a: ["])
def test_a_file_without_margins_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(GateError, match=r"gate\.yaml: "):
        GateConfig.load(tmp_path / "gate.yaml")


@pytest.fixture(scope="module")
def data(mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> GateData:
    folder = tmp_path_factory.mktemp("feedback")
    save_feedback(folder, 30, seed=0)
    sizes = GateSizes(test_digits=50, corrupted_digits=2, presented_digits=2, non_digits_per_kind=2)
    return GateData.build(MnistSplits.load(mnist_folder), FeedbackSet.load(folder).held_out, sizes)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("archive"))


def test_every_set_is_measured(data: GateData, archive: Path) -> None:
    first, second = gate.measure([archive, archive], data)
    assert set(first.correct) == set(TITLES)
    assert {name: len(correct) for name, correct in first.correct.items()} == {
        name: len(labelled.labels) for name, labelled in data.sets.items()
    }
    assert set(data.sets[NON_DIGITS].labels) == {NO_DIGIT}
    assert first.accuracy(TEST) > 0.9
    assert 0 < first.accuracy(FEEDBACK) < 1
    assert first.accuracy(NON_DIGITS) > 0.3
    assert first.latency > 0
    assert first.size == archive.stat().st_size
    for name in TITLES:  # the same pictures for both
        np.testing.assert_array_equal(first.correct[name], second.correct[name])
    assert first.validation_loss == second.validation_loss


def test_pictures_are_the_same_at_every_comparison(data: GateData, mnist_folder: Path) -> None:
    again = GateData.build(MnistSplits.load(mnist_folder), [], GateSizes(50, 2, 2, 2))
    assert set(data.sets) - set(again.sets) == {FEEDBACK}
    for name, labelled in again.sets.items():
        for one, other in zip(labelled.images, data.sets[name].images, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert torch.equal(torch.from_numpy(one.image), torch.from_numpy(other.image))


def test_an_archive_that_would_serve_another_model_is_an_error(data: GateData, archive: Path, tmp_path: Path) -> None:
    """The pretrained model's weights beside the small one's export."""
    with (
        zipfile.ZipFile(archive) as source,
        zipfile.ZipFile(resource("pretrained/mnist.mar")) as other,
        zipfile.ZipFile(tmp_path / "mnist.mar", "w") as target,
    ):
        for name in source.namelist():
            target.writestr(name, (other if name == WEIGHTS else source).read(name))
    with pytest.raises(ArchiveError, match=r"mnist\.mar answers otherwise than its weights, by 0\.\d+; package it"):
        gate.measure([archive, tmp_path / "mnist.mar"], data)


def test_a_damaged_archive_is_an_error(data: GateData, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist.mar").write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(ArchiveError, match=r"mnist\.mar"):
        gate.measure([archive, tmp_path / "mnist.mar"], data)
