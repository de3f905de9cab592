"""Random numbers, random subsets, strokes and affine maps for batches of images (B, 1, 28, 28)."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F

Images = torch.Tensor  # (B, 1, 28, 28), floats in [0, 1], white ink on black
Step = Callable[[Images], Images]  # changes every image in its own way; the batch keeps its shape
SIDE = 28
Item = TypeVar("Item")


def uniform(count: int, low: float, high: float, like: torch.Tensor) -> torch.Tensor:
    """(count,) uniform in [low, high), on the device of `like`."""
    return low + (high - low) * torch.rand(count, device=like.device)


def uniform_per_image(count: int, low: float, high: float, like: torch.Tensor) -> torch.Tensor:
    """(count, 1, 1, 1) uniform in [low, high), on the device of `like`."""
    return uniform(count, low, high, like)[:, None, None, None]


def random_subsets(count: int, probabilities: Sequence[float]) -> list[torch.Tensor]:
    """Disjoint random subsets of range(count); every index joins subset k with probabilities[k], on its own.

    The probabilities sum to 1 or less; with the remaining probability an index joins none. The subsets are int64
    tensors on the CPU, where they are drawn so that a GPU does not have to wait for their sizes.
    """
    bounds = torch.tensor(probabilities, dtype=torch.float64).cumsum(0)
    members = torch.bucketize(torch.rand(count, dtype=torch.float64), bounds, right=True)
    sizes = torch.bincount(members, minlength=len(probabilities) + 1).tolist()
    return list(torch.split(members.argsort(stable=True), sizes)[:-1])


def pick(items: Sequence[Item], count: int) -> list[Item]:
    """A random `count` of the items, each at most once; drawn on the CPU."""
    return [items[index] for index in torch.randperm(len(items))[:count].tolist()]


def apply_to_subsets(images: Images, steps: Sequence[Step], subsets: Sequence[torch.Tensor]) -> Images:
    """A copy of `images` in which every step has changed the images of its subset; empty subsets are skipped."""
    chosen = [(step, places) for step, places in zip(steps, subsets, strict=True) if len(places)]
    if not chosen:
        return images
    places = torch.cat([places for _, places in chosen]).to(images.device)
    parts = torch.split(images[places], [len(places) for _, places in chosen])
    changed = images.clone()
    changed[places] = torch.cat([step(part) for (step, _), part in zip(chosen, parts, strict=True)])
    return changed


def dilate(images: Images) -> Images:
    """The maximum of each pixel's 3×3 neighborhood; on one channel, three times as fast as `max_pool2d`."""
    padded = F.pad(images, (1, 1, 1, 1))
    rows = torch.maximum(torch.maximum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    return torch.maximum(torch.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def erode(images: Images) -> Images:
    """The minimum of each pixel's 3×3 neighborhood, as far as it lies inside the image."""
    return 1 - dilate(1 - images)


def pixel_positions(device: torch.device) -> torch.Tensor:
    """The position of every pixel, (28, 28, 2) as x, y."""
    axis = torch.arange(SIDE, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def coverage(distance: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """How much of a pixel a stroke covers, in [0, 1], by the pixel's distance from its middle, both in pixels."""
    return (width / 2 + 0.5 - distance).clamp(0, 1)


def draw_segments(
    start: torch.Tensor, end: torch.Tensor, width: torch.Tensor, gap: torch.Tensor | None = None
) -> Images:
    """Straight strokes from `start` to `end`, both (B, 2) as x, y in pixels, `width` (B,) pixels wide.

    With `gap` (B,) the strokes are dotted: ink and paper alternate every `gap` pixels.
    """
    direction, offset = (end - start)[:, None, None], pixel_positions(start.device) - start[:, None, None]
    length_squared = direction.square().sum(-1).clamp(min=1e-6)
    along = ((offset * direction).sum(-1) / length_squared).clamp(0, 1)  # (B, 28, 28), 0 at start, 1 at end
    distance = torch.linalg.vector_norm(offset - along[..., None] * direction, dim=-1)
    strokes = coverage(distance, width[:, None, None])
    if gap is not None:
        strokes = strokes * ((along * length_squared.sqrt() / gap[:, None, None]).floor() % 2 == 0)
    return strokes[:, None]


def center_of_mass(images: Images) -> torch.Tensor:
    """Centers of mass (B, 2) as x, y in pixels."""
    axis = torch.arange(SIDE, device=images.device, dtype=torch.float32)
    total = images.sum((1, 2, 3)).clamp(min=1e-6)
    return torch.stack([(images.sum((1, 2)) @ axis) / total, (images.sum((1, 3)) @ axis) / total], dim=1)


def random_affine(images: Images, *, degrees: float, stretch: float, slant: float, pixels: float) -> torch.Tensor:
    """Random affine maps (B, 2, 3) for `affine_grid`; each parameter is uniform within ± its bound.

    Args:
        images: the batch that the maps are for.
        degrees: bound of the rotation.
        stretch: bound of the scaling along each axis, as a logarithm.
        slant: bound of the shear.
        pixels: bound of the shift along each axis.
    """
    angle, wide, high, shear, right, down = (torch.rand(6, len(images), device=images.device) * 2 - 1).unbind()
    cosine, sine = (angle * math.radians(degrees)).cos(), (angle * math.radians(degrees)).sin()
    wide, high, shear = (wide * stretch).exp(), (high * stretch).exp(), shear * slant
    rows = [
        torch.stack([cosine * wide, (cosine * shear - sine) * wide, right * pixels / 14], dim=-1),
        torch.stack([sine * high, (sine * shear + cosine) * high, down * pixels / 14], dim=-1),
    ]
    return torch.stack(rows, dim=1)
