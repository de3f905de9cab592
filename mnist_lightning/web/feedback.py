"""What people say a picture really shows, kept on this machine: a folder as `evaluate pictures` reads it."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from mnist_lightning.preprocessing.decode import decode

LINES = "labels.jsonl"


def keep(folder: Path, content: bytes, label: int, read: int | None = None) -> Path:
    """Keep a picture file as LABEL-DIGEST.png, and a line of JSON about it; what it was `read` as goes there too.

    The file and the lines are each written whole or not at all. What was said before of the same picture is replaced.
    Kept are the pixels that are read, at most about 1024 a side, and nothing else of the file: a photograph's says
    where and when it was taken.

    Raises BadPictureError or OSError.
    """
    file = io.BytesIO()
    Image.fromarray(decode(content)).save(file, "PNG")
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:16]
    path = folder / f"{label}-{digest}.png"
    line = {"picture": path.name, "label": label, "read": read, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _write(path, file.getvalue())
        others = [kept for kept in _lines(folder) if not kept["picture"].endswith(f"-{digest}.png")]
        _write(folder / LINES, "".join(json.dumps(kept) + "\n" for kept in [*others, line]).encode())
        for former in set(folder.glob(f"[0-9]-{digest}.png")) - {path}:
            former.unlink()
    return path


def _lines(folder: Path) -> list[dict[str, str]]:
    path = folder / LINES
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, of whatever thread or process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
