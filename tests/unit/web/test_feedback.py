"""Corrected pictures in a folder."""

import contextlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mnist_lightning.common.constants import FEEDBACK_LABELS, FEEDBACK_LOCK
from mnist_lightning.datasets import samples
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.web import feedback
from mnist_lightning.web.feedback import Quota, QuotaError
from tests.disks import file_size_limit
from tests.support import SEVEN

DIGIT = SEVEN.read_bytes()


def resized(side: int) -> bytes:
    file = io.BytesIO()
    Image.open(SEVEN).resize((side, side)).save(file, "PNG")
    return file.getvalue()


def entries(folder: Path) -> list[dict[str, object]]:
    """The lines that count: the last one of each picture that is there."""
    lines = [json.loads(line) for line in (folder / FEEDBACK_LABELS).read_text().splitlines()]
    return list({line["picture"]: line for line in lines if (folder / line["picture"]).exists()}.values())


def test_metadata_is_not_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera's name"  # rotated by 90°
    photograph = io.BytesIO()
    Image.open(SEVEN).convert("RGB").rotate(90).save(photograph, "JPEG", exif=exif)
    path = feedback.save(tmp_path, photograph.getvalue(), 7, 1)
    assert b"camera" not in path.read_bytes()
    assert (from_bytes(path.read_bytes()) == from_bytes(photograph.getvalue())).all()


def test_last_label_of_a_picture_replaces_earlier_ones(tmp_path: Path) -> None:
    feedback.save(tmp_path, DIGIT, 1)
    second = feedback.save(tmp_path, resized(140), 2)
    last = feedback.save(tmp_path, DIGIT, 7)
    visible = {path.name for path in tmp_path.iterdir() if path.name != FEEDBACK_LOCK}
    assert visible == {second.name, last.name, FEEDBACK_LABELS}
    assert [(entry["picture"], entry["label"]) for entry in entries(tmp_path)] == [(second.name, 2), (last.name, 7)]
    assert [sample.label for sample in samples.load_folder(tmp_path)] == [2, 7]


def test_labels_stored_by_earlier_versions_are_kept(tmp_path: Path) -> None:
    earlier: dict[str, Any] = {
        "picture": "3-0123456789abcdef.png",
        "label": 3,
        "read": 5,
        "at": "2025-01-01T00:00:00+00:00",
    }
    (tmp_path / FEEDBACK_LABELS).write_text(json.dumps(earlier) + "\n")
    (tmp_path / earlier["picture"]).write_bytes(DIGIT)
    feedback.save(tmp_path, DIGIT, 7, 1)
    first, second = entries(tmp_path)
    assert first == earlier
    assert (second["label"], second["read"], set(second)) == (7, 1, set(earlier))


def test_concurrent_saves_lose_no_line(tmp_path: Path) -> None:
    def save(side: int) -> str:
        return feedback.save(tmp_path, resized(side), side % 10).name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(save, range(60, 100)))
    assert sorted(str(entry["picture"]) for entry in entries(tmp_path)) == sorted(names)
    assert len(list(samples.load_folder(tmp_path))) == len(names)


def test_two_labels_that_an_earlier_version_left_become_one(tmp_path: Path) -> None:
    """It wrote the new picture before it deleted the former one, and could be killed in between."""
    path = feedback.save(tmp_path, DIGIT, 1)
    path.with_name(path.name.replace("1-", "7-")).write_bytes(path.read_bytes())
    last = feedback.save(tmp_path, DIGIT, 3)
    assert list(tmp_path.glob("*.png")) == [last]
    assert [entry["label"] for entry in entries(tmp_path)] == [3]


def test_the_list_is_appended_to(tmp_path: Path) -> None:
    feedback.save(tmp_path, DIGIT, 7)
    path = tmp_path / FEEDBACK_LABELS
    inode, content = path.stat().st_ino, path.read_bytes()
    feedback.save(tmp_path, resized(140), 2)
    assert path.stat().st_ino == inode
    assert path.read_bytes().startswith(content)


def test_a_full_folder_takes_no_new_picture_but_other_labels(tmp_path: Path) -> None:
    feedback.save(tmp_path, DIGIT, 1, quota=Quota(pictures=1))
    before = sorted(tmp_path.iterdir())
    message = rf"^{tmp_path} is full: it may hold 1 pictures and 1,000 MB; move its files .* --feedback FOLDER$"
    with pytest.raises(QuotaError, match=message):
        feedback.save(tmp_path, resized(140), 2, quota=Quota(pictures=1))
    assert sorted(tmp_path.iterdir()) == before
    feedback.save(tmp_path, DIGIT, 7, quota=Quota(pictures=1))
    assert [entry["label"] for entry in entries(tmp_path)] == [7]


def test_the_bytes_of_all_files_are_limited(tmp_path: Path) -> None:
    feedback.save(tmp_path, DIGIT, 1)
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    quota = Quota(bytes=used + 1000)
    for _ in range(20):  # labels of one picture, too
        with contextlib.suppress(QuotaError):
            feedback.save(tmp_path, DIGIT, 7, quota=quota)
    with pytest.raises(QuotaError):
        feedback.save(tmp_path, resized(140), 2, quota=quota)
    assert used < sum(path.stat().st_size for path in tmp_path.iterdir()) <= quota.bytes


def test_a_full_disk_leaves_the_former_label(tmp_path: Path) -> None:
    feedback.save(tmp_path, DIGIT, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with file_size_limit((tmp_path / FEEDBACK_LABELS).stat().st_size), pytest.raises(OSError, match="too large"):
        feedback.save(tmp_path, DIGIT, 7)
    with file_size_limit(300), pytest.raises(OSError, match="too large"):
        feedback.save(tmp_path, resized(140), 2)
    assert [entry["label"] for entry in entries(tmp_path)] == [1]
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != FEEDBACK_LABELS}
    assert left == {name: content for name, content in before.items() if name != FEEDBACK_LABELS}
