"""How people of other countries write their digits, of which MNIST has few or none; drawn onto training digits."""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from mnist_lightning.datasets.raster import SIDE, Images, mass, random, segment


def habits(images: Images, labels: torch.Tensor, amount: float = 1.0) -> Images:
    """What people of other countries do, drawn onto `amount` of each habit's share, in MNIST's form again."""
    chosen = [torch.nonzero(labels == digit)[:, 0] for digit in HABITS]
    shares = [amount * share for _, share in HABITS.values()]
    chosen = [places[: math.ceil(share * len(places))] for places, share in zip(chosen, shares, strict=True)]
    places = torch.cat(chosen)
    if not len(places):
        return images
    roomy = shrunk(images[places])
    parts = roomy.split([len(places) for places in chosen])  # type: ignore[no-untyped-call]
    drawn = [draw(part) for part, (draw, _) in zip(parts, HABITS.values(), strict=True)]
    images = images.clone()
    images[places] = refit(torch.maximum(roomy, torch.cat(drawn)))
    return images


def shrunk(images: Images) -> Images:
    """The digits at 65 to 100 % of their size, so that what is added finds room around them."""
    theta = torch.eye(2, 3, device=images.device) / random(len(images), 0.65, 1, images)[:, None, None]
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def refit(images: Images) -> Images:
    """Back to MNIST's form: the ink's longest side 20 pixels, its centre of mass in the middle."""
    inked = images[:, 0] > 0.1
    spans = []
    for axis in (1, 2):
        along = inked.any(axis).float()
        spans.append(SIDE - along.argmax(1) - along.flip(1).argmax(1))
    zoom = torch.stack(spans).amax(0) / 20
    centre = 1 / SIDE  # pixel 14 of 0 to 27, where MNIST has it, is half a pixel off the middle
    middle = (mass(images) + 0.5) * (2 / SIDE) - 1
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = middle - zoom[:, None] * centre
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def _slash(zeros: Images) -> Images:
    """A stroke across the 0 from lower left to upper right; a dot inside for a fifth of them."""
    count = len(zeros)
    angle = random(count, 20, 95, zeros) * math.pi / 180
    ray = torch.stack([angle.cos(), -angle.sin()], dim=1)
    dotted = torch.rand(count, device=zeros.device) < 0.2
    below, above = (torch.where(dotted, 0.7, random(count, 6, 15, zeros))[:, None] for _ in range(2))
    middle = mass(zeros) + torch.randn(count, 2, device=zeros.device)
    return segment(middle - below * ray, middle + above * ray, random(count, 1.2, 3, zeros))


def _flag_and_foot(ones: Images) -> Images:
    """A stroke falling to the left from the top of the 1, a level one under it; either or both."""
    count = len(ones)
    inked = (ones.amax(3)[:, 0] > 0.5).float()  # (B, 28) by row
    top, bottom = inked.argmax(1), SIDE - 1 - inked.flip(1).argmax(1)
    every = torch.arange(count, device=ones.device)
    head = torch.stack([ones[every, 0, top].argmax(1), top], dim=1).float()
    foot = torch.stack([ones[every, 0, bottom].argmax(1), bottom], dim=1).float()
    angle, length = random(count, 25, 75, ones) * math.pi / 180, random(count, 4, 13, ones)
    fall = torch.stack([-angle.cos(), angle.sin()], dim=1) * length[:, None]
    left = torch.stack([random(count, 2, 8, ones), torch.zeros(count, device=ones.device)], dim=1)
    right = torch.stack([random(count, 2, 8, ones), random(count, -1.5, 1.5, ones)], dim=1)
    width, dice = random(count, 1.2, 2.8, ones), torch.rand(2, count, 1, 1, 1, device=ones.device)
    flag = segment(head, head + fall, width) * (dice[0] < 0.8)
    return torch.maximum(flag, segment(foot - left, foot + right, width) * (dice[1] < 0.5))


def _closed(fours: Images) -> Images:
    """The open top of the 4 closed by a stroke between its two arms."""
    count = len(fours)
    middle = mass(fours)[:, 0].long()
    columns = torch.arange(SIDE, device=fours.device)
    tops = []
    for side in (columns < middle[:, None], columns >= middle[:, None]):
        half = fours[:, 0] * side[:, None, :]
        row = (half.amax(2) > 0.5).float().argmax(1)
        tops.append(torch.stack([half[torch.arange(count), row].argmax(1), row], dim=1).float())
    return segment(tops[0], tops[1], random(count, 1.2, 2.8, fours))


def _bar(sevens: Images) -> Images:
    """A short level stroke through the stem of the 7."""
    count = len(sevens)
    row = random(count, 12, 16, sevens)
    weights = sevens[torch.arange(count, device=sevens.device), 0, row.long()] + 1e-3
    middle = (weights * torch.arange(SIDE, device=sevens.device)).sum(1) / weights.sum(1)
    half, rise = random(count, 3, 6, sevens), random(count, -1.5, 1.5, sevens)
    start, end = (
        torch.stack([middle - half, row + rise], dim=1),
        torch.stack([middle + half, row - rise], dim=1),
    )
    return segment(start, end, random(count, 1.2, 2.8, sevens))


# How each digit is drawn on, and on what part of its pictures.
HABITS: Mapping[int, tuple[Callable[[Images], Images], float]] = {
    0: (_slash, 0.3),
    1: (_flag_and_foot, 0.4),
    4: (_closed, 0.3),
    7: (_bar, 0.2),
}
