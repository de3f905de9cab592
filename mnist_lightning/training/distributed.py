"""One training by several processes, on one machine or more: what torchrun says of this one, and what follows.

Every step takes the same images as in one process, each process its part of them; gradients are averaged, so that all
hold the same weights. Batch normalisation takes the statistics of the process's own part, and the running ones, which
the trained network keeps, are those of process 0.
"""

import os
from typing import Any

import lightning as L
import torch


class ClusterError(RuntimeError):
    """The processes cannot share this training."""


def size() -> int:
    """How many processes train together; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if torch.distributed.is_torchelastic_launched() else 1


def rank() -> int:
    """This process's number among them; 0 alone records, chooses and archives."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def placement() -> dict[str, Any]:
    """Lightning's arguments for it."""
    if size() == 1:
        return {"devices": 1}
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return {"strategy": "ddp", "devices": here, "num_nodes": size() // here, "use_distributed_sampler": False}


def check(batch_size: int, resuming: bool) -> None:
    """Raises ClusterError where a batch cannot be divided among the processes, or only one of them can go on."""
    if batch_size % size():
        raise ClusterError(f"batch_size is {batch_size}, which {size()} processes cannot divide; choose a multiple")
    if resuming and size() > 1:
        raise ClusterError(f"--resume goes on in one process, and these are {size()}: start it without torchrun")


class Apart(L.Callback):
    """Lightning gives every process the same random numbers; their pictures are to be augmented each in its own way."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Process 0 keeps its own."""
        if rank():
            torch.manual_seed(torch.initial_seed() + rank())
