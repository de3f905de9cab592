"""Regional variants of digits, rare or absent in MNIST, drawn onto its images: slashed 0, crossed 7 and others."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from mnist_lightning.datasets.raster import SIDE, Images, Step, center_of_mass, draw_segments, pick, uniform

DIGITS_PER_BATCH = 2


def add_regional_variants(images: Images, labels: torch.Tensor, amount: float = 1.0) -> Images:
    """Draw regional variants onto random images of their digits; `amount` in [0, 1] scales each variant's share.

    The changed digits are rescaled and centered as MNIST's are. A batch meets the variants of DIGITS_PER_BATCH digits,
    drawn anew for each, because every kind of stroke costs time, even on a few images.
    """
    if not amount:
        return images
    kinds = pick(list(REGIONAL_VARIANTS.items()), DIGITS_PER_BATCH)
    scale = amount * len(REGIONAL_VARIANTS) / len(kinds)
    chosen = [_choose(labels == digit, scale * share) for digit, (_, share) in kinds]
    places = torch.cat(chosen)
    if not len(places):
        return images
    shrunk = shrink(images[places])
    parts = torch.split(shrunk, [len(part) for part in chosen])
    strokes = [draw(part) for part, (_, (draw, _)) in zip(parts, kinds, strict=True)]
    images = images.clone()
    images[places] = fit_to_mnist_frame(torch.maximum(shrunk, torch.cat(strokes)))
    return images


def _choose(candidates: torch.Tensor, share: float) -> torch.Tensor:
    """Indices of a random `share` of the True entries of `candidates` (B,)."""
    draws = torch.rand(len(candidates), device=candidates.device)
    return torch.nonzero(candidates & (draws < share))[:, 0]


def shrink(images: Images) -> Images:
    """Scale the digits to 65 to 100 % of their size, which leaves room for added strokes."""
    theta = torch.eye(2, 3, device=images.device) / uniform(len(images), 0.65, 1, images)[:, None, None]
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def fit_to_mnist_frame(images: Images) -> Images:
    """Scale the longest side of the ink to 20 pixels and move its center of mass to the center, as in MNIST."""
    inked = images[:, 0] > 0.1
    spans = []
    for axis in (1, 2):
        along = inked.any(axis).float()
        spans.append(SIDE - along.argmax(1) - along.flip(1).argmax(1))
    zoom = torch.stack(spans).amax(0) / 20
    offset = 1 / SIDE  # MNIST's center is pixel 14 of 0 to 27, half a pixel from the middle
    middle = (center_of_mass(images) + 0.5) * (2 / SIDE) - 1
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = middle - zoom[:, None] * offset
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def _slash(zeros: Images) -> Images:
    """A stroke across the 0 from lower left to upper right; in a fifth of the images a dot inside it."""
    count = len(zeros)
    angle = uniform(count, 20, 95, zeros) * math.pi / 180
    ray = torch.stack([angle.cos(), -angle.sin()], dim=1)
    dotted = torch.rand(count, device=zeros.device) < 0.2
    below, above = (torch.where(dotted, 0.7, uniform(count, 6, 15, zeros))[:, None] for _ in range(2))
    middle = center_of_mass(zeros) + torch.randn(count, 2, device=zeros.device)
    return draw_segments(middle - below * ray, middle + above * ray, uniform(count, 1.2, 3, zeros))


def _flag_and_foot(ones: Images) -> Images:
    """A stroke down to the left from the top of the 1, in 80 %, and a level one under it, in 50 % of the images."""
    count = len(ones)
    inked = (ones.amax(3)[:, 0] > 0.5).float()  # (B, 28), by row
    top, bottom = inked.argmax(1), SIDE - 1 - inked.flip(1).argmax(1)
    index = torch.arange(count, device=ones.device)
    head = torch.stack([ones[index, 0, top].argmax(1), top], dim=1).float()
    foot = torch.stack([ones[index, 0, bottom].argmax(1), bottom], dim=1).float()
    angle, length = uniform(count, 25, 75, ones) * math.pi / 180, uniform(count, 4, 13, ones)
    fall = torch.stack([-angle.cos(), angle.sin()], dim=1) * length[:, None]
    left = torch.stack([uniform(count, 2, 8, ones), torch.zeros(count, device=ones.device)], dim=1)
    right = torch.stack([uniform(count, 2, 8, ones), uniform(count, -1.5, 1.5, ones)], dim=1)
    width, draws = uniform(count, 1.2, 2.8, ones), torch.rand(2, count, 1, 1, 1, device=ones.device)
    flag = draw_segments(head, head + fall, width) * (draws[0] < 0.8)
    return torch.maximum(flag, draw_segments(foot - left, foot + right, width) * (draws[1] < 0.5))


def _closing_stroke(fours: Images) -> Images:
    """A stroke between the two arms of the 4, which closes its open top."""
    count = len(fours)
    middle = center_of_mass(fours)[:, 0].long()
    columns = torch.arange(SIDE, device=fours.device)
    tops = []
    for side in (columns < middle[:, None], columns >= middle[:, None]):
        half = fours[:, 0] * side[:, None, :]
        row = (half.amax(2) > 0.5).float().argmax(1)
        tops.append(torch.stack([half[torch.arange(count), row].argmax(1), row], dim=1).float())
    return draw_segments(tops[0], tops[1], uniform(count, 1.2, 2.8, fours))


def _crossbar(sevens: Images) -> Images:
    """A short level stroke through the stem of the 7."""
    count = len(sevens)
    row = uniform(count, 12, 16, sevens)
    weights = sevens[torch.arange(count, device=sevens.device), 0, row.long()] + 1e-3
    middle = (weights * torch.arange(SIDE, device=sevens.device)).sum(1) / weights.sum(1)
    half, rise = uniform(count, 3, 6, sevens), uniform(count, -1.5, 1.5, sevens)
    start = torch.stack([middle - half, row + rise], dim=1)
    end = torch.stack([middle + half, row - rise], dim=1)
    return draw_segments(start, end, uniform(count, 1.2, 2.8, sevens))


# By digit: the strokes to add, and their share of the digit's images.
REGIONAL_VARIANTS: Mapping[int, tuple[Step, float]] = {
    0: (_slash, 0.3),
    1: (_flag_and_foot, 0.4),
    4: (_closing_stroke, 0.3),
    7: (_crossbar, 0.2),
}
