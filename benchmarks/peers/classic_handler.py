"""TorchServe's default: a handler derived from its base class, which gets one request at a time."""

from typing import Any

import numpy as np
import torch
from ts.torch_handler.base_handler import BaseHandler

from benchmarks.peers.predictor import Answer, format_answers
from mnist_lightning.preprocessing.normalize import from_bytes


class ClassicHandler(BaseHandler):  # type: ignore[misc]
    """The base class loads the network and runs it."""

    def preprocess(self, data: list[dict[str, Any]]) -> torch.Tensor:
        """Requests -> images (B, 1, 28, 28)."""
        contents = [bytes(request.get("data") or request["body"]) for request in data]
        images = np.stack([from_bytes(content) for content in contents])
        return torch.from_numpy(images).unsqueeze(1).to(self.device)

    def postprocess(self, data: torch.Tensor) -> list[Answer]:
        """Logits (B, 10) -> answers."""
        return format_answers(data.softmax(dim=1).numpy())
