"""Corrections whose process is killed, at every line that is executed: one picture never has two labels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_lightning.common.constants import FEEDBACK_LABELS, FEEDBACK_LOCK
from tests.support import PROJECT, SEVEN

FORMER, LABEL, LATER = 1, 7, 3
# Saves a label in a process that is killed at line 1, 2, …, without and with a former label, each time in a new folder;
# arguments: the picture, the parent of these folders, the labels.
SAVE = """
import os, signal, sys
from pathlib import Path
import cv2
from mnist_lightning.common import files
from mnist_lightning.web import feedback

picture, parent = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
former, label, later = map(int, sys.argv[3:])
TRACED = (feedback.__file__, files.__file__)

cv2.setNumThreads(0)  # a process with threads must not fork
os.fsync = lambda _: None  # takes time, and a killed process does not need it

def save_and_die(folder, label, kill_at):
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        lines += event == "line" and frame.f_code.co_filename in TRACED
        if lines == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace if frame.f_code.co_filename in TRACED else None

    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    sys.settrace(trace)
    feedback.save(folder, picture, label)
    os._exit(0)

for before in ((), (former,)):
    killed, line = True, 0
    while killed:
        line += 1
        folder = parent / f"{len(before)}-{line}"
        for each in before:
            feedback.save(folder, picture, each)
        killed = save_and_die(folder, label, line) == signal.SIGKILL
        files_then = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
        (folder / "state").mkdir(parents=True)
        for name, content in files_then.items():
            (folder / "state" / name).write_bytes(content)
        feedback.save(folder, picture, later)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """For each line: the folder after a later correction, with a copy of how it was after the kill in `state`."""
    parent = tmp_path_factory.mktemp("killed")
    arguments = [str(SEVEN), str(parent), *map(str, (FORMER, LABEL, LATER))]
    done = subprocess.run(
        [sys.executable, "-c", SAVE, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(parent.iterdir())


def test_every_line_was_a_place_of_death(folders: list[Path]) -> None:
    assert len(folders) > 60


def test_a_picture_has_at_most_one_label(folders: list[Path]) -> None:
    for folder in folders:
        had_label = folder.name.startswith("1-")
        labels = stored_labels(folder / "state")
        assert labels in ([[FORMER], [LABEL]] if had_label else [[], [LABEL]]), folder.name


def test_a_later_correction_replaces_it(folders: list[Path]) -> None:
    for folder in folders:
        assert stored_labels(folder) == [LATER]
        strays = [path.name for path in folder.glob(".*") if path.name != FEEDBACK_LOCK]
        assert len(strays) <= 1


def stored_labels(folder: Path) -> list[int]:
    """The labels of the pictures in a folder; each has a line with the same label."""
    path = folder / FEEDBACK_LABELS
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    labels = {line["picture"]: line["label"] for line in lines}
    return [labels[picture.name] for picture in folder.glob("[0-9]*.png")]
