"""Drawing and moving by batch: random numbers, straight strokes, affine maps. Pictures are (B, 1, 28, 28)."""

import math

import torch

Images = torch.Tensor  # (B, 1, 28, 28), floats in [0, 1], white ink on black
SIDE = 28


def random(count: int, low: float, high: float, like: torch.Tensor) -> torch.Tensor:
    """(count,) uniform in [low, high)."""
    return low + (high - low) * torch.rand(count, device=like.device)


def each(count: int, low: float, high: float, like: torch.Tensor) -> torch.Tensor:
    """(count, 1, 1, 1) uniform in [low, high)."""
    return random(count, low, high, like)[:, None, None, None]


def segment(start: torch.Tensor, end: torch.Tensor, width: torch.Tensor, gap: torch.Tensor | None = None) -> Images:
    """Straight strokes from `start` to `end`, both (B, 2) as x, y in pixels, `width` (B,) pixels wide.

    With `gap` (B,) they are dotted: as much paper as ink, in steps of `gap` pixels.
    """
    axis = torch.arange(SIDE, device=start.device, dtype=torch.float32)
    place = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)  # (28, 28, 2)
    along, to = (end - start)[:, None, None], place - start[:, None, None]
    length = along.square().sum(-1).clamp(min=1e-6)
    share = ((to * along).sum(-1) / length).clamp(0, 1)
    distance = torch.linalg.vector_norm(to - share[..., None] * along, dim=-1)  # (B, 28, 28)
    stroke: torch.Tensor = (width[:, None, None] / 2 + 0.5 - distance).clamp(0, 1)
    if gap is not None:
        stroke = stroke * ((share * length.sqrt() / gap[:, None, None]).floor() % 2 == 0)
    return stroke[:, None]


def mass(images: Images) -> torch.Tensor:
    """Centre of mass (B, 2) as x, y in pixels."""
    axis = torch.arange(SIDE, device=images.device, dtype=torch.float32)
    total = images.sum((1, 2, 3)).clamp(min=1e-6)
    return torch.stack([(images.sum((1, 2)) @ axis) / total, (images.sum((1, 3)) @ axis) / total], dim=1)


def affine(images: Images, *, degrees: float, stretch: float, slant: float, pixels: float) -> torch.Tensor:
    """Random affine maps (B, 2, 3), each parameter uniform within ± its bound (`stretch` in log scale)."""
    angle, wide, high, shear, right, down = (torch.rand(6, len(images), device=images.device) * 2 - 1).unbind()
    cosine, sine = (angle * math.radians(degrees)).cos(), (angle * math.radians(degrees)).sin()
    wide, high, shear = (wide * stretch).exp(), (high * stretch).exp(), shear * slant
    rows = [
        torch.stack([cosine * wide, (cosine * shear - sine) * wide, right * pixels / 14], dim=-1),
        torch.stack([sine * high, (sine * shear + cosine) * high, down * pixels / 14], dim=-1),
    ]
    return torch.stack(rows, dim=1)
