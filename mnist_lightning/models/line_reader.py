"""The network that reads a line of digits. It needs torch alone."""

from collections.abc import Sequence

import torch
from torch import nn

WIDTHS = (32, 48, 64, 96, 96, 128)
CLASSES = 12  # the blank of CTC, the ten digits, and other writing


class LineReader(nn.Module):
    """A fully convolutional network, (B, 1, 32, W) ink in [0, 1] -> (B, W / 2, 12) logits, by position along the line.

    Class 0 is the blank of connectionist temporal classification (Graves et al., "Connectionist Temporal
    Classification", 2006), 1 to 10 are the digits 0 to 9, 11 is writing that is no digit. Convolutions reduce the
    height to one row and keep the positions; those after them see a digit's neighbors.

    Args:
        widths: channels of the six convolutions that reduce the height. W is even.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, second, third, fourth, fifth, row = widths
        self.columns = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 4, 16, W / 2)
            *_block(4, first, 3),
            *_block(first, second, 3, stride=(2, 1)),  # (…, 8, W / 2)
            *_block(second, third, 3),
            *_block(third, fourth, 3, stride=(2, 1)),  # (…, 4, W / 2)
            *_block(fourth, fifth, 3),
            *_block(fifth, row, (4, 3), padding=(0, 1)),  # (…, 1, W / 2)
        )
        self.context = nn.Sequential(
            *_block(row, row, (1, 5), padding=(0, 2)), *_block(row, row, (1, 5), padding=(0, 4), dilation=(1, 2))
        )
        self.head = nn.Conv2d(row, CLASSES, 1)

    def forward(self, strips: torch.Tensor) -> torch.Tensor:
        """Logits (B, W / 2, 12)."""
        columns = self.columns(strips)
        logits: torch.Tensor = self.head(columns + self.context(columns))
        return logits[:, :, 0].transpose(1, 2)


def _block(
    inputs: int,
    outputs: int,
    size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(inplace=True)]
