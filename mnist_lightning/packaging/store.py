"""A model store: the archives of the champion, the previous champion and the challenger, each with its description."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from mnist_lightning.common.constants import ARCHIVE, DESCRIPTION
from mnist_lightning.common.digests import short_digest, weights_digest
from mnist_lightning.common.files import copy_atomic, remove_stale, replace_all
from mnist_lightning.serving.config import ARCHIVE_ERRORS
from mnist_lightning.serving.runtime_dir import runtime_dir

SCRATCH = ".packaging-"  # prefix of temporary folders, in the same file system


class Slot(NamedTuple):
    """The names of an archive and of its description."""

    archive: str
    description: str


CHAMPION = Slot(ARCHIVE, DESCRIPTION)
PREVIOUS = Slot("previous.mar", "previous.json")
CHALLENGER = Slot("challenger.mar", "challenger.json")


@contextlib.contextmanager
def lock(store: Path) -> Iterator[None]:
    """Wait until no other process of this user changes a store and MLflow's aliases with it. Raises OSError."""
    name = short_digest(os.fsencode(store.resolve()))
    with FileLock(runtime_dir() / f"store-{name}.lock"):
        yield


@contextlib.contextmanager
def scratch_folder(store: Path) -> Iterator[Path]:
    """A temporary folder in a store, which is created if need be. Raises OSError."""
    if not store.is_dir():
        store.mkdir(parents=True)
        store.chmod(0o755)  # as its files: the user of a container reads them
    remove_stale(store, SCRATCH)
    with tempfile.TemporaryDirectory(dir=store, prefix=SCRATCH) as scratch:
        yield Path(scratch)


def put(folder: Path, store: Path, slot: Slot) -> Path:
    """Move an archive and its description, which a folder holds as those of a champion, to a slot; the archive's path.

    Both replace former ones, or neither does. Raises OSError.
    """
    replace_all({folder / source: store / target for source, target in zip(CHAMPION, slot, strict=True)})
    return store / slot.archive


def keep_previous(folder: Path, store: Path) -> None:
    """Copy the champion's archive and description in a folder, if both are there, to the store's previous ones."""
    if all((folder / name).is_file() for name in CHAMPION):
        for source, target in zip(CHAMPION, PREVIOUS, strict=True):
            copy_atomic(folder / source, store / target)


def exchange(store: Path) -> None:
    """Exchange the champion's archive and its description, if there are any, with the previous ones."""
    targets = {**dict(zip(PREVIOUS, CHAMPION, strict=True)), **dict(zip(CHAMPION, PREVIOUS, strict=True))}
    with scratch_folder(store) as scratch:
        found = [name for name in targets if (store / name).is_file()]
        for name in found:
            copy_atomic(store / name, scratch / name)
        replace_all({scratch / name: store / targets[name] for name in found})


def digest(folder: Path, slot: Slot) -> str:
    """The digest of the weights in a slot's archive; empty if there is no archive, or a damaged one."""
    with contextlib.suppress(OSError, *ARCHIVE_ERRORS):
        return weights_digest(folder / slot.archive)
    return ""


def is_description(path: Path) -> bool:
    """Whether a file describes an archive."""
    with contextlib.suppress(OSError, ValueError):
        described = json.loads(path.read_text())
        return isinstance(described, dict) and "run_id" in described
    return False


def holds(folder: Path, slot: Slot, run_id: str) -> bool:
    """Whether a slot has an intact archive of a run."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        described = json.loads((folder / slot.description).read_text())
        return bool(described["run_id"] == run_id and digest(folder, slot))
    return False
