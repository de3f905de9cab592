"""Data-parallel training of one network by several processes that torchrun starts, on one machine or more.

Every step takes the same images as in a single process, and each process takes its share of them; gradients are
averaged, and all processes hold the same weights. Batch normalization uses the statistics of the process's own share;
the trained network keeps the running statistics of process 0.
"""

import os
from typing import Any

import lightning as L
import torch


class DistributedError(RuntimeError):
    """The processes cannot share this training."""


def world_size() -> int:
    """Number of processes that train together; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if torch.distributed.is_torchelastic_launched() else 1


def rank() -> int:
    """Number of this process, from 0. Only process 0 logs runs, promotes and packages."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def trainer_kwargs() -> dict[str, Any]:
    """The arguments of Lightning's Trainer for this process."""
    if world_size() == 1:
        return {"devices": 1}
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return {"strategy": "ddp", "devices": local, "num_nodes": world_size() // local, "use_distributed_sampler": False}


def check(batch_size: int, resuming: bool) -> None:
    """Raise DistributedError if the processes cannot divide a batch, or if several are to resume a training."""
    if batch_size % world_size():
        raise DistributedError(
            f"batch_size is {batch_size}, which {world_size()} processes cannot divide; choose a multiple"
        )
    if resuming and world_size() > 1:
        raise DistributedError(
            f"--resume runs in one process, and torchrun started {world_size()}; run it without torchrun"
        )


class PerRankSeed(L.Callback):
    """Gives every process its own random numbers for augmentation; Lightning seeds all processes alike."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reseed all processes except process 0."""
        if rank():
            torch.manual_seed(torch.initial_seed() + rank())
