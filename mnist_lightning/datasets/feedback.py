"""Feedback as data: corrected pictures, prepared as the server prepares them, for training and for evaluation.

A feedback folder is one that `evaluate pictures` reads. Fixed shares of its pictures, chosen by their digests, are held
out for validation and for evaluation, and never trained on. Beside the pictures, `settled.jsonl` has a line for each
decision of a person on a picture: its digest, and its digit, or null to leave it out. The last line of a picture
counts, whatever the picture's name says.
"""

import hashlib
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from mnist_lightning.common.constants import FEEDBACK_LABELS, FEEDBACK_LOCK
from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.files import append_line, move_folder
from mnist_lightning.common.machine import user_name
from mnist_lightning.datasets.samples import find_labelled
from mnist_lightning.datasets.splits import Batch
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import NormalizedImage, read_picture

SETTLED_FILE, SET_FILE = "settled.jsonl", "feedback.json"
TRAINING, VALIDATION, HELD_OUT = "training", "validation", "held-out"
# The share of each last digit of a picture's digest; another order would move pictures from one share to another.
SHARES = (HELD_OUT, VALIDATION, *[TRAINING] * 3, HELD_OUT, *[TRAINING] * 4)
DIGEST_LENGTH = 16  # hexadecimal digits, as in the names that the page gives
IGNORED, SEVERAL_DIGITS = "ignored by a person", "shows several digits"
THREADS = 8


class FeedbackError(RuntimeError):
    """A feedback folder cannot be used as it is, or has no such picture."""


@dataclass(frozen=True)
class FeedbackPicture:
    """A corrected picture as the network receives it."""

    path: Path
    digest: str  # the first DIGEST_LENGTH hexadecimal digits of the file's SHA-256
    label: int  # the digit that a person chose
    is_settled: bool  # whether `settled.jsonl` says so
    image: NormalizedImage

    @property
    def share(self) -> str:
        """TRAINING, VALIDATION or HELD_OUT."""
        return SHARES[int(self.digest, 16) % len(SHARES)]


@dataclass(frozen=True)
class FeedbackSet:
    """The pictures of a feedback folder."""

    shares: Mapping[str, Sequence[FeedbackPicture]]
    left_out: Mapping[Path, str]  # why other pictures are in none of them
    conflicts: Sequence[Path]  # those of `left_out` that wait for a person's decision

    @classmethod
    def load(cls, folder: Path) -> "FeedbackSet":
        """Read a folder, and prepare its pictures as the server does.

        Of pictures that are the same to the network, one is used, and none if their labels differ.

        Raises:
            SampleError: the folder does not exist, is empty, or has a picture without a label.
            FeedbackError: `settled.jsonl` is damaged.
        """
        settled, labelled = read_settled(folder), dict(find_labelled(folder))
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda path: _prepare(path, labelled[path], settled), labelled))
        groups = _group(picture for picture in found if isinstance(picture, FeedbackPicture))
        unusable = {path: one for path, one in zip(labelled, found, strict=True) if isinstance(one, str)}
        kept = [_representative(group) for group in groups if not _is_conflict(group)]
        return cls(
            shares={
                share: [picture for picture in kept if picture.share == share]
                for share in (TRAINING, VALIDATION, HELD_OUT)
            },
            left_out=unusable | {path: reason for group in groups for path, reason in _reasons(group)},
            conflicts=[picture.path for group in groups if _is_conflict(group) for picture in group],
        )

    @property
    def training(self) -> Sequence[FeedbackPicture]:
        """Those to train on."""
        return self.shares[TRAINING]

    @property
    def validation(self) -> Sequence[FeedbackPicture]:
        """Those to choose among trainings."""
        return self.shares[VALIDATION]

    @property
    def held_out(self) -> Sequence[FeedbackPicture]:
        """Those to compare champion and challenger."""
        return self.shares[HELD_OUT]

    @property
    def pictures(self) -> list[FeedbackPicture]:
        """Those of all shares."""
        return [*self.training, *self.validation, *self.held_out]

    @property
    def version(self) -> str:
        """A digest of the pictures of all shares and their labels."""
        lines = sorted(f"{picture.digest} {picture.label}\n" for picture in self.pictures)
        return short_digest("".join(lines).encode())

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of pictures by share and digit."""
        counted = {name: Counter(picture.label for picture in share) for name, share in self.shares.items()}
        return {name: {str(digit): digits[digit] for digit in range(10)} for name, digits in counted.items()}


def to_batch(pictures: Sequence[FeedbackPicture]) -> Batch:
    """The network's input as images (N, 1, 28, 28) uint8, and labels (N,) int64."""
    images = [_to_uint8(picture) for picture in pictures]
    stacked = np.stack(images) if images else np.empty((0, 28, 28), np.uint8)
    return torch.from_numpy(stacked)[:, None], torch.tensor([picture.label for picture in pictures], dtype=torch.int64)


