"""Regional variants of digits, rare or absent in MNIST, drawn onto its images: slashed 0, crossed 7 and others."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from mnist_lightning.datasets.raster import (
    SIDE,
    Images,
    Step,
    center_of_mass,
    coverage,
    draw_segments,
    pick,
    pixel_positions,
    uniform,
)

DIGITS_PER_BATCH = 2
IN_EVERY_BATCH = (1,)  # its share is more than a selection of batches could have


def add_regional_variants(images: Images, labels: torch.Tensor, amount: float = 1.0) -> Images:
    """Draw regional variants onto random images of their digits; `amount` in [0, 1] scales each variant's share.

    The changed digits are rescaled and centered as MNIST's are. Besides the 1, a batch meets the variants of
    DIGITS_PER_BATCH digits, drawn anew for each, because every kind of stroke costs time, even on a few images.
    """
    if not amount:
        return images
    others = [digit for digit in REGIONAL_VARIANTS if digit not in IN_EVERY_BATCH]
    digits = [*IN_EVERY_BATCH, *pick(others, DIGITS_PER_BATCH)]
    scales = [1.0] * len(IN_EVERY_BATCH) + [len(others) / DIGITS_PER_BATCH] * DIGITS_PER_BATCH
    kinds = [(digit, REGIONAL_VARIANTS[digit]) for digit in digits]
    chosen = [
        _choose(labels == digit, amount * scale * share)
        for (digit, (_, share)), scale in zip(kinds, scales, strict=True)
    ]
    places = torch.cat(chosen)
    if not len(places):
        return images
    shrunk = shrink(images[places])
    parts = torch.split(shrunk, [len(part) for part in chosen])
    strokes = [draw(part) for part, (_, (draw, _)) in zip(parts, kinds, strict=True)]
    images = images.clone()
    images[places] = fit_to_mnist_frame(torch.maximum(shrunk, torch.cat(strokes)))
    return images


def add_long_up_strokes(images: Images, labels: torch.Tensor, share: float = 0.12) -> Images:
    """Draw an up-stroke nearly as long as the 1 itself onto a random share of the ones, as many Europeans write it."""
    places = _choose(labels == 1, share)
    if not len(places):
        return images
    ones = shrink(images[places])
    head, height = extreme_ink(ones, 0, -1), (extreme_ink(ones, 0, 1) - extreme_ink(ones, 0, -1))[:, 1].clamp(min=8)
    angle, length = uniform(len(ones), 42, 75, ones) * math.pi / 180, uniform(len(ones), 0.6, 1.1, ones) * height
    strokes = up_stroke(head, angle, length, uniform(len(ones), -0.1, 0.1, ones), uniform(len(ones), 1.2, 2.8, ones))
    images = images.clone()
    images[places] = fit_to_mnist_frame(torch.maximum(ones, strokes))
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
    """An up-stroke to the top of the 1, straight or curved, in 90 %, and a level foot, in 25 % of the images."""
    count = len(ones)
    head, foot = extreme_ink(ones, 0, -1), extreme_ink(ones, 0, 1)
    height = (foot - head)[:, 1].clamp(min=8)
    angle, length = uniform(count, 18, 72, ones) * math.pi / 180, uniform(count, 0.25, 0.72, ones) * height
    left = torch.stack([uniform(count, 2, 8, ones), torch.zeros(count, device=ones.device)], dim=1)
    right = torch.stack([uniform(count, 2, 8, ones), uniform(count, -1.5, 1.5, ones)], dim=1)
    width, draws = uniform(count, 1.2, 2.8, ones), torch.rand(2, count, 1, 1, 1, device=ones.device)
    flag = up_stroke(head, angle, length, uniform(count, -0.15, 0.15, ones), width) * (draws[0] < 0.9)
    return torch.maximum(flag, draw_segments(foot - left, foot + right, width) * (draws[1] < 0.25))


def _closing_stroke(fours: Images) -> Images:
    """A stroke between the two arms of the 4, which closes its open top.

    Where the bar ends at the stem, the result looks like a 9 with corners; people write such fours.
    """
    count = len(fours)
    middle = center_of_mass(fours)[:, 0].long()
    columns = torch.arange(SIDE, device=fours.device)
    tops = []
    for side in (columns < middle[:, None], columns >= middle[:, None]):
        half = fours[:, 0] * side[:, None, :]
        row = (half.amax(2) > 0.5).float().argmax(1)
        tops.append(torch.stack([half[torch.arange(count), row].argmax(1), row], dim=1).float())
    return draw_segments(tops[0], tops[1], uniform(count, 1.2, 2.8, fours))


def _bar_and_serif(sevens: Images) -> Images:
    """A short level stroke through the stem of the 7, in 70 %, and one down from its top's left end, in 40 %."""
    count = len(sevens)
    row = uniform(count, 14, 17.5, sevens)
    weights = sevens[torch.arange(count, device=sevens.device), 0, row.long()] + 1e-3
    middle = (weights * torch.arange(SIDE, device=sevens.device)).sum(1) / weights.sum(1)
    rise = uniform(count, -1, 1, sevens)
    start = torch.stack([middle - uniform(count, 2, 4, sevens), row + rise], dim=1)
    end = torch.stack([middle + uniform(count, 2.5, 5.5, sevens), row - rise], dim=1)
    width, draws = uniform(count, 1.2, 2.8, sevens), torch.rand(2, count, 1, 1, 1, device=sevens.device)
    bar = draw_segments(start, end, width) * (draws[0] < 0.7)
    corner, angle = extreme_ink(sevens, -1, -0.6), uniform(count, 60, 120, sevens) * math.pi / 180
    fall = torch.stack([angle.cos(), angle.sin()], dim=1) * uniform(count, 1.5, 3, sevens)[:, None]
    return torch.maximum(bar, draw_segments(corner, corner + fall, width) * (draws[1] < 0.4))


