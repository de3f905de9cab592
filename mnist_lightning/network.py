"""The network that reads a digit. Pure torch, so that the archive can carry this file and nothing else."""

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTHS = (32, 64, 96, 96, 128)


class DigitNet(nn.Module):
    """A convolutional network, (B, 1, 28, 28) floats in [0, 1] -> (B, 10) logits; 281,000 weights as it comes.

    Its shape follows the clock of a CPU: work at 28×28 is what costs, so the picture is first folded to
    four channels of 14×14 (no pixel is lost), and the pools come before normalisation and activation,
    which then have a quarter of the pixels to pass over. LeakyReLU is faster than ReLU backwards.

    Args:
        widths: channels after each 3×3 convolution, at least two; a pool follows the second and the last.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]  # (B, 4, 14, 14)
        for place, (inputs, outputs) in enumerate(pairwise((4, *widths))):
            layers += _block(inputs, outputs, pool=place in (1, len(widths) - 1))
        self.features = nn.Sequential(*layers)  # (B, widths[-1], 3, 3)
        side = 3 if len(widths) > 2 else 7
        self.head = nn.Linear(widths[-1] * side * side, 10)
        self.judge: Judge | None = None  # fitted when the ten digits are learnt: rejection.py

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor]) -> "DigitNet":
        """The network that a state_dict belongs to, ready to predict. Raises RuntimeError for any other weights."""
        widths = [value.shape[0] for value in weights.values() if value.ndim == 4]  # one convolution a layer
        if len(widths) < 2:
            raise RuntimeError("these are not a digit network's weights")
        made = cls(widths)
        if Judge.FIRST in weights:
            made.judge = Judge(made.head.in_features, len(weights[Judge.FIRST]))
        made.load_state_dict(weights, strict=True)
        return made.eval()

    def prepared(self) -> "DigitNet":
        """A copy made fast for the server: normalisation folded into the convolution before it, bfloat16 where it pays.

        Where a pool lies between the two, they stay: a maximum does not survive a negative factor.
        """
        made = copy.deepcopy(self).eval()
        layers: list[nn.Module] = []
        for layer in made.features:
            if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
                layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
            else:
                layers.append(layer)
        made.features = nn.Sequential(*layers)
        made.features.to(torch.bfloat16 if bfloat16_pays(self.head.weight.device.type) else torch.float32)
        return made.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities of the ten digits, (B, 10)."""
        logits: torch.Tensor = self.head(self.penultimate(images))
        return logits

    def penultimate(self, images: torch.Tensor) -> torch.Tensor:
        """What the answers are made of, (B, head.in_features)."""
        first = next(self.features.parameters())
        features: torch.Tensor = self.features(images.to(first.dtype)).flatten(1)
        return features.to(self.head.weight.dtype)

    def judged(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The logits that `forward` gives, (B, 10), and log-odds (B,) that it is a digit at all.

        Raises RuntimeError where no judge was fitted.
        """
        if self.judge is None:
            raise RuntimeError("this network was never told what is no digit; train it again")
        features = self.penultimate(images)
        logits: torch.Tensor = self.head(features)
        return logits, self.judge(features, logits)

    @property
    def threshold(self) -> float:
        """The probability of being a digit at all below which a picture is refused; 0 where no judge was fitted."""
        return 0.0 if self.judge is None else self.judge.threshold.sigmoid().item()

    def cooled(self, temperature: float) -> "DigitNet":
        """A copy whose ten logits are divided by a temperature, at no cost to the server; its judge says the same."""
        made = copy.deepcopy(self).requires_grad_(False)
        made.head.weight.div_(temperature)
        made.head.bias.div_(temperature)
        if made.judge is not None:
            made.judge.heat *= temperature
        return made


class Judge(nn.Module):
    """Whether it is a digit at all: features (B, F) and their ten logits (B, 10) -> log-odds (B,).

    The sum of what a small network has learnt from pictures of other things, and of the logits' energy, which is low
    for what the ten-way network has never seen. After Hendrycks, Mazeika and Dietterich, "Deep Anomaly Detection with
    Outlier Exposure" (2019), and Liu et al., "Energy-based Out-of-distribution Detection" (2020).

    Args:
        features: how many a picture has.
        hidden: units of the small network.
    """

    FIRST = "judge.first.weight"  # among a DigitNet's weights
    heat: torch.Tensor  # what the logits were divided by since it was fitted
    trust: torch.Tensor  # the weight of the energy
    threshold: torch.Tensor  # log-odds below which a picture is refused

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, hidden), nn.Linear(hidden, 1)
        for name, value in {"heat": 1.0, "trust": 1.0, "threshold": 0.0}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Log-odds (B,)."""
        return self.learnt(features) + self.trust * (logits * self.heat).logsumexp(dim=1)

    def learnt(self, features: torch.Tensor) -> torch.Tensor:
        """The part that was learnt, (B,)."""
        odds: torch.Tensor = self.last(F.leaky_relu(self.first(features)))
        return odds[:, 0]


def bfloat16_pays(device: str) -> bool:
    """Whether "cpu" or "cuda" multiplies bfloat16 faster than float32: with AMX or AVX512-BF16, or a recent GPU."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("amx_bf16") or abilities.get("avx512_bf16"))


def _block(inputs: int, outputs: int, *, pool: bool = False) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    pooling: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    return [convolution, *pooling, nn.BatchNorm2d(outputs), nn.LeakyReLU(inplace=True)]
