"""Wrong labels in feedback of a style that the champion cannot read."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.looped_script import draw, encode, save_feedback
from mnist_lightning.datasets import feedback, mnist
from mnist_lightning.datasets.feedback import FeedbackSet
from mnist_lightning.datasets.splits import Batch
from mnist_lightning.evaluation import label_doubts
from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.models import digitnet
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.web.feedback import save
from tests.support import WEIGHTS_FILE


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return digitnet.load(WEIGHTS_FILE.read_bytes())


@pytest.fixture(scope="module")
def known(mnist_folder: Path) -> Batch:
    images, labels = mnist.load(mnist_folder, train=True)
    return images[:1000], labels[:1000]


def test_wrong_labels_are_found_among_a_style_that_the_champion_misreads(
    network: DigitNet, known: Batch, tmp_path: Path
) -> None:
    save_feedback(tmp_path, 150, seed=1)
    rng = np.random.default_rng(3)
    wrong = {save(tmp_path, encode(draw(digit, rng)), other).name for digit, other in ((0, 7), (7, 2), (8, 4))}
    pictures = FeedbackSet.load(tmp_path).pictures
    doubts = label_doubts.find_doubts(network, pictures, known)
    assert wrong <= {doubt.picture.path.name for doubt in doubts}
    answers = answer_images(network, [picture.image for picture in pictures])
    misread = sum(answer["prediction"] != picture.label for answer, picture in zip(answers, pictures, strict=True))
    assert len(doubts) < misread / 2  # the others support each other
    for doubt in doubts:
        assert doubt.picture.label not in (doubt.champion, doubt.second)

    feedback.settle(tmp_path, sorted(wrong), None)
    feedback.settle(tmp_path, [doubt.picture.digest for doubt in doubts if doubt.picture.path.name not in wrong], 0)
    assert all(
        doubt.picture.path.name not in wrong and not doubt.picture.is_settled
        for doubt in label_doubts.find_doubts(network, FeedbackSet.load(tmp_path).pictures, known)
    )


def test_few_pictures_or_none(network: DigitNet, known: Batch, tmp_path: Path) -> None:
    assert label_doubts.find_doubts(network, [], known) == []
    path = save(tmp_path, encode(draw(0, np.random.default_rng(0))), 7)
    (doubt,) = label_doubts.find_doubts(network, FeedbackSet.load(tmp_path).pictures, known)
    assert (doubt.picture.path, doubt.second) == (path, 0)
    (sheet,) = label_doubts.save_contact_sheets([doubt], tmp_path / "out")
    assert sheet.name == "doubts-1.png"
    assert len(label_doubts.contact_sheets([doubt] * 31)) == 2
