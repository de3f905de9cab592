"""Trainings that are under way or were interrupted: what each needs to go on, in a folder that outlives the process."""

import contextlib
import fcntl
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
from lightning.pytorch.callbacks import Checkpoint

FOLDER = Path("checkpoints")
RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Work:
    """One process's part of a comparison: FOLDER/COMPARISON_RUN_ID-…, with its recipe and RUN_ID/{best,last}.ckpt."""

    folder: Path

    @property
    def comparison_id(self) -> str:
        """The comparison's run in MLflow."""
        return self.folder.name.partition("-")[0]

    @property
    def recipe(self) -> str:
        """The recipe that the process was started with, as YAML text."""
        return (self.folder / RECIPE).read_text()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else goes on with it inside the block; the folder is deleted when the block ends without exception.

        Raises BlockingIOError where a living process holds it. The system lets go of it when the process dies.
        """
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
            shutil.rmtree(self.folder)


@contextlib.contextmanager
def begun(comparison_id: str, recipe: str) -> Iterator[Work]:
    """A new part of a comparison, held."""
    FOLDER.mkdir(exist_ok=True)
    work = Work(Path(tempfile.mkdtemp(dir=FOLDER, prefix=f"{comparison_id}-")))
    with work.held():
        (work.folder / RECIPE).write_text(recipe)  # last: what has no recipe is not found by `interrupted`
        yield work


def interrupted() -> list[Work]:
    """What no living process works on, the newest first."""
    recipes = sorted(FOLDER.glob(f"*/{RECIPE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [work for work in (Work(path.parent) for path in recipes) if _is_free(work)]


def _is_free(work: Work) -> bool:
    with (work.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


class Continuity(Checkpoint):
    """Writes `last.ckpt` after every epoch, with what Lightning leaves out: the random numbers' state, and the clock.

    The order of the training images needs no state: it follows from the seed and the epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self.before, self.started = 0.0, time.perf_counter()
        self.random: dict[str, Any] = {}

    @property
    def seconds(self) -> float:
        """How long the training took so far, without what was lost by interruptions."""
        return self.before + time.perf_counter() - self.started

    def state_dict(self) -> dict[str, Any]:
        """What goes into every checkpoint."""
        return {"seconds": self.seconds, "random": random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.before, self.random = state_dict["seconds"], state_dict["random"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The random numbers of an epoch that follows a checkpoint, as if nothing had been between."""
        if self.random:
            restore_random_state(self.random)
            iter(trainer.train_dataloader or [])  # draws a number, as at every epoch's start; here it came too early
            self.random = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Whole or not at all, as Lightning writes every checkpoint."""
        trainer.save_checkpoint(self.path, weights_only=False)


def random_state() -> dict[str, Any]:
    """The state of every source of random numbers, in what torch.load takes without trust."""
    numbers = np.random.get_state(legacy=False)
    numbers["state"]["key"] = torch.from_numpy(numbers["state"]["key"].astype(np.int64))
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": devices, "numpy": numbers, "python": random.getstate()}


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    numbers = state["numpy"]
    key = numbers["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numbers, "state": {**numbers["state"], "key": key}})
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