def _hook(nines: Images) -> Images:
    """The leg of the 9 bent to the left."""
    count = len(nines)
    foot, angle = extreme_ink(nines, 0, 1), uniform(count, -20, 40, nines) * math.pi / 180
    sweep = torch.stack([-angle.cos(), -angle.sin()], dim=1) * uniform(count, 4, 9, nines)[:, None]
    return draw_bent(foot, foot + sweep, uniform(count, -0.3, 0, nines), uniform(count, 1.2, 2.8, nines))


def _loop(twos: Images) -> Images:
    """A loop in the lower left corner of the 2."""
    count = len(twos)
    corner, radius = extreme_ink(twos, -1, 1), uniform(count, 1.2, 2.8, twos)
    middle = corner + torch.stack([0.6 * radius, -0.6 * radius], dim=1)
    offset = pixel_positions(twos.device) - middle[:, None, None]
    stretched = offset * torch.tensor([0.8, 1.0], device=twos.device)
    distance = (torch.linalg.vector_norm(stretched, dim=-1) - radius[:, None, None]).abs()
    return coverage(distance, uniform(count, 1.2, 2.4, twos)[:, None, None])[:, None]


def extreme_ink(images: Images, right: float, down: float) -> torch.Tensor:
    """The inked pixel that lies farthest in a direction, (B, 2) as x, y."""
    axis = torch.arange(SIDE, device=images.device, dtype=torch.float32)
    score = right * axis[None, :] + down * axis[:, None]
    place = torch.where(images[:, 0] > 0.5, score, -1e4).flatten(1).argmax(1)
    return torch.stack([place % SIDE, place // SIDE], dim=1).float()


def up_stroke(
    head: torch.Tensor, angle: torch.Tensor, length: torch.Tensor, bend: torch.Tensor, width: torch.Tensor
) -> Images:
    """Strokes to the tops of ones, `head` (B, 2), from the lower left.

    Their angles with the horizontal are in radians, lengths and widths in pixels, all (B,), as is the bend of
    `draw_bent`.
    """
    fall = torch.stack([-angle.cos(), angle.sin()], dim=1) * length[:, None]
    return draw_bent(head, head + fall, bend, width)


def draw_bent(start: torch.Tensor, end: torch.Tensor, bend: torch.Tensor, width: torch.Tensor) -> Images:
    """Strokes of two straight parts, whose middle lies `bend` (B,) of the length beside the straight way."""
    along = end - start
    middle = start + along / 2 + bend[:, None] * torch.stack([-along[:, 1], along[:, 0]], dim=1)
    return torch.maximum(draw_segments(start, middle, width), draw_segments(middle, end, width))


# By digit: the strokes to add, and their share of the digit's images.
REGIONAL_VARIANTS: Mapping[int, tuple[Step, float]] = {
    0: (_slash, 0.3),
    1: (_flag_and_foot, 0.6),
    2: (_loop, 0.15),
    4: (_closing_stroke, 0.3),
    7: (_bar_and_serif, 0.3),
    9: (_hook, 0.2),
}
