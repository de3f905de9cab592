"""Corruptions of training images, one function each: (B, 1, 28, 28) floats in [0, 1] -> the same shape and range."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from mnist_lightning.datasets.raster import (
    SIDE,
    Images,
    Step,
    coverage,
    dilate,
    draw_segments,
    erode,
    pixel_positions,
    random_affine,
    uniform,
    uniform_per_image,
)


def _shot_noise(images: Images) -> Images:
    """Noise that grows with brightness."""
    strength = uniform_per_image(len(images), 0.1, 0.7, images)
    return (images + strength * torch.randn_like(images) * (images + 0.1).sqrt()).clamp(0, 1)


def _salt_and_pepper(images: Images) -> Images:
    chance, draws = uniform_per_image(len(images), 0.02, 0.3, images), torch.rand_like(images)
    return torch.where(draws < chance, (torch.rand_like(images) < 0.5).float(), images)


def _motion_blur(images: Images) -> Images:
    """Motion blur in any direction, 3 to 9 pixels long."""
    count, side = len(images), 9
    angle, half_length = uniform(count, 0, math.pi, images), uniform(count, 1, 4, images)
    ray = torch.stack([angle.cos(), angle.sin()], dim=1) * half_length[:, None]
    center = torch.full_like(ray, SIDE // 2)
    trace = draw_segments(center - ray, center + ray, uniform(count, 0.6, 1.6, images))
    kernel = trace[:, :, SIDE // 2 - 4 : SIDE // 2 + 5, SIDE // 2 - 4 : SIDE // 2 + 5]
    kernel = kernel / kernel.sum((2, 3), keepdim=True)
    return F.conv2d(images.transpose(0, 1), kernel, padding=side // 2, groups=count).transpose(0, 1)


def _glass_blur(images: Images) -> Images:
    """Every pixel is taken from a random place nearby, as through frosted glass."""
    identity = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(identity, list(images.shape), align_corners=False)
    reach = uniform_per_image(len(images), 0.5, 2.2, images) * (2 / SIDE)
    return F.grid_sample(F.avg_pool2d(images, 3, 1, 1), grid + reach * torch.randn_like(grid), align_corners=False)


def _fog(images: Images) -> Images:
    """Bright clouds that lower the contrast of the ink."""
    count = len(images)
    clouds = sum(
        F.interpolate(torch.rand(count, 1, cells, cells, device=images.device), SIDE, mode="bicubic") * weight
        for cells, weight in ((3, 1.0), (7, 0.5), (14, 0.25))
    )
    amount = uniform_per_image(count, 0.2, 1.2, images)
    return ((images + amount * clouds) / (1 + amount * 1.2)).clamp(0, 1)


def _low_contrast(images: Images) -> Images:
    """A brighter background, weaker ink, or both."""
    background = uniform_per_image(len(images), 0, 0.7, images)
    ink = uniform_per_image(len(images), 0.3, 1, images)
    return (images * ink + background).clamp(0, 1)


def _inverted_bands(images: Images) -> Images:
    """The image inverted in a band along both edges, or in a band across its center."""
    count = len(images)
    axis = torch.arange(SIDE, device=images.device).float()
    near, far = uniform(count, 3, 11, images)[:, None], uniform(count, 17, 25, images)[:, None]
    inside = ((axis >= near) & (axis < far)).float()
    inside = torch.where(torch.rand(count, 1, device=images.device) < 0.5, inside, 1 - inside)
    vertical = torch.rand(count, 1, 1, 1, device=images.device) < 0.7
    band = torch.where(vertical, inside[:, None, None, :], inside[:, None, :, None])
    return (images - band).abs()


def _spatter(images: Images) -> Images:
    """Blots of ink, or blots where the ink is erased."""
    count = len(images)
    field = F.interpolate(torch.rand(count, 1, 12, 12, device=images.device), SIDE, mode="bicubic")
    edge = uniform_per_image(count, 0.72, 0.9, images)
    blots = ((field - edge) * 8).clamp(0, 1)
    erases = (torch.rand(count, 1, 1, 1, device=images.device) < 0.4).float()
    return erases * images * (1 - blots) + (1 - erases) * torch.maximum(images, blots)


def _dotted_line(images: Images) -> Images:
    """A dotted line from one edge to the opposite one."""
    count = len(images)
    start, end = _opposite_ends(images)
    line = draw_segments(start, end, uniform(count, 0.6, 2, images), uniform(count, 1, 3.5, images))
    return torch.maximum(images, line)


def _zigzag(images: Images) -> Images:
    """A zigzag line from one edge to the opposite one; the distance to the triangle wave is approximate."""
    count = len(images)
    start, end = _opposite_ends(images)
    direction = end - start
    direction = direction / direction.norm(dim=1, keepdim=True)
    offset = pixel_positions(images.device) - start[:, None, None]  # (B, 28, 28, 2)
    along = (offset * direction[:, None, None]).sum(-1)
    across = offset[..., 0] * direction[:, None, None, 1] - offset[..., 1] * direction[:, None, None, 0]
    bounds = ((3.0, 9.0), (1.0, 3.5), (0.5, 1.6))
    period, amplitude, width = (uniform(count, low, high, images)[:, None, None] for low, high in bounds)
    wave = amplitude * (4 * (along / period - (along / period + 0.5).floor()).abs() - 1)
    distance = (across - wave).abs() / (1 + (4 * amplitude / period).square()).sqrt()
    return torch.maximum(images, coverage(distance, width)[:, None])


def _outline(images: Images) -> Images:
    """Only the edges of the strokes: just outside, just inside, or a soft edge on both sides, with equal chances."""
    solid = (images > 0.4).float()
    outer, inner = dilate(solid) - solid, solid - erode(solid)
    soft = dilate(images) - erode(images)
    style = torch.rand(len(images), 1, 1, 1, device=images.device) * 3
    return torch.where(style < 1, outer, torch.where(style < 2, inner, soft)).clamp(0, 1)


def _strong_affine(images: Images) -> Images:
    """An affine map of far wider bounds than those of `augment.deform`."""
    theta = random_affine(images, degrees=35, stretch=0.45, slant=0.6, pixels=5)
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def _opposite_ends(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Random points (B, 2) on the left and the right edge; in 30 % of the cases on the top and the bottom edge."""
    count = len(images)
    heights = uniform(2 * count, 0, SIDE - 1, images).view(2, count)
    start = torch.stack([torch.zeros(count, device=images.device), heights[0]], dim=1)
    end = torch.stack([torch.full((count,), SIDE - 1.0, device=images.device), heights[1]], dim=1)
    upright = torch.rand(count, 1, device=images.device) < 0.3
    return torch.where(upright, start.flip(1), start), torch.where(upright, end.flip(1), end)


CORRUPTIONS: Sequence[Step] = (
    *(_shot_noise, _salt_and_pepper, _motion_blur, _glass_blur, _fog, _low_contrast),
    *(_inverted_bands, _spatter, _dotted_line, _zigzag, _outline, _strong_affine),
    *(_glass_blur, _glass_blur, _inverted_bands, _zigzag, _outline),  # the hardest ones are more frequent
)