def read_settled(folder: Path) -> dict[str, int | None]:
    """The decisions by digest: a digit, or None for a picture that is left out. Raises FeedbackError."""
    settled: dict[str, int | None] = {}
    for number, line in _lines(folder / SETTLED_FILE):
        try:
            digest, label = (entry := json.loads(line))["picture"], entry["label"]
            if label is not None and (type(label) is not int or label not in range(10)):
                raise ValueError(f"the label {label!r} is no digit")
            if not isinstance(digest, str):
                raise ValueError(f"the picture {digest!r} is no digest")
        except (ValueError, KeyError, TypeError) as error:
            raise FeedbackError(f"{folder / SETTLED_FILE}, line {number}: {error}; correct or delete it") from error
        settled[digest] = label
    return settled


def read_corrections(folder: Path) -> dict[str, dict[str, object]]:
    """The page's last line on each picture, by file name; lines that are damaged do not count."""
    corrections: dict[str, dict[str, object]] = {}
    for _, line in _lines(folder / FEEDBACK_LABELS):
        try:
            entry = json.loads(line)
            corrections[entry["picture"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return corrections


def settle(folder: Path, names: Iterable[str], label: int | None) -> list[Path]:
    """Record a decision on pictures, given by their file names or the starts of their digests; their paths.

    Raises:
        FeedbackError: a name fits no picture, or several.
        SampleError: as `find_labelled`.
        OSError: the decision cannot be written.
    """
    known = {path: _digest(path.read_bytes()) for path, _ in find_labelled(folder)}
    chosen = [_find(name, known) for name in names]
    decided = {"label": label, "at": datetime.now(UTC).isoformat(timespec="seconds"), "by": user_name()}
    with FileLock(folder / FEEDBACK_LOCK):
        for path in chosen:
            append_line(folder / SETTLED_FILE, json.dumps({"picture": known[path], **decided}))
    return chosen


def export(feedback: FeedbackSet, target: Path) -> None:
    """Copy the pictures of all shares, named by their settled labels, into a new folder, which is a feedback folder.

    Later corrections do not change it, so a training of it can be repeated. Raises FeedbackError, OSError.
    """
    if target.exists():
        raise FeedbackError(f"{target} exists; choose a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.tmp-") as scratch:
        folder = Path(scratch, "set")
        for name, share in feedback.shares.items():
            (folder / name).mkdir(parents=True)
            for picture in share:
                copy = folder / name / f"{picture.label}-{picture.digest}{picture.path.suffix}"
                copy.write_bytes(picture.path.read_bytes())
        described = {"version": feedback.version, "pictures": feedback.counts()}
        (folder / SET_FILE).write_text(json.dumps(described, indent=2) + "\n")
        move_folder(folder, target)


def _prepare(path: Path, label: int, settled: Mapping[str, int | None]) -> FeedbackPicture | str:
    """A picture as the network receives it, or why it is left out."""
    try:
        content = path.read_bytes()
        digest = _digest(content)
        decided = settled.get(digest, label)
        image = read_picture(content)
    except FileNotFoundError:
        return "corrected while it was read"
    except BadPictureError as error:
        return f"cannot be read: {error}"
    if decided is None:
        return IGNORED
    return SEVERAL_DIGITS if image.digits > 1 else FeedbackPicture(path, digest, decided, digest in settled, image)


def _group(pictures: Iterable[FeedbackPicture]) -> list[list[FeedbackPicture]]:
    """The pictures, those together that are the same to the network."""
    groups: dict[bytes, list[FeedbackPicture]] = defaultdict(list)
    for picture in pictures:
        groups[_to_uint8(picture).tobytes()].append(picture)
    return list(groups.values())


def _is_conflict(group: Sequence[FeedbackPicture]) -> bool:
    return len({picture.label for picture in group}) > 1


def _representative(group: Sequence[FeedbackPicture]) -> FeedbackPicture:
    """The picture that is used: one that may be trained on, if there is one. So none that was is held out later."""
    order = (TRAINING, VALIDATION, HELD_OUT)
    return min(group, key=lambda picture: (order.index(picture.share), picture.digest))


def _reasons(group: Sequence[FeedbackPicture]) -> Iterator[tuple[Path, str]]:
    used = _representative(group)
    if _is_conflict(group):
        digits = ", ".join(str(label) for label in sorted({picture.label for picture in group}))
        yield from ((picture.path, f"the same picture is labelled {digits}") for picture in group)
    else:
        yield from ((one.path, f"the same picture as {used.path.name}") for one in group if one is not used)


def _find(name: str, known: Mapping[Path, str]) -> Path:
    """A file with this name or start of its digest. Files with the same content are one picture."""
    found = [path for path, digest in known.items() if path.name == name or (name and digest.startswith(name))]
    count = len({known[path] for path in found})
    if count != 1:
        raise FeedbackError(f"{name!r} names {count or 'no'} pictures; use a file name or the start of a digest")
    return found[0]


def _to_uint8(picture: FeedbackPicture) -> np.ndarray:
    return np.asarray((picture.image.image * 255).round(), dtype=np.uint8)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, from 1; none if there is no such file."""
    if path.is_file():
        yield from enumerate(path.read_text(errors="replace").splitlines(), start=1)
