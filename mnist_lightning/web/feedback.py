"""Corrected pictures, stored with the user's consent in a folder that `evaluate pictures` reads."""

import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from PIL import Image

from mnist_lightning.common.files import write_atomic
from mnist_lightning.preprocessing.decode import decode

LABELS_FILE, LOCK_FILE = "labels.jsonl", ".lock"


def save(folder: Path, content: bytes, label: int, prediction: int | None = None) -> Path:
    """Save a picture file as LABEL-DIGEST.png, with its label and the prediction as a line of JSON in `labels.jsonl`.

    An earlier label of the same picture is replaced. Only the decoded pixels are stored, at most about 1024 per side,
    because a photograph's metadata can contain its place and date.

    Raises BadPictureError or OSError.
    """
    file = io.BytesIO()
    Image.fromarray(decode(content)).save(file, "PNG")
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:16]
    path = folder / f"{label}-{digest}.png"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"picture": path.name, "label": label, "read": prediction, "at": at}
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_FILE):
        write_atomic(path, file.getvalue())
        others = [other for other in _entries(folder) if not other["picture"].endswith(f"-{digest}.png")]
        lines = "".join(json.dumps(each) + "\n" for each in [*others, entry])
        write_atomic(folder / LABELS_FILE, lines.encode())
        for former in set(folder.glob(f"[0-9]-{digest}.png")) - {path}:
            former.unlink()
    return path


def _entries(folder: Path) -> list[dict[str, str]]:
    path = folder / LABELS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
