"""Corrected pictures, stored with the user's consent in a folder that `evaluate pictures` reads.

A picture is the file LABEL-DIGEST.png, so that its name is its label. `labels.jsonl` has a line for every correction,
with the prediction and the time. Of the lines that name a picture, the last one counts. A line counts only while its
picture is there: a later correction has renamed it, or the process was killed before it was stored.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from PIL import Image

from mnist_lightning.common.constants import FEEDBACK_LABELS, FEEDBACK_LOCK
from mnist_lightning.common.files import append_line, replace_all, write_atomic
from mnist_lightning.preprocessing.decode import decode

FOLDER = Path("data/feedback")  # by default


@dataclass(frozen=True)
class Quota:
    """The most that the folder may hold: the page's visitors write it, and they must not fill the disk."""

    pictures: int = 10_000
    bytes: int = 1_000_000_000  # of all files


DEFAULT_QUOTA = Quota()


class QuotaError(RuntimeError):
    """The folder is full."""


def save(folder: Path, content: bytes, label: int, prediction: int | None = None, quota: Quota = DEFAULT_QUOTA) -> Path:
    """Save a picture file as LABEL-DIGEST.png, with its label and the prediction as a line of JSON in `labels.jsonl`.

    An earlier label of the same picture is replaced. Only the decoded pixels are stored, at most about 1024 per side,
    because a photograph's metadata can contain its place and date.

    Raises BadPictureError, QuotaError or OSError.
    """
    file = io.BytesIO()
    Image.fromarray(decode(content)).save(file, "PNG")
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:16]
    path = folder / f"{label}-{digest}.png"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"picture": path.name, "label": label, "read": prediction, "at": at})
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / FEEDBACK_LOCK):
        stored = [one for one in (folder / f"{digit}-{digest}.png" for digit in range(10)) if one.exists()]
        _check(folder, quota, new_bytes=len(line) + 1 + (0 if stored else file.tell()), is_new=not stored)
        append_line(folder / FEEDBACK_LABELS, line)  # first: without its picture it does not count
        if not stored:
            write_atomic(path, file.getvalue())
        for former in stored:  # one; two if an earlier release was killed
            replace_all({former: path})
    return path


def _check(folder: Path, quota: Quota, *, new_bytes: int, is_new: bool) -> None:
    """Raise QuotaError unless the folder has room."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    pictures = sum(name.endswith(".png") for name in sizes) + is_new
    if pictures > quota.pictures or sum(sizes.values()) + new_bytes > quota.bytes:
        raise QuotaError(
            f"{folder} is full: it may hold {quota.pictures:,} pictures and {quota.bytes / 1e6:,.0f} MB; "
            "move its files elsewhere, or start the page with --feedback FOLDER"
        )
