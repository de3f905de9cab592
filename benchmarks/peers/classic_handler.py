"""TorchServe as it comes: a handler on its own base class, one item at a time."""

from typing import Any

import torch
from ts.torch_handler.base_handler import BaseHandler

from benchmarks.peers.reader import Answer, answers, batch
from mnist_lightning.preprocessing.normalize import from_bytes


class ClassicHandler(BaseHandler):
    """The base class loads the network and runs it."""

    def preprocess(self, data: list[dict[str, Any]]) -> torch.Tensor:
        """Requests -> (B, 1, 28, 28)."""
        return batch([from_bytes(bytes(row.get("data") or row.get("body"))) for row in data]).to(self.device)

    def postprocess(self, data: torch.Tensor) -> list[Answer]:
        """Logits (B, 10) -> answers."""
        return answers(data)
