"""The network that separates the digits' ink from everything else in a photograph. It needs torch alone."""

from collections.abc import Sequence

import torch
from torch import nn

WIDTHS = (16, 24, 40)
FOLD = 4  # pixels: the sides of the squares that are folded into channels
MIN_DEVIATION = 4.0  # of 255: pictures of less contrast are not brought to full contrast


class InkSegmenter(nn.Module):
    """A small U-Net, (B, 3, S, S) colors in 0..255 -> (B, 1, S, S) logits of each pixel showing the digits' ink.

    After Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (2015). The
    picture is first folded to 48 channels of a quarter of its sides, so the thin detail of strokes costs channels and
    not positions; the output is unfolded in the same way. At the coarsest of three resolutions, dilated convolutions
    see a hundred pixels around each one, and the mean of all positions is added.

    Args:
        widths: channels at a quarter, an eighth and a sixteenth of the picture's sides. S is a multiple of 16.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.enter = nn.Sequential(nn.PixelUnshuffle(FOLD), *_block(3 * FOLD**2, fine, 1), *_separable(fine))
        self.down = nn.Sequential(*_block(fine, middle, 3, stride=2), *_block(middle, middle, 3))
        self.bottom = nn.Sequential(*_block(middle, coarse, 3, stride=2), *_block(coarse, coarse, 3, dilation=2))
        self.everywhere = nn.Linear(coarse, coarse)
        self.context = nn.Sequential(*_block(coarse, coarse, 3, dilation=4))
        self.rise = nn.Sequential(*_block(coarse, middle, 1), nn.Upsample(scale_factor=2))
        self.merge = nn.Sequential(*_block(middle, middle, 3))
        self.lift = nn.Sequential(*_block(middle, fine, 1), nn.Upsample(scale_factor=2))
        self.leave = nn.Sequential(*_separable(fine), *_separable(fine), nn.Conv2d(fine, FOLD**2, 1))
        self.unfold = nn.PixelShuffle(FOLD)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1, S, S)."""
        fine = self.enter(standardize(pictures))
        middle = self.down(fine)
        coarse = self.bottom(middle)
        mean = self.everywhere(coarse.mean(dim=(2, 3)))
        coarse = self.context(coarse + mean[:, :, None, None])
        middle = self.merge(middle + self.rise(coarse))
        logits: torch.Tensor = self.unfold(self.leave(fine + self.lift(middle)))
        return logits


def standardize(pictures: torch.Tensor) -> torch.Tensor:
    """Subtract each channel's mean and divide by the deviation over all channels."""
    offset = pictures - pictures.mean(dim=(2, 3), keepdim=True)
    return offset / (offset.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + MIN_DEVIATION)


def _block(inputs: int, outputs: int, size: int, *, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(inplace=True)]


def _separable(channels: int) -> list[nn.Module]:
    each = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return [each, nn.BatchNorm2d(channels), *_block(channels, channels, 1)]
