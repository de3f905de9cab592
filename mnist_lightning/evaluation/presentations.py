"""MNIST's digits as users send them, with many papers, pens, positions and cameras; for evaluation only.

Each presentation takes a digit in MNIST's format, (28, 28) uint8, and a random generator, and returns the content of an
image file.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

Image = NDArray[np.uint8]
Ink = NDArray[np.float32]  # (H, W), coverage with ink in [0, 1]
Generator = np.random.Generator
Presentation = Callable[[Image, Generator], bytes]

PAPER, INK = (250, 249, 245), (25, 25, 30)


def sketchpad(digit: Image, rng: Generator) -> bytes:
    """Black on white, 280×280 pixels."""
    return encode(paint(_on_sheet(strokes(digit, 180), 280, 280, rng)))


def blackboard(digit: Image, rng: Generator) -> bytes:
    """White on black."""
    return encode(paint(_on_sheet(strokes(digit, 200), 320, 320, rng), (12, 12, 14), (240, 240, 240)))


def small(digit: Image, rng: Generator) -> bytes:
    """48×48 pixels."""
    return encode(paint(_on_sheet(strokes(digit, 34), 48, 48, rng)))


def large(digit: Image, rng: Generator) -> bytes:
    """1,200×900 pixels, with a digit of 600."""
    return encode(paint(_on_sheet(strokes(digit, 600), 1200, 900, rng)))


def lost(digit: Image, rng: Generator) -> bytes:
    """A digit of 70 pixels anywhere on 900×900."""
    return encode(paint(_on_sheet(strokes(digit, 70), 900, 900, rng)))


def edge_to_edge(digit: Image, rng: Generator) -> bytes:
    """Cropped to the ink, so the strokes touch every border."""
    ink = strokes(digit, 150)
    left, top, width, height = _box(ink)
    return encode(paint(ink[top : top + height, left : left + width]))


def in_a_corner(digit: Image, rng: Generator) -> bytes:
    """In a corner: the ink touches two borders, and each cuts off one pixel of it."""
    ink = strokes(digit, 150)
    left, top, across, down = _box(ink)
    sheet = np.zeros((240, 240), np.float32)
    sheet[: down - 1, : across - 1] = ink[top + 1 : top + down, left + 1 : left + across]
    y, x = (rng.integers(2) for _ in range(2))
    moved = np.roll(sheet, ((240 - down + 1) * int(y), (240 - across + 1) * int(x)), axis=(0, 1))
    return encode(paint(moved))


def thick_pen(digit: Image, rng: Generator) -> bytes:
    """A felt pen: strokes at least a third wider."""
    ink = strokes(digit, 220)
    wide = np.asarray(cv2.dilate(ink, _ellipse(int(rng.integers(8, 14)))), dtype=np.float32)
    return encode(paint(_on_sheet(wide, 340, 340, rng)))


def fine_pen(digit: Image, rng: Generator) -> bytes:
    """A fine liner: about a third of the stroke width."""
    depth = cv2.distanceTransform((strokes(digit, 300) > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    middle = (depth > 0.62 * cv2.dilate(depth, _ellipse(31))) & (depth > 1.5)
    fine = np.asarray(cv2.GaussianBlur(middle.astype(np.float32), (0, 0), 0.7), dtype=np.float32)
    return encode(paint(_on_sheet(fine, 480, 480, rng)))


def colored(digit: Image, rng: Generator) -> bytes:
    """Ink of one color on paper of another, of different or of similar brightness."""
    colors = ((200, 30, 40), (255, 240, 200)), ((20, 60, 190), (230, 240, 255)), ((255, 220, 0), (20, 90, 60))
    ink, paper = colors[int(rng.integers(len(colors)))]
    return encode(paint(_on_sheet(strokes(digit, 160), 260, 240, rng), paper, ink))


def transparent(digit: Image, rng: Generator) -> bytes:
    """Dark or white ink on a transparent background."""
    ink = _on_sheet(strokes(digit, 160), 240, 240, rng)
    color = np.full((*ink.shape, 3), rng.choice([0, 255]), np.uint8)
    return encode(np.dstack([color, (255 * ink).astype(np.uint8)]))


def jpeg(digit: Image, rng: Generator) -> bytes:
    """A JPEG file of quality 15."""
    return encode(paint(_on_sheet(strokes(digit, 120), 200, 200, rng)), "JPEG", quality=15)


def specks(digit: Image, rng: Generator) -> bytes:
    """Dust on the paper."""
    image = paint(_on_sheet(strokes(digit, 180), 300, 300, rng))
    for x, y in rng.integers(0, 300, (25, 2)).tolist():
        cv2.circle(image, (x, y), int(rng.integers(1, 3)), INK, -1)
    return encode(image)


def low_contrast(digit: Image, rng: Generator) -> bytes:
    """A hard pencil on gray paper, with camera noise."""
    return encode(_add_grain(paint(_on_sheet(strokes(digit, 150), 240, 240, rng), (196,) * 3, (160,) * 3), rng, 3))


def lamp(digit: Image, rng: Generator) -> bytes:
    """Light from one side: the brightness falls to 45 % across the picture."""
    image = paint(_on_sheet(strokes(digit, 200), 320, 320, rng))
    return encode(_add_grain(image * _gradient(image.shape, rng, 0.45)[..., None], rng, 3), "JPEG", quality=80)


def shadow(digit: Image, rng: Generator) -> bytes:
    """The shadow of a hand over part of the picture."""
    image = paint(_on_sheet(strokes(digit, 200), 320, 320, rng))
    edge = np.clip((_gradient(image.shape, rng, 0.0) - rng.uniform(0.35, 0.65)) * 12 + 0.5, 0, 1)
    return encode(_add_grain(image * (0.6 + 0.4 * edge)[..., None], rng, 3), "JPEG", quality=80)


def ruled(digit: Image, rng: Generator) -> bytes:
    """Ruled paper with blue lines."""
    image = _lined_paper(300, rng, upright=False)
    return encode(paint(_on_sheet(strokes(digit, 170), 300, 300, rng), image))


def squared(digit: Image, rng: Generator) -> bytes:
    """Squared paper with blue lines."""
    return encode(paint(_on_sheet(strokes(digit, 170), 300, 300, rng), _lined_paper(300, rng, upright=True)))


def framed(digit: Image, rng: Generator) -> bytes:
    """A box around the digit, as on a form."""
    image = paint(_on_sheet(strokes(digit, 170), 300, 300, rng, margin=24))
    cv2.rectangle(image, (6, 6), (293, 293), INK, 3)
    return encode(image)


def skewed_squares(digit: Image, rng: Generator) -> bytes:
    """Squared paper, photographed: turned by up to 6 degrees, in uneven light, out of focus, with noise."""
    image = np.full((300, 300, 3), PAPER, np.uint8)
    color, step = rng.uniform(90, 190, 3).tolist(), int(rng.integers(26, 60))
    angle = math.radians(rng.uniform(-6, 6))
    for x, y in ((math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))):
        for offset in range(-300, 600, step):
            middle = 150 - y * (offset - 150), 150 + x * (offset - 150)
            start, end = ((round(middle[0] + side * x * 500), round(middle[1] + side * y * 500)) for side in (-1, 1))
            cv2.line(image, start, end, color, int(rng.integers(1, 3)), cv2.LINE_AA)
    return _photograph(paint(_on_sheet(strokes(digit, 170), 300, 300, rng), image, _pen(rng)), rng)


def underlined(digit: Image, rng: Generator) -> bytes:
    """A line below the digit, close to its foot or through it, photographed."""
    ink = _on_sheet(strokes(digit, 170), 300, 300, rng)
    left, top, width, height = _box(ink)
    y, tilt = top + height + rng.uniform(-8, 14), rng.uniform(-0.06, 0.06)
    start, end = ((x, round(y + tilt * (x - left - width / 2))) for x in (-10, 310))
    return _marked(ink, rng, lambda image, color, thickness: cv2.line(image, start, end, color, thickness, cv2.LINE_AA))


def boxed(digit: Image, rng: Generator) -> bytes:
    """A box around the digit, drawn with a ruler, photographed."""
    ink = _on_sheet(strokes(digit, 150), 300, 300, rng, margin=40)
    left, top, width, height = _box(ink)
    gaps = rng.uniform(6, 38, 4)
    corners = [(left - gaps[0], top - gaps[1]), (left + width + gaps[2], top - gaps[1])]
    corners += [(left + width + gaps[2], top + height + gaps[3]), (left - gaps[0], top + height + gaps[3])]
    points = np.round(np.array(corners) + rng.normal(0, 3, (4, 2))).astype(np.int32)
    return _marked(
        ink, rng, lambda image, color, thickness: cv2.polylines(image, [points], True, color, thickness, cv2.LINE_AA)
    )


def circled(digit: Image, rng: Generator) -> bytes:
    """A circle around the digit, photographed."""
    ink = _on_sheet(strokes(digit, 130), 300, 300, rng, margin=60)
    left, top, width, height = _box(ink)
    middle = round(left + width / 2), round(top + height / 2)
    radii = (np.hypot(width, height) / 2 * rng.uniform(1.05, 1.4, 2)).round().astype(int).tolist()
    return _marked(
        ink,
        rng,
        lambda image, color, thickness: cv2.ellipse(image, middle, radii, 0, 0, 360, color, thickness, cv2.LINE_AA),
    )


def turned(digit: Image, rng: Generator) -> bytes:
    """Rotated by up to 20 degrees in either direction."""
    return encode(paint(rotate(strokes(digit, 200), rng.uniform(-20, 20))))


def turned_far(digit: Image, rng: Generator) -> bytes:
    """Rotated by 20 to 45 degrees in either direction."""
    return encode(paint(rotate(strokes(digit, 180), rng.choice([-1, 1]) * rng.uniform(20, 45))))


PRESENTATIONS: Mapping[str, Presentation] = {
    presentation.__name__: presentation
    for presentation in (
        *(sketchpad, blackboard, small, large, lost, in_a_corner, edge_to_edge, thick_pen, fine_pen, colored),
        *(transparent, jpeg, specks, low_contrast, lamp, shadow, ruled, squared, framed, turned),
        *(skewed_squares, underlined, boxed, circled, turned_far),
    )
}


def strokes(digit: Image, height: int) -> Ink:
    """The digit enlarged from 28 to `height` pixels, with edges as sharp as a pen's."""
    smooth = cv2.resize(digit, (height, height), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    return np.asarray(np.clip((smooth - 0.5) * height / 28 + 0.5, 0, 1), dtype=np.float32)


def _box(ink: Ink, least: float = 0.5) -> Sequence[int]:
    """Left, top, width and height of ink that covers more than `least` of a pixel."""
    return cv2.boundingRect((ink > least).astype(np.uint8))


def _on_sheet(ink: Ink, width: int, height: int, rng: Generator, margin: int = 0) -> Ink:
    """The ink, cropped, at a random position of an empty sheet."""
    left, top, across, down = _box(ink, 0.1)
    sheet = np.zeros((height, width), np.float32)
    x = int(rng.integers(margin, width - across - margin + 1))
    y = int(rng.integers(margin, height - down - margin + 1))
    sheet[y : y + down, x : x + across] = ink[top : top + down, left : left + across]
    return sheet


def rotate(ink: Ink, degrees: float) -> Ink:
    """The ink, rotated counterclockwise, with 50 pixels of empty paper on each side."""
    padded = np.pad(ink, 50)
    rotation = cv2.getRotationMatrix2D((padded.shape[1] / 2, padded.shape[0] / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(padded, rotation, padded.shape[::-1]), dtype=np.float32)


def paint(ink: Ink, paper: object = PAPER, color: object = INK) -> Image:
    """An RGB image (H, W, 3) of ink (H, W) on paper: one color, or an image (H, W, 3)."""
    background, foreground = np.asarray(paper, np.float32), np.asarray(color, np.float32)
    return (background + ink[..., None] * (foreground - background)).round().astype(np.uint8)


def _lined_paper(side: int, rng: Generator, *, upright: bool) -> Image:
    """Paper with thin blue lines across, and with `upright` also down."""
    image = np.full((side, side, 3), PAPER, np.uint8)
    step, first = int(rng.integers(28, 50)), int(rng.integers(5, 25))
    for place in range(first, side, step):
        cv2.line(image, (0, place), (side, place), (120, 150, 210), 2)
        if upright:
            cv2.line(image, (place, 0), (place, side), (120, 150, 210), 2)
    return image


def _gradient(shape: tuple[int, ...], rng: Generator, low: float) -> Ink:
    """A linear gradient (H, W) from 1 to `low` in a random direction."""
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    angle = rng.uniform(0, 2 * np.pi)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    return np.asarray(1 - (1 - low) * (along - along.min()) / np.ptp(along), dtype=np.float32)


def _pen(rng: Generator) -> Sequence[float]:
    """Black, blue or red ink."""
    inks = ((25, 25, 30), (30, 45, 140), (170, 30, 40))
    return inks[int(rng.integers(len(inks)))]


def _marked(ink: Ink, rng: Generator, mark: Callable[[Image, Sequence[float], int], object]) -> bytes:
    """A photograph of ink and a mark, in the same color or in another one."""
    pen = _pen(rng)
    image = paint(ink, PAPER, pen)
    mark(image, pen if rng.random() < 0.5 else _pen(rng), int(rng.integers(2, 7)))
    return _photograph(image, rng)


def _photograph(image: Image, rng: Generator) -> bytes:
    """The light falls to 60 % across the picture, which is slightly out of focus and noisy."""
    lit = image * _gradient(image.shape, rng, 0.6)[..., None]
    return encode(_add_grain(cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.5, 1.5)), rng, 4), "JPEG", quality=80)


def _add_grain(image: object, rng: Generator, deviation: float) -> Image:
    values = np.asarray(image, np.float32)
    return (values + rng.normal(0, deviation, values.shape)).round().clip(0, 255).astype(np.uint8)


def _ellipse(side: int) -> Image:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def encode(image: Image, file_format: str = "PNG", **options: int) -> bytes:
    """The content of an image file; a PNG is compressed little, which takes a fraction of the time."""
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, file_format, **({"compress_level": 1} | options))
    return buffer.getvalue()
