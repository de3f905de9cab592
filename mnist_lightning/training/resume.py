"""Resuming interrupted trainings: each keeps what it needs to continue in a folder that outlives the process."""

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.callbacks import Checkpoint

from mnist_lightning.common.files import write_atomic

FOLDER = Path("checkpoints")
RECIPE = "recipe.yaml"


class ResumeError(RuntimeError):
    """A training cannot be resumed."""


@dataclass(frozen=True)
class Workspace:
    """One process's part of a comparison: FOLDER/COMPARISON_RUN_ID-…, with its recipe and RUN_ID/{best,last}.ckpt."""

    folder: Path

    @classmethod
    @contextlib.contextmanager
    def create(cls, comparison_id: str, recipe_yaml: str) -> Iterator["Workspace"]:
        """A new workspace, locked inside the block as by `lock`."""
        FOLDER.mkdir(exist_ok=True)
        workspace = cls(Path(tempfile.mkdtemp(dir=FOLDER, prefix=f"{comparison_id}-")))
        with workspace.lock():
            write_atomic(workspace.folder / RECIPE, recipe_yaml.encode())  # from now on `interrupted` finds it
            yield workspace

    @property
    def comparison_id(self) -> str:
        """The comparison's run in MLflow."""
        return self.folder.name.partition("-")[0]

    @property
    def recipe_yaml(self) -> str:
        """The recipe that the training was started with."""
        return (self.folder / RECIPE).read_text()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the workspace; delete its folder when the block ends without an exception.

        The operating system releases the lock if the process dies.

        Raises:
            ResumeError: another process has locked the workspace.
        """
        try:
            held = self._file_lock.acquire(timeout=0)
        except Timeout as error:
            raise ResumeError(f"another process is running the training of {self.folder}") from error
        with held:
            yield
            (self.folder / RECIPE).unlink()
        shutil.rmtree(self.folder)  # after the lock is released: Windows deletes no open file

    def is_locked(self) -> bool:
        """Whether a living process holds the lock."""
        try:
            with self._file_lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    @property
    def _file_lock(self) -> FileLock:
        return FileLock(self.folder / "lock")


def interrupted() -> list[Workspace]:
    """The workspaces that no living process has locked, newest first."""
    recipes = sorted(FOLDER.glob(f"*/{RECIPE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [workspace for workspace in (Workspace(path.parent) for path in recipes) if not workspace.is_locked()]


class ResumeCheckpoint(Checkpoint):
    """Writes `last.ckpt` after every epoch, with the state of the random number generators and the training time.

    Lightning leaves these two out. The order of the training images needs no state: it depends only on the seed and
    the epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self.seconds_before, self.started = 0.0, time.perf_counter()
        self.random_state: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        """The key in checkpoints; a former name of this class, under which older checkpoints have it too."""
        return "Continuity"

    @property
    def seconds(self) -> float:
        """Training time so far, in seconds, without epochs that were lost in interruptions."""
        return self.seconds_before + time.perf_counter() - self.started

    def state_dict(self) -> dict[str, Any]:
        """Training time and random state, for every checkpoint."""
        return {"seconds": self.seconds, "random": random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the training time; the random state is restored when the next epoch starts."""
        self.seconds_before, self.random_state = state_dict["seconds"], state_dict["random"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """In the first epoch of a resumed training, restore the random state."""
        if self.random_state:
            restore_random_state(self.random_state)
            iter(trainer.train_dataloader or [])  # draws a number, as before every epoch; this time it was too early
            self.random_state = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the checkpoint."""
        trainer.save_checkpoint(self.path, weights_only=False)


def random_state() -> dict[str, Any]:
    """The states of all random number generators, in types that `torch.load` reads with ``weights_only=True``."""
    numbers = np.random.get_state(legacy=False)
    numbers["state"]["key"] = torch.from_numpy(numbers["state"]["key"].astype(np.int64))
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": devices, "numpy": numbers, "python": random.getstate()}


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    numbers = state["numpy"]
    key = numbers["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numbers, "state": {**numbers["state"], "key": key}})
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
