"""A drawn page -> a photograph of it: light, blur, noise and compression."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from mnist_lightning.datasets.page import Floats, Page, log_uniform
from mnist_lightning.preprocessing.decode import Bytes

SUPERSAMPLING = 2  # of a page, which is reduced to its photograph


@dataclass(frozen=True)
class Photograph:
    """A simulated photograph."""

    image: Bytes  # (H, W, 3)
    mask: Bytes  # (H, W), 0 to 255: how much of the pixel the digits' ink covers


def develop(page: Page) -> Photograph:
    """Apply light and camera, and reduce to the final size."""
    rng, size = page.rng, (page.width // SUPERSAMPLING, page.height // SUPERSAMPLING)
    image, mask = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (page.colors, page.mask))
    exposed = _expose(np.asarray(image * _light(size[1], size[0], rng)[..., None], dtype=np.float32), rng)
    if rng.random() < 0.33:
        exposed = exposed.max() - exposed  # a board
    return Photograph(_store(_to_bytes(exposed), rng), _to_bytes(np.asarray(mask, dtype=np.float32)))


def _expose(image: Floats, rng: Generator) -> Floats:
    """Blur an image (H, W, 3), and add gray or colored, fine or coarse noise."""
    if rng.random() < 0.6:
        blur = log_uniform(rng, 0.3, 2.0)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), dtype=np.float32)
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.normal(0, 1, (*image.shape[:2], channels)).astype(np.float32)
    if rng.random() < 0.3:
        noise = 2 * np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.9), dtype=np.float32).reshape(noise.shape)
    return np.asarray(image + noise * rng.uniform(0, 0.03), dtype=np.float32)


def _store(pixels: Bytes, rng: Generator) -> Bytes:
    """Remove the colors, and compress; either sometimes."""
    if rng.random() < 0.15:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    if rng.random() < 0.4:
        _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
        pixels = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), dtype=np.uint8)
    return pixels


def _to_bytes(image: Floats) -> Bytes:
    return np.asarray((image * 255).round().clip(0, 255), dtype=np.uint8)


def _light(height: int, width: int, rng: Generator) -> Floats:
    """The light on every pixel, (H, W): a gradient, the shadow of a hand, darker corners."""
    ys, xs = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    light = np.full((height, width), rng.uniform(0.6, 1.05), np.float32)
    if rng.random() < 0.6:
        along = _in_any_direction(xs, ys, rng)
        along -= along.min()
        light *= 1 - rng.uniform(0, 0.5) * along / along.max()
    if rng.random() < 0.3:
        along = _in_any_direction(xs, ys, rng)
        along += rng.uniform(0, 0.05) * np.sin(xs * rng.uniform(3, 20) + ys * rng.uniform(3, 20))
        border, softness = rng.uniform(along.min(), along.max()), rng.uniform(4, 60)
        light *= 1 - rng.uniform(0.1, 0.45) / (1 + np.exp(-softness * (along - border)))
    if rng.random() < 0.2:
        light *= 1 - rng.uniform(0.1, 0.5) * ((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2)
    return np.asarray(light, dtype=np.float32)


def _in_any_direction(xs: Floats, ys: Floats, rng: Generator) -> Floats:
    """Each pixel's position along a random direction, (H, W)."""
    angle = rng.uniform(0, 2 * math.pi)
    return np.asarray(xs * math.cos(angle) + ys * math.sin(angle), dtype=np.float32)
