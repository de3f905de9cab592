"""Training pictures as other hands, pens and cameras would have made them; by batch, each picture its own way.

Every step takes and gives (B, 1, 28, 28) floats in [0, 1], white ink on black. Batches come shuffled, so a step
that is meant for a part of the pictures simply takes the first of them.
"""

import functools

import torch
import torch.nn.functional as F

from mnist_lightning.damages import DAMAGE
from mnist_lightning.drawing import SIDE, Images, affine, each
from mnist_lightning.habits import habits

KNOTS = 5  # a side, of the field that bends a picture


def augment(images: Images, labels: torch.Tensor) -> Images:
    """Habits of writing, width of the pen, shape, then damage of many kinds on a part of the batch."""
    images = move(pen(habits(images, labels)))
    return damage(images)


def pen(images: Images, share: float = 0.3) -> Images:
    """A wider pen for the first part of the batch, a finer one for the next, by up to about a pixel a side."""
    count = int(share * len(images))
    wide, fine, rest = images[:count], images[count : 2 * count], images[2 * count :]
    wide = wide + each(count, 0, 0.9, images) * (F.max_pool2d(wide, 3, 1, 1) - wide)
    fine = fine + each(count, 0, 0.7, images) * (-F.max_pool2d(-fine, 3, 1, 1) - fine)
    return torch.cat([wide, fine, rest])


def move(images: Images, *, pixels: float = 0.7) -> Images:
    """Turned, stretched, slanted, shifted, and bent by a smooth random field of about `pixels`."""
    grid = F.affine_grid(affine(images), list(images.shape), align_corners=False)
    knots = torch.randn(len(images), 2, KNOTS, KNOTS, device=images.device) * (pixels / SIDE * 2)
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
