"""The network that reads a digit. Pure torch, so that the archive can carry this file and nothing else."""

import torch
from torch import nn


class DigitNet(nn.Module):
    """A convolutional network of 401,000 weights: (B, 1, 28, 28) floats in [0, 1] -> (B, 10) logits.

    Its shape follows the clock of a CPU: work at 28×28 is what costs, so the picture is first folded to
    four channels of 14×14 (no pixel is lost), and the pools come before normalisation and activation,
    which then have a quarter of the pixels to pass over. LeakyReLU is faster than ReLU backwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 4, 14, 14)
            *_block(4, 32),
            *_block(32, 64, pool=True),  # (B, 64, 7, 7)
            *_block(64, 128),
            *_block(128, 128),
            *_block(128, 128, pool=True),  # (B, 128, 3, 3)
        )
        self.head = nn.Linear(128 * 3 * 3, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities of the ten digits, (B, 10)."""
        logits: torch.Tensor = self.head(self.features(images).flatten(1))
        return logits


def _block(inputs: int, outputs: int, *, pool: bool = False) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    pooling: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    return [convolution, *pooling, nn.BatchNorm2d(outputs), nn.LeakyReLU(inplace=True)]
