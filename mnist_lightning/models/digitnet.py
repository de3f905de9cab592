"""The network that classifies digits. It needs torch alone, because the archive carries it."""

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnist_lightning.common.files import write_atomic
from mnist_lightning.models.ood import OODHead

WIDTHS = (24, 48, 64, 64, 96)
Weights = Mapping[str, torch.Tensor]
ARCHITECTURE, STATE_DICT = "architecture", "state_dict"  # keys of a file of weights
LEGACY_KEYS = {  # of state_dicts written before the architecture was stored beside them
    "judge.first.": "ood_head.hidden.",
    "judge.last.": "ood_head.output.",
    "judge.heat": "ood_head.logit_scale",
    "judge.trust": "ood_head.energy_weight",
    "judge.threshold": "ood_head.threshold",
}


@dataclass(frozen=True)
class Architecture:
    """What it takes to build a DigitNet that a state_dict fits."""

    widths: Sequence[int] = WIDTHS
    """Channels after each 3×3 convolution, two or more."""
    ood_hidden: int = 0
    """Hidden units of the out-of-distribution head; 0 if there is none."""
    pooled: bool = True
    """Whether it has the layers of releases up to 0.1, as in files that do not say."""


class DigitNet(nn.Module):
    """A convolutional network, (B, 1, 28, 28) floats in [0, 1] -> (B, 10) logits; 140,000 weights by default.

    On an ordinary processor multiply-adds are what costs, and work at 28×28 would dominate them. So the picture is
    first folded to four channels of 14×14 (no pixel is lost). The first convolution has no padding, because the border
    of MNIST's pictures is blank, and the second one has a stride: 14×14, 12×12, 5×5. The middle ones keep 5×5, and the
    last one reduces it to 3×3. LeakyReLU is faster than ReLU in the backward pass.

    Args:
        widths: channels after each 3×3 convolution, at least two.
        pooled: the layers of releases up to 0.1: all convolutions are padded, and a pool, which precedes normalization
            and activation, follows the second and the last one. Three times as many multiply-adds at the same widths.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, *, pooled: bool = False) -> None:
        super().__init__()
        self.widths, self.pooled = tuple(widths), pooled
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]  # (B, 4, 14, 14)
        last = len(self.widths) - 1
        for place, (inputs, outputs) in enumerate(pairwise((4, *widths))):
            if pooled:
                layers += _block(inputs, outputs, padding=1, pool=place in (1, last))
            else:
                layers += _block(inputs, outputs, padding=int(1 < place < last), stride=2 if place == 1 else 1)
        self.features = nn.Sequential(*layers)  # (B, widths[-1], 3, 3)
        side = 3 if len(widths) > 2 else 7 if pooled else 5
        self.head = nn.Linear(widths[-1] * side * side, 10)
        self.ood_head: OODHead | None = None  # fitted after the classifier, by training.ood

    @property
    def architecture(self) -> Architecture:
        """The architecture to store beside the weights."""
        hidden = self.ood_head.hidden.out_features if self.ood_head is not None else 0
        return Architecture(self.widths, hidden, self.pooled)

    @classmethod
    def from_state_dict(cls, weights: Weights, architecture: Architecture | None = None) -> "DigitNet":
        """Build the network of a state_dict, in evaluation mode.

        Without an `architecture`, as in files written before it was stored, the shapes of the weights tell it.
        Raises RuntimeError for weights that do not fit.
        """
        if architecture is None:
            weights = {_current_key(name): value for name, value in weights.items()}
            architecture = _architecture_of(weights)
        network = cls(architecture.widths, pooled=architecture.pooled)
        if architecture.ood_hidden:
            network.ood_head = OODHead(network.head.in_features, architecture.ood_hidden)
        network.load_state_dict(weights, strict=True)
        return network.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the ten digits, (B, 10)."""
        logits: torch.Tensor = self.head(self.embed(images))
        return logits

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The features that the logits are computed from, (B, head.in_features)."""
        features: torch.Tensor = self.features(images).flatten(1)
        return features

    def predict_with_ood(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The logits that `forward` returns, (B, 10), and log-odds (B,) that each picture shows a digit.

        Raises RuntimeError if the network has no out-of-distribution head.
        """
        if self.ood_head is None:
            raise RuntimeError("this network has no out-of-distribution head; train it again")
        features = self.embed(images)
        logits: torch.Tensor = self.head(features)
        return logits, self.ood_head(features, logits)

    def predict_probabilities(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities of the ten digits, (B, 10), and of showing a digit, (B,). Raises as `predict_with_ood`."""
        logits, log_odds = self.predict_with_ood(images)
        return logits.softmax(dim=1), log_odds.sigmoid()

    @property
    def threshold(self) -> float:
        """The probability of showing a digit below which a picture is rejected; 0 without an OOD head."""
        return 0.0 if self.ood_head is None else self.ood_head.threshold.sigmoid().item()

    def with_temperature(self, temperature: float) -> "DigitNet":
        """A copy whose logits are divided by a temperature, at no cost to the server; its OOD scores do not change."""
        network = copy.deepcopy(self).requires_grad_(False)
        network.head.weight.div_(temperature)
        network.head.bias.div_(temperature)
        if network.ood_head is not None:
            network.ood_head.logit_scale *= temperature
        return network


def save(network: DigitNet, path: Path) -> None:
    """Write a network's architecture and its weights, rounded to 16 bits, for `load`. Raises OSError."""
    weights = {name: _rounded(tensor).contiguous() for name, tensor in network.state_dict().items()}
    write_atomic(path, to_bytes({ARCHITECTURE: _plain(network.architecture), STATE_DICT: weights}))


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    """A matrix of weights in 16 bits; biases and statistics keep theirs."""
    return tensor.half() if tensor.ndim > 1 else tensor


def to_bytes(checkpoint: Mapping[str, object]) -> bytes:
    """The content of a file that `torch.load` reads. `torch.save` to a path hides the reason if the disk is full."""
    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def load(content: bytes) -> DigitNet:
    """The network of a file that `save` wrote, or of a plain state_dict. Raises RuntimeError."""
    try:
        checkpoint = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file raises errors of many types
        raise RuntimeError(f"the file of weights is damaged: {error}") from error
    if not isinstance(checkpoint, Mapping):
        raise RuntimeError("these are not the weights of a DigitNet")
    return from_checkpoint(checkpoint)


def from_checkpoint(checkpoint: Mapping[str, object], prefix: str = "") -> DigitNet:
    """The network of a checkpoint's entries `state_dict` and `architecture`, whose keys start with `prefix`.

    A mapping without `state_dict` is taken for one itself. Raises RuntimeError.
    """
    found = checkpoint.get(STATE_DICT, checkpoint)
    if not isinstance(found, Mapping):
        raise RuntimeError("the checkpoint's state_dict is not a mapping")
    weights = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    stored: Any = checkpoint.get(ARCHITECTURE)
    try:
        architecture = None if stored is None else Architecture(**stored)
    except TypeError as error:
        raise RuntimeError(f"the checkpoint's architecture is not that of a DigitNet: {stored}") from error
    return DigitNet.from_state_dict(weights, architecture)


def checkpoint_of(network: DigitNet, prefix: str = "") -> dict[str, object]:
    """The entries that `from_checkpoint` reads."""
    weights = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    return {ARCHITECTURE: _plain(network.architecture), STATE_DICT: weights}


@torch.inference_mode()
def predict_logits(network: nn.Module, images: torch.Tensor, batch_size: int = 1_000) -> torch.Tensor:
    """Logits (N, 10) float32 of uint8 images (N, 1, 28, 28), computed in float32 as the server does."""
    network = network.eval()
    device = next(network.parameters()).device
    parts = [network(part.to(device).float() / 255).float().cpu() for part in torch.split(images, batch_size)]
    return torch.cat(parts)


def bfloat16_is_faster(device: str) -> bool:
    """Whether "cpu" or "cuda" multiplies bfloat16 faster than float32: with AMX or AVX512-BF16, or a recent GPU.

    Instruction sets that ATEN_CPU_CAPABILITY or ONEDNN_MAX_CPU_ISA hide from torch do not count: without them, a
    training with bfloat16 takes several times as long as one with float32.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    exists = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    used = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    return bool(exists and used and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _plain(architecture: Architecture) -> dict[str, object]:
    """Numbers and lists, which `torch.load` reads with ``weights_only=True``."""
    return {**asdict(architecture), "widths": list(architecture.widths)}


def _current_key(name: str) -> str:
    for former, current in LEGACY_KEYS.items():
        name = name.replace(former, current)
    return name


def _architecture_of(weights: Weights) -> Architecture:
    widths = [value.shape[0] for value in weights.values() if value.ndim == 4]  # one convolution a layer
    if len(widths) < 2:
        raise RuntimeError("these are not the weights of a DigitNet")
    hidden = weights.get("ood_head.hidden.weight")
    return Architecture(widths, 0 if hidden is None else len(hidden))


def _block(inputs: int, outputs: int, *, padding: int, stride: int = 1, pool: bool = False) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=padding, bias=False)
    pooling: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    return [convolution, *pooling, nn.BatchNorm2d(outputs), nn.LeakyReLU(inplace=True)]
