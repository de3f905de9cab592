"""Damage to training pictures, one function a kind: (B, 1, 28, 28) floats in [0, 1] -> the same, worse."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from mnist_lightning.datasets.raster import SIDE, Images, affine, each, random, segment


def _grain(images: Images) -> Images:
    """Noise of light: the more, the brighter."""
    strength = each(len(images), 0.1, 0.7, images)
    return (images + strength * torch.randn_like(images) * (images + 0.1).sqrt()).clamp(0, 1)


def _salt_and_pepper(images: Images) -> Images:
    chance, dice = each(len(images), 0.02, 0.3, images), torch.rand_like(images)
    return torch.where(dice < chance, (torch.rand_like(images) < 0.5).float(), images)


def _blur(images: Images) -> Images:
    """A trace of movement in any direction, 3 to 9 pixels long."""
    count, side = len(images), 9
    angle, half = random(count, 0, math.pi, images), random(count, 1, 4, images)
    ray = torch.stack([angle.cos(), angle.sin()], dim=1) * half[:, None]
    middle = torch.full_like(ray, SIDE // 2)
    trace = segment(middle - ray, middle + ray, random(count, 0.6, 1.6, images))
    kernel = trace[:, :, SIDE // 2 - 4 : SIDE // 2 + 5, SIDE // 2 - 4 : SIDE // 2 + 5]
    kernel = kernel / kernel.sum((2, 3), keepdim=True)
    return F.conv2d(images.transpose(0, 1), kernel, padding=side // 2, groups=count).transpose(0, 1)


def _frosted(images: Images) -> Images:
    """As through rough glass: every pixel taken from a place nearby."""
    identity = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(identity, list(images.shape), align_corners=False)
    reach = each(len(images), 0.5, 2.2, images) * (2 / SIDE)
    return F.grid_sample(F.avg_pool2d(images, 3, 1, 1), grid + reach * torch.randn_like(grid), align_corners=False)


def _fog(images: Images) -> Images:
    """Clouds of light over the picture, the ink losing its contrast."""
    count = len(images)
    clouds = sum(
        F.interpolate(torch.rand(count, 1, cells, cells, device=images.device), SIDE, mode="bicubic") * weight
        for cells, weight in ((3, 1.0), (7, 0.5), (14, 0.25))
    )
    amount = each(count, 0.2, 1.2, images)
    return ((images + amount * clouds) / (1 + amount * 1.2)).clamp(0, 1)


def _light(images: Images) -> Images:
    """A brighter ground, weaker ink, or both."""
    ground = each(len(images), 0, 0.7, images)
    ink = each(len(images), 0.3, 1, images)
    return (images * ink + ground).clamp(0, 1)


def _bands(images: Images) -> Images:
    """The negative of the picture in a band at either side, or in one across the middle."""
    count = len(images)
    axis = torch.arange(SIDE, device=images.device).float()
    near, far = random(count, 3, 11, images)[:, None], random(count, 17, 25, images)[:, None]
    inside = ((axis >= near) & (axis < far)).float()
    inside = torch.where(torch.rand(count, 1, device=images.device) < 0.5, inside, 1 - inside)
    flipped = torch.rand(count, 1, 1, 1, device=images.device) < 0.7
    band = torch.where(flipped, inside[:, None, None, :], inside[:, None, :, None])
    return (images - band).abs()


def _spatter(images: Images) -> Images:
    """Blots of ink, and blots where the ink is gone."""
    count = len(images)
    blots = F.interpolate(torch.rand(count, 1, 12, 12, device=images.device), SIDE, mode="bicubic")
    edge = each(count, 0.72, 0.9, images)
    blot = ((blots - edge) * 8).clamp(0, 1)
    erases = (torch.rand(count, 1, 1, 1, device=images.device) < 0.4).float()
    return erases * images * (1 - blot) + (1 - erases) * torch.maximum(images, blot)


def _line(images: Images) -> Images:
    """A dotted line from one side to the other."""
    count = len(images)
    start, end = _ends(images)
    return torch.maximum(images, segment(start, end, random(count, 0.6, 2, images), random(count, 1, 3.5, images)))


def _zigzag(images: Images) -> Images:
    """A zigzag line from one side to the other: the distance to a triangle wave along it, nearly."""
    count = len(images)
    start, end = _ends(images)
    along = end - start
    along = along / along.norm(dim=1, keepdim=True)
    axis = torch.arange(SIDE, device=images.device, dtype=torch.float32)
    to = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1) - start[:, None, None]  # (B, 28, 28, 2)
    ahead = (to * along[:, None, None]).sum(-1)
    beside = to[..., 0] * along[:, None, None, 1] - to[..., 1] * along[:, None, None, 0]
    bounds = ((3.0, 9.0), (1.0, 3.5), (0.5, 1.6))
    period, swing, width = (random(count, low, high, images)[:, None, None] for low, high in bounds)
    wave = swing * (4 * (ahead / period - (ahead / period + 0.5).floor()).abs() - 1)
    distance = (beside - wave).abs() / (1 + (4 * swing / period).square()).sqrt()
    return torch.maximum(images, (width / 2 + 0.5 - distance).clamp(0, 1)[:, None])


def _outline(images: Images) -> Images:
    """Only the edges of the strokes: outside them, inside them, or softly on both sides."""
    solid = (images > 0.4).float()
    outer, inner = F.max_pool2d(solid, 3, 1, 1), -F.max_pool2d(-solid, 3, 1, 1)
    soft = F.max_pool2d(images, 3, 1, 1) + F.max_pool2d(-images, 3, 1, 1)
    third = len(images) // 3
    return torch.cat([(outer - solid)[:third], (solid - inner)[third : 2 * third], soft[2 * third :]]).clamp(0, 1)


def _far(images: Images) -> Images:
    """Turned, shifted, shrunk or slanted further than `move` does."""
    theta = affine(images, degrees=35, stretch=0.45, slant=0.6, pixels=5)
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def _ends(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (B, 2) on the left and the right side, at any height; for half of them above and below instead."""
    count = len(images)
    heights = random(2 * count, 0, SIDE - 1, images).view(2, count)
    start = torch.stack([torch.zeros(count, device=images.device), heights[0]], dim=1)
    end = torch.stack([torch.full((count,), SIDE - 1.0, device=images.device), heights[1]], dim=1)
    upright = torch.rand(count, 1, device=images.device) < 0.3
    return torch.where(upright, start.flip(1), start), torch.where(upright, end.flip(1), end)


DAMAGE: Sequence[Callable[[Images], Images]] = (
    *(_grain, _salt_and_pepper, _blur, _frosted, _fog, _light),
    *(_bands, _spatter, _line, _zigzag, _outline, _far),
    *(_frosted, _zigzag, _outline),  # the hardest ones twice
)
