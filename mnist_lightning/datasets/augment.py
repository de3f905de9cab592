"""Training pictures as other hands, pens and cameras would have made them; by batch, each picture its own way.

Every step takes and gives (B, 1, 28, 28) floats in [0, 1], white ink on black. Batches come shuffled, so a step
that is meant for a part of the pictures simply takes the first of them.
"""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from mnist_lightning.datasets.corruptions import DAMAGE
from mnist_lightning.datasets.raster import SIDE, Images, affine, each
from mnist_lightning.datasets.variants import habits

MOVES = {"degrees": 10.0, "stretch": 0.1, "slant": 0.15, "pixels": 1.6}
BEND = 0.7  # pixels
KNOTS = 5  # a side, of the field that bends a picture


@dataclass
class Augmentation:
    """How far training pictures are taken from MNIST's own; at 0 a step is left out."""

    habits: float = 1.0
    """Habits of writing of other countries: part of their full shares, in [0, 1]."""
    pens: float = 0.3
    """Part of the pictures with a wider pen, and as many with a finer one, in [0, 0.5]."""
    moves: float = 1.0
    """Turning, stretching, slanting, shifting and bending: part of their full bounds, in [0, 2]."""
    damage: float = 0.2
    """Part of the pictures damaged by noise, blur, lines and the like, in [0, 1]."""

    def __post_init__(self) -> None:
        for name, most in {"habits": 1, "pens": 0.5, "moves": 2, "damage": 1}.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"augmentation.{name} is {getattr(self, name)}; it must be from 0 to {most}")

    def __call__(self, images: Images, labels: torch.Tensor) -> Images:
        """A batch's pictures, each changed in its own way; `labels` (B,) tell which habits a digit can have."""
        images = habits(images, labels, self.habits) if self.habits else images
        images = pen(images, self.pens) if self.pens else images
        images = move(images, self.moves) if self.moves else images
        return damage(images, self.damage)


def pen(images: Images, share: float = 0.3) -> Images:
    """A wider pen for the first part of the batch, a finer one for the next, by up to about a pixel a side."""
    count = int(share * len(images))
    wide, fine, rest = images[:count], images[count : 2 * count], images[2 * count :]
    wide = wide + each(count, 0, 0.9, images) * (F.max_pool2d(wide, 3, 1, 1) - wide)
    fine = fine + each(count, 0, 0.7, images) * (-F.max_pool2d(-fine, 3, 1, 1) - fine)
    return torch.cat([wide, fine, rest])


def move(images: Images, amount: float = 1.0) -> Images:
    """Turned, stretched, slanted, shifted, and bent by a smooth random field of about 0.7 pixels, times `amount`."""
    bounds = {name: bound * amount for name, bound in MOVES.items()}
    grid = F.affine_grid(affine(images, **bounds), list(images.shape), align_corners=False)
    knots = torch.randn(len(images), 2, KNOTS, KNOTS, device=images.device) * (BEND * amount / SIDE * 2)
    smooth = _between_knots(images.device)
    bend = (smooth @ knots @ smooth.T).permute(0, 2, 3, 1)  # bicubic, as two small products
    return F.grid_sample(images, grid + bend, align_corners=False)


@functools.cache
def _between_knots(device: torch.device) -> torch.Tensor:
    """The (28, 5) weights by which bicubic interpolation makes 28 values of 5 knots."""
    one = torch.eye(KNOTS, device=device)[None, None]
    return F.interpolate(one, size=(SIDE, KNOTS), mode="bicubic", align_corners=True)[0, 0]


def damage(images: Images, share: float = 0.2) -> Images:
    """Each kind of damage on its own few pictures; 1 - `share` of the batch stays whole."""
    count = round(share * len(images) / len(DAMAGE))  # pictures for each kind
    damaged = [kind(images[i * count : (i + 1) * count]) for i, kind in enumerate(DAMAGE)] if count else []
    return torch.cat([*damaged, images[count * len(DAMAGE) :]])
