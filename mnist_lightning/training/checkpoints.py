"""Checkpoints that are written whole or not at all."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from mnist_lightning.common.files import write_atomic
from mnist_lightning.models.digitnet import to_bytes


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint in one step.

    Lightning writes to the system's temporary folder and moves the file over the former one. Where that is another
    file system, a move is a copy, and an interruption leaves neither checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint. Raises OSError; the former one remains."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, to_bytes(checkpoint))
