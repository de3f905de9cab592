"""Workspaces of interrupted trainings, and the random state in checkpoints."""

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lightning.training import resume
from mnist_lightning.training.resume import ResumeError, Workspace


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_only_interrupted_trainings_can_be_resumed() -> None:
    with contextlib.suppress(KeyboardInterrupt), Workspace.create("older", "epochs: 1"):
        assert resume.interrupted() == []  # it is running
        raise KeyboardInterrupt
    with Workspace.create("finished", "epochs: 2") as finished:
        assert [workspace.comparison_id for workspace in resume.interrupted()] == ["older"]
    assert not finished.folder.exists()
    (left,) = resume.interrupted()
    assert left.recipe_yaml == "epochs: 1"
    with left.lock(), pytest.raises(ResumeError, match="another process is running"), left.lock():
        pass
    assert list(resume.FOLDER.iterdir()) == []


def test_the_newest_interrupted_training_comes_first() -> None:
    for number in range(3):
        with contextlib.suppress(KeyboardInterrupt), Workspace.create(f"run{number}", "") as workspace:
            raise KeyboardInterrupt
        os.utime(workspace.folder / resume.RECIPE, (number, number))
    assert [workspace.comparison_id for workspace in resume.interrupted()] == ["run2", "run1", "run0"]


def test_another_process_holds_the_lock_until_it_dies() -> None:
    with contextlib.suppress(KeyboardInterrupt), Workspace.create("some-run", "") as workspace:
        raise KeyboardInterrupt
    program = f"""
import sys
from filelock import FileLock
with FileLock({str(workspace.folder.resolve() / "lock")!r}):
    print("locked", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        assert resume.interrupted() == []
        process.kill()
    assert resume.interrupted() == [workspace]


def test_all_random_number_generators_are_restored(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))]

    draw()
    torch.save(resume.random_state(), tmp_path / "state")
    first = draw()
    assert draw() != first
    resume.restore_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert draw() == first
