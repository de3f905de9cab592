"""Feedback as data: shares, duplicates, settled labels, versions, exports."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.looped_script import draw, encode, save_feedback
from mnist_lightning.common.constants import FEEDBACK_LABELS
from mnist_lightning.datasets import feedback
from mnist_lightning.datasets.feedback import FeedbackError, FeedbackSet
from mnist_lightning.datasets.samples import SampleError
from mnist_lightning.web.feedback import save
from tests.pictures import encode_png, row_of_digits
from tests.support import SEVEN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty pictures, three of each digit."""
    save_feedback(tmp_path / "feedback", 30, seed=0)
    return tmp_path / "feedback"


def names(pictures: object) -> set[str]:
    assert isinstance(pictures, list)
    return {picture.path.name for picture in pictures}


def test_fixed_shares_are_held_out_by_digest(folder: Path) -> None:
    found = FeedbackSet.load(folder)
    assert len(found.training) + len(found.validation) + len(found.held_out) == len(found.pictures) == 30
    assert 0 < len(found.validation) + len(found.held_out) < len(found.training)
    assert {int(picture.digest, 16) % 10 for picture in found.held_out} <= {0, 5}
    assert {int(picture.digest, 16) % 10 for picture in found.validation} <= {1}
    assert not {int(picture.digest, 16) % 10 for picture in found.training} & {0, 1, 5}
    assert all(picture.path.name == f"{picture.label}-{picture.digest}.png" for picture in found.pictures)
    counts = found.counts()
    assert [sum(share[digit] for share in counts.values()) for digit in "0123456789"] == [3] * 10
    before = names(found.held_out)
    save_feedback(folder, 50, seed=1)
    assert before <= names(FeedbackSet.load(folder).held_out)


def test_pictures_are_prepared_as_the_server_prepares_them(folder: Path) -> None:
    pictures = FeedbackSet.load(folder).training
    images, labels = feedback.to_batch(pictures)
    assert images.dtype == torch.uint8
    assert images.shape == (len(pictures), 1, 28, 28)
    expected = np.stack([picture.image.image for picture in pictures])
    np.testing.assert_allclose(images[:, 0].numpy() / 255, expected, atol=1 / 255)
    assert labels.tolist() == [picture.label for picture in pictures]
    assert feedback.to_batch([])[0].shape == (0, 1, 28, 28)


def test_the_version_depends_on_pictures_and_labels_alone(folder: Path, tmp_path: Path) -> None:
    version = FeedbackSet.load(folder).version
    save_feedback(tmp_path / "again", 30, seed=0)
    assert FeedbackSet.load(tmp_path / "again").version == version
    path = next(folder.glob("3-*.png"))
    save(folder, path.read_bytes(), 8)
    relabelled = FeedbackSet.load(folder).version
    assert relabelled != version
    save(folder, SEVEN.read_bytes(), 7)
    assert FeedbackSet.load(folder).version not in (version, relabelled)


def same_picture(folder: Path) -> tuple[Path, Path]:
    """Two files that the network cannot tell apart; of the second one, a part of the empty paper is missing."""
    drawing = draw(4, np.random.default_rng(7))
    return save(folder, encode(drawing), 4), save(folder, encode(drawing[5:-5, 5:-5]), 4)


def test_one_of_two_pictures_that_look_the_same_is_used(tmp_path: Path) -> None:
    paths = set(same_picture(tmp_path))
    found = FeedbackSet.load(tmp_path)
    (used,) = found.pictures
    (duplicate,) = paths - {used.path}
    assert found.left_out == {duplicate: f"the same picture as {used.path.name}"}
    assert found.conflicts == []


def test_a_picture_that_may_be_trained_on_is_never_held_out_later(tmp_path: Path) -> None:
    """If one of two pictures that look the same belongs to each share, both belong to the training."""
    for margin in range(13, 33):
        drawing = draw(4, np.random.default_rng(7))
        save(tmp_path, encode(drawing[margin:-margin, margin:-margin]), 4)
    found = FeedbackSet.load(tmp_path)
    assert any(int(path.stem[2:], 16) % 5 == 0 for path in found.left_out)
    assert found.held_out == []
    assert len(found.training) == 1


def test_the_same_picture_with_two_labels_waits_for_a_person(tmp_path: Path) -> None:
    first, second = same_picture(tmp_path)
    wrong = save(tmp_path, second.read_bytes(), 9)
    found = FeedbackSet.load(tmp_path)
    assert found.pictures == []
    assert set(found.conflicts) == {first, wrong}
    assert set(found.left_out.values()) == {"the same picture is labelled 4, 9"}
    feedback.settle(tmp_path, [wrong.name], 4)
    found = FeedbackSet.load(tmp_path)
    assert [picture.label for picture in found.pictures] == [4]
    assert found.conflicts == []


