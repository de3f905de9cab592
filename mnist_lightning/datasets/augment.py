"""Augmentation of training batches: regional variants, stroke width, affine and elastic maps, corruptions.

Every step takes and returns (B, 1, 28, 28) floats in [0, 1], white ink on black. Each image has its own random
parameters, and each step chooses its images independently of the other steps.
"""

import functools
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from mnist_lightning.common.validation import check_between
from mnist_lightning.datasets.corruptions import CORRUPTIONS
from mnist_lightning.datasets.raster import (
    SIDE,
    Images,
    apply_to_subsets,
    dilate,
    erode,
    pick,
    random_affine,
    random_subsets,
    uniform_per_image,
)
from mnist_lightning.datasets.variants import add_regional_variants

AFFINE_BOUNDS = {"degrees": 10.0, "stretch": 0.1, "slant": 0.15, "pixels": 1.6}
ELASTIC_SIGMA = 0.7  # pixels, of each control point's displacement
CONTROL_POINTS = 5  # along each side, of the displacement field
KINDS_PER_BATCH = 6  # of corruption
STRENGTH_LIMITS = {"regional_variants": 1.0, "stroke_width": 0.5, "affine": 2.0, "corruption": 1.0}


@dataclass
class Augmentation:
    """Strength of each augmentation step; 0 turns a step off."""

    regional_variants: float = 1.0
    """Digits as written in other countries: fraction of the usual share of images, in [0, 1]."""
    stroke_width: float = 0.3
    """Fraction of the images with wider strokes, and as many with thinner ones, in [0, 0.5]."""
    affine: float = 1.0
    """Rotation, scaling, shear, shift and elastic deformation: fraction of the usual bounds, in [0, 2]."""
    corruption: float = 0.3
    """Fraction of the images corrupted by noise, blur, lines and the like, in [0, 1]."""

    def __post_init__(self) -> None:
        for field in fields(self):
            check_between(f"augmentation.{field.name}", getattr(self, field.name), STRENGTH_LIMITS[field.name])

    def for_finetuning(self) -> "Augmentation":
        """A milder augmentation for the end of a training, closer to the images that the network is evaluated on.

        The variants stay: without them at the end, the network forgets half of what it learned of them.
        """
        return Augmentation(self.regional_variants, 0, self.affine / 2, self.corruption / 2)

    def __call__(self, images: Images, labels: torch.Tensor) -> Images:
        """Augment a batch; the labels (B,) determine which regional variants a digit has."""
        images = add_regional_variants(images, labels, self.regional_variants)
        images = vary_stroke_width(images, self.stroke_width)
        images = deform(images, self.affine)
        return corrupt(images, self.corruption)


def vary_stroke_width(images: Images, share: float = 0.3) -> Images:
    """Widen the strokes of a random `share` of the images and thin those of as many others, by up to a pixel a side."""
    return apply_to_subsets(images, (_widen, _thin), random_subsets(len(images), (share, share)))


def deform(images: Images, amount: float = 1.0) -> Images:
    """Apply a random affine map and a smooth random displacement field; `amount` scales the bounds of both."""
    if not amount:
        return images
    theta = random_affine(images, **{name: bound * amount for name, bound in AFFINE_BOUNDS.items()})
    points = torch.randn(len(images), 2, CONTROL_POINTS**2, device=images.device)
    coefficients = torch.cat([theta, points * (ELASTIC_SIGMA * amount / SIDE * 2)], dim=2)  # (B, 2, 28)
    grid = (coefficients @ _grid_basis(images.device)).view(len(images), 2, SIDE, SIDE)
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), align_corners=False)


def corrupt(images: Images, share: float = 0.3) -> Images:
    """Corrupt a random `share` of the images, each by one of CORRUPTIONS.

    A batch meets KINDS_PER_BATCH kinds, drawn anew for each: every kind costs time, even on a few images.
    """
    kinds = pick(CORRUPTIONS, KINDS_PER_BATCH)
    return apply_to_subsets(images, kinds, random_subsets(len(images), [share / len(kinds)] * len(kinds)))


def _widen(images: Images) -> Images:
    return images + uniform_per_image(len(images), 0, 0.9, images) * (dilate(images) - images)


def _thin(images: Images) -> Images:
    return images + uniform_per_image(len(images), 0, 0.7, images) * (erode(images) - images)


@functools.cache
def _grid_basis(device: torch.device) -> torch.Tensor:
    """What 3 affine coefficients and 25 control points each add to a sampling grid's coordinates, (28, 784).

    The grid is that of `affine_grid`; between the control points it is interpolated bicubically.
    """
    axis = (torch.arange(SIDE, device=device) * 2 + 1) / SIDE - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    affine = torch.stack([columns, rows, torch.ones_like(rows)])
    identity = torch.eye(CONTROL_POINTS**2, device=device).view(-1, 1, CONTROL_POINTS, CONTROL_POINTS)
    elastic = F.interpolate(identity, size=(SIDE, SIDE), mode="bicubic", align_corners=True)[:, 0]
    return torch.cat([affine, elastic]).flatten(1)
