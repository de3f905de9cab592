"""Corrected pictures in a folder."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from mnist_lightning.datasets import samples
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.web import feedback
from tests.support import SEVEN

DIGIT = SEVEN.read_bytes()


def resized(side: int) -> bytes:
    file = io.BytesIO()
    Image.open(SEVEN).resize((side, side)).save(file, "PNG")
    return file.getvalue()


def entries(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / feedback.LABELS_FILE).read_text().splitlines()]


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
    visible = {path.name for path in tmp_path.iterdir() if path.name != feedback.LOCK_FILE}
    assert visible == {second.name, last.name, feedback.LABELS_FILE}
    assert [(entry["picture"], entry["label"]) for entry in entries(tmp_path)] == [(second.name, 2), (last.name, 7)]
    assert [sample.label for sample in samples.load_folder(tmp_path)] == [2, 7]


def test_labels_stored_by_earlier_versions_are_kept(tmp_path: Path) -> None:
    earlier = {"picture": "3-0123456789abcdef.png", "label": 3, "read": 5, "at": "2025-01-01T00:00:00+00:00"}
    (tmp_path / feedback.LABELS_FILE).write_text(json.dumps(earlier) + "\n")
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
