"""The network that reads a digit. Pure torch, so that the archive can carry this file and nothing else."""

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
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

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor]) -> "DigitNet":
        """The network that a state_dict belongs to, ready to predict. Raises RuntimeError for any other weights."""
        widths = [value.shape[0] for value in weights.values() if value.ndim == 4]  # one convolution a layer
        if len(widths) < 2:
            raise RuntimeError("these are not a digit network's weights")
        made = cls(widths)
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
        first = next(self.features.parameters())
        features = self.features(images.to(first.dtype)).flatten(1)
        logits: torch.Tensor = self.head(features.to(self.head.weight.dtype))
        return logits


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
