"""What an interrupted training leaves behind, and when."""

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lightning.training import resume


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_only_what_was_interrupted_can_be_resumed() -> None:
    with contextlib.suppress(KeyboardInterrupt), resume.begun("older", "epochs: 1"):
        assert resume.interrupted() == []  # at work
        raise KeyboardInterrupt
    with resume.begun("finished", "epochs: 2") as work:
        assert [one.comparison_id for one in resume.interrupted()] == ["older"]
    assert not work.folder.exists()
    (left,) = resume.interrupted()
    assert (left.folder / resume.RECIPE).read_text() == "epochs: 1"
    with left.held(), pytest.raises(BlockingIOError), left.held():
        pass
    assert list(resume.FOLDER.iterdir()) == []


def test_every_source_of_random_numbers_goes_on_where_it_was(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))]

    draw()
    torch.save(resume.random_state(), tmp_path / "state")
    first = draw()
    assert draw() != first
    resume.restore_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert draw() == first
