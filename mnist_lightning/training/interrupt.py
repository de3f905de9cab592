"""Ctrl-C during a training."""

import contextlib
from collections.abc import Iterator

import lightning as L
from lightning.pytorch.trainer.states import TrainerStatus


@contextlib.contextmanager
def ctrl_c_interrupts(trainer: L.Trainer) -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C in the block, which Lightning turns into SystemExit."""
    try:
        yield
    except SystemExit as stop:
        if trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from stop
        raise
