"""How the networks that ship with the package are trained: for a number of epochs, logged to a run of MLflow."""

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from mnist_lightning.training.module import precision
from mnist_lightning.training.progress import TrainingProgress
from mnist_lightning.training.run_logger import RunLogger


def trainer(
    name: str, metric: str, epochs: int, experiment: str, run_id: str | None, max_gradient: float | None = None
) -> L.Trainer:
    """A trainer on one device.

    Args:
        name: of the network, in the lines of progress.
        metric: that the lines of progress show.
        epochs: how many.
        experiment: of the run.
        run_id: the run that curves are logged to; None logs none.
        max_gradient: norm to which gradients are clipped; None does not clip.
    """
    return L.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        devices=1,
        precision=precision(),
        gradient_clip_val=max_gradient,
        logger=run_id is not None and RunLogger(experiment, run_id),
        callbacks=[TrainingProgress(name, metric)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def one_cycle(module: L.LightningModule, learning_rate: float, weight_decay: float) -> OptimizerLRScheduler:
    """AdamW with one cycle of the learning rate."""
    steps = int(module.trainer.estimated_stepping_batches)
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.15)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
