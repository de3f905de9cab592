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
    random_affine,
    random_subsets,
    uniform_per_image,
)
from mnist_lightning.datasets.variants import add_regional_variants

AFFINE_BOUNDS = {"degrees": 10.0, "stretch": 0.1, "slant": 0.15, "pixels": 1.6}
ELASTIC_SIGMA = 0.7  # pixels, of each control point's displacement
CONTROL_POINTS = 5  # along each side, of the displacement field
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
    corruption: float = 0.2
    """Fraction of the images corrupted by noise, blur, lines and the like, in [0, 1]."""

    def __post_init__(self) -> None:
        for field in fields(self):
            check_between(f"augmentation.{field.name}", getattr(self, field.name), STRENGTH_LIMITS[field.name])

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
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    points = torch.randn(len(images), 2, CONTROL_POINTS, CONTROL_POINTS, device=images.device)
    weights = _bicubic_weights(images.device)
    displacement = weights @ points @ weights.T * (ELASTIC_SIGMA * amount / SIDE * 2)  # bicubic interpolation
    return F.grid_sample(images, grid + displacement.permute(0, 2, 3, 1), align_corners=False)


def corrupt(images: Images, share: float = 0.2) -> Images:
    """Corrupt a random `share` of the images, each by one of CORRUPTIONS."""
    subsets = random_subsets(len(images), [share / len(CORRUPTIONS)] * len(CORRUPTIONS))
    return apply_to_subsets(images, CORRUPTIONS, subsets)


def _widen(images: Images) -> Images:
    return images + uniform_per_image(len(images), 0, 0.9, images) * (F.max_pool2d(images, 3, 1, 1) - images)


def _thin(images: Images) -> Images:
    return images + uniform_per_image(len(images), 0, 0.7, images) * (-F.max_pool2d(-images, 3, 1, 1) - images)


@functools.cache
def _bicubic_weights(device: torch.device) -> torch.Tensor:
    """The (28, 5) weights of bicubic interpolation from 5 control points to 28 pixels."""
    identity = torch.eye(CONTROL_POINTS, device=device)[None, None]
    return F.interpolate(identity, size=(SIDE, CONTROL_POINTS), mode="bicubic", align_corners=True)[0, 0]