def test_a_decision_counts_more_than_a_name(folder: Path) -> None:
    three, five = next(folder.glob("3-*.png")), next(folder.glob("5-*.png"))
    digest = three.stem.split("-")[1]
    assert feedback.settle(folder, [digest[:8]], 8) == [three]
    feedback.settle(folder, [five.name], None)
    found = FeedbackSet.load(folder)
    assert [(picture.label, picture.is_settled) for picture in found.pictures if picture.path == three] == [(8, True)]
    assert found.left_out == {five: feedback.IGNORED}
    assert sum(picture.is_settled for picture in found.pictures) == 1
    lines = [json.loads(line) for line in (folder / feedback.SETTLED_FILE).read_text().splitlines()]
    assert [line["label"] for line in lines] == [8, None]
    assert all({"picture", "label", "at", "by"} == set(line) for line in lines)
    feedback.settle(folder, [five.name], 5)
    assert FeedbackSet.load(folder).left_out == {}


@pytest.mark.parametrize(("name", "message"), [("none.png", "names no pictures"), ("", "names no pictures")])
def test_a_decision_on_an_unknown_picture_records_nothing(folder: Path, name: str, message: str) -> None:
    known = next(folder.glob("3-*.png")).name
    with pytest.raises(FeedbackError, match=message):
        feedback.settle(folder, [known, name], 1)
    assert not (folder / feedback.SETTLED_FILE).exists()


@pytest.mark.parametrize("line", ["{", "{}", '{"picture": "a", "label": 12}', '{"picture": "a", "label": "7"}', "[]"])
def test_a_damaged_decision_is_an_error_that_names_its_line(folder: Path, line: str) -> None:
    (folder / feedback.SETTLED_FILE).write_text(f'{{"picture": "a", "label": null}}\n{line}\n')
    with pytest.raises(FeedbackError, match=r"settled\.jsonl, line 2: .*; correct or delete it"):
        FeedbackSet.load(folder)


def test_pictures_that_cannot_be_used_are_left_out_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "4-broken.png").write_bytes(b"no picture")
    (tmp_path / "5-several.png").write_bytes(encode_png(row_of_digits(np.full((2, 28, 28), 0, np.uint8) | _bar())))
    (tmp_path / "7-good.png").write_bytes(SEVEN.read_bytes())
    found = FeedbackSet.load(tmp_path)
    assert names(found.pictures) == {"7-good.png"}
    reasons = {path.name: reason for path, reason in found.left_out.items()}
    assert reasons["4-broken.png"].startswith("cannot be read: not a picture")
    assert reasons["5-several.png"] == feedback.SEVERAL_DIGITS


def _bar() -> np.ndarray:
    bar = np.zeros((28, 28), np.uint8)
    bar[4:24, 13:16] = 255
    return bar


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SampleError, match=str(folder)):
            FeedbackSet.load(folder)


def test_corrections_tell_what_was_read(tmp_path: Path) -> None:
    path = save(tmp_path, SEVEN.read_bytes(), 7, prediction=1)
    with (tmp_path / FEEDBACK_LABELS).open("a") as file:
        file.write("damaged\n[]\n")
    assert feedback.read_corrections(tmp_path)[path.name]["read"] == 1
    assert feedback.read_corrections(tmp_path / "absent") == {}


def test_an_export_is_a_feedback_folder_of_the_same_version(folder: Path, tmp_path: Path) -> None:
    path = next(folder.glob("3-*.png"))
    feedback.settle(folder, [path.name], 8)
    feedback.settle(folder, [next(folder.glob("5-*.png")).name], None)
    found = FeedbackSet.load(folder)
    before = os.umask(0o077)
    try:
        feedback.export(found, tmp_path / "sets" / "first")
    finally:
        os.umask(before)
    target = tmp_path / "sets" / "first"
    exported = FeedbackSet.load(target)
    assert exported.version == found.version
    for share, pictures in exported.shares.items():
        assert names(pictures) == {entry.name for entry in (target / share).iterdir()}
    assert json.loads((target / "feedback.json").read_text())["version"] == found.version
    assert any(entry.name == f"8-{path.stem.split('-')[1]}.png" for entry in target.rglob("*.png"))
    assert [entry.name for entry in target.parent.iterdir()] == ["first"]
    assert all(entry.stat().st_mode & 0o044 == 0o044 for entry in target.rglob("*"))
    with pytest.raises(FeedbackError, match="first exists; choose a new folder"):
        feedback.export(found, target)


@pytest.mark.parametrize(
    "line",
    [b'{"picture": "a", "label": true}', b'{"picture": "a", "label": 3.0}', b'{"picture": [1], "label": 1}', b"\xff"],
)
def test_decisions_that_are_none_are_named(line: bytes, folder: Path) -> None:
    (folder / feedback.SETTLED_FILE).write_bytes(line + b"\n")
    with pytest.raises(FeedbackError, match=r"settled\.jsonl, line 1: .*; correct or delete it"):
        FeedbackSet.load(folder)


def test_a_picture_is_settled_by_any_of_its_names(folder: Path) -> None:
    three = next(folder.glob("3-*.png"))
    copies = [folder / f"{digit}-copy.png" for digit in (4, 5)]
    for copy in copies:
        copy.write_bytes(three.read_bytes())
    for path in (three, *copies):
        assert feedback.settle(folder, [path.name], 3) == [path]
    assert {picture.label for picture in FeedbackSet.load(folder).pictures if picture.is_settled} == {3}
