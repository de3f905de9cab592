"""MNIST's digits as people would send them: papers, pens, places and cameras; to measure on, never to train on.

Each kind takes a digit in MNIST's form, (28, 28) uint8, and a random generator, and gives the bytes of a picture file.
"""

import io
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
Shares = NDArray[np.float32]  # of ink, in [0, 1]
Generator = np.random.Generator
Kind = Callable[[Picture, Generator], bytes]

PAPER, INK = (250, 249, 245), (25, 25, 30)


def sketchpad(digit: Picture, dice: Generator) -> bytes:
    """Black on white, 280 pixels, somewhere near the middle."""
    return file(painted(_placed(strokes(digit, 180), 280, 280, dice)))


def blackboard(digit: Picture, dice: Generator) -> bytes:
    """White on black."""
    return file(painted(_placed(strokes(digit, 200), 320, 320, dice), (12, 12, 14), (240, 240, 240)))


def small(digit: Picture, dice: Generator) -> bytes:
    """48 pixels in all."""
    return file(painted(_placed(strokes(digit, 34), 48, 48, dice)))


def large(digit: Picture, dice: Generator) -> bytes:
    """1,200 × 900 pixels, the digit 600 high."""
    return file(painted(_placed(strokes(digit, 600), 1200, 900, dice)))


def lost(digit: Picture, dice: Generator) -> bytes:
    """A digit of 70 pixels anywhere on 900 × 900."""
    return file(painted(_placed(strokes(digit, 70), 900, 900, dice)))


def edge_to_edge(digit: Picture, dice: Generator) -> bytes:
    """Cut so close that the strokes touch every border."""
    ink = strokes(digit, 150)
    left, top, width, height = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    return file(painted(ink[top : top + height, left : left + width]))


def in_a_corner(digit: Picture, dice: Generator) -> bytes:
    """Drawn into a corner: two borders are touched, and one pixel of ink is cut off by each."""
    ink = strokes(digit, 150)
    left, top, across, down = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    sheet = np.zeros((240, 240), np.float32)
    sheet[: down - 1, : across - 1] = ink[top + 1 : top + down, left + 1 : left + across]
    y, x = (dice.integers(2) for _ in range(2))
    moved = np.roll(sheet, ((240 - down + 1) * int(y), (240 - across + 1) * int(x)), axis=(0, 1))
    return file(painted(moved))


def thick_pen(digit: Picture, dice: Generator) -> bytes:
    """A felt pen: strokes a third wider and more."""
    ink = strokes(digit, 220)
    return file(painted(_placed(cv2.dilate(ink, _disc(int(dice.integers(8, 14)))), 340, 340, dice)))


def fine_pen(digit: Picture, dice: Generator) -> bytes:
    """A fine liner: about a third of the stroke's width, along its middle."""
    depth = cv2.distanceTransform((strokes(digit, 300) > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    middle = (depth > 0.62 * cv2.dilate(depth, _disc(31))) & (depth > 1.5)
    return file(painted(_placed(cv2.GaussianBlur(middle.astype(np.float32), (0, 0), 0.7), 480, 480, dice)))


def coloured(digit: Picture, dice: Generator) -> bytes:
    """Ink of one colour on paper of another, both as light as each other or not."""
    colours = ((200, 30, 40), (255, 240, 200)), ((20, 60, 190), (230, 240, 255)), ((255, 220, 0), (20, 90, 60))
    ink, paper = colours[int(dice.integers(len(colours)))]
    return file(painted(_placed(strokes(digit, 160), 260, 240, dice), paper, ink))


def transparent(digit: Picture, dice: Generator) -> bytes:
    """Only ink, dark or white, and its alpha channel; nothing around it."""
    ink = _placed(strokes(digit, 160), 240, 240, dice)
    colour = np.full((*ink.shape, 3), dice.choice([0, 255]), np.uint8)
    return file(np.dstack([colour, (255 * ink).astype(np.uint8)]))


def jpeg(digit: Picture, dice: Generator) -> bytes:
    """Saved at quality 15."""
    return file(painted(_placed(strokes(digit, 120), 200, 200, dice)), "JPEG", quality=15)


def specks(digit: Picture, dice: Generator) -> bytes:
    """Dust on the paper."""
    picture = painted(_placed(strokes(digit, 180), 300, 300, dice))
    for x, y in dice.integers(0, 300, (25, 2)).tolist():
        cv2.circle(picture, (x, y), int(dice.integers(1, 3)), INK, -1)
    return file(picture)


def low_contrast(digit: Picture, dice: Generator) -> bytes:
    """Hard pencil on grey paper, with the grain of a camera."""
    return file(_grainy(painted(_placed(strokes(digit, 150), 240, 240, dice), (196,) * 3, (160,) * 3), dice, 3))


def lamp(digit: Picture, dice: Generator) -> bytes:
    """Light from one side: the paper falls to 45 % across the picture."""
    picture = painted(_placed(strokes(digit, 200), 320, 320, dice))
    return file(_grainy(picture * _slope(picture.shape, dice, 0.45)[..., None], dice, 3), "JPEG", quality=80)


def shadow(digit: Picture, dice: Generator) -> bytes:
    """The shadow of a hand over a part of the picture."""
    picture = painted(_placed(strokes(digit, 200), 320, 320, dice))
    edge = np.clip((_slope(picture.shape, dice, 0.0) - dice.uniform(0.35, 0.65)) * 12 + 0.5, 0, 1)
    return file(_grainy(picture * (0.6 + 0.4 * edge)[..., None], dice, 3), "JPEG", quality=80)


def ruled(digit: Picture, dice: Generator) -> bytes:
    """Blue lines under the digit and through it."""
    picture = _lined(300, dice, upright=False)
    return file(painted(_placed(strokes(digit, 170), 300, 300, dice), picture))


def squared(digit: Picture, dice: Generator) -> bytes:
    """Squared paper."""
    return file(painted(_placed(strokes(digit, 170), 300, 300, dice), _lined(300, dice, upright=True)))


def framed(digit: Picture, dice: Generator) -> bytes:
    """A box drawn around the digit, as on a form."""
    picture = painted(_placed(strokes(digit, 170), 300, 300, dice, margin=24))
    cv2.rectangle(picture, (6, 6), (293, 293), INK, 3)
    return file(picture)


def turned(digit: Picture, dice: Generator) -> bytes:
    """Turned by up to 20 degrees either way."""
    ink = strokes(digit, 200)
    ink = cv2.copyMakeBorder(ink, 50, 50, 50, 50, cv2.BORDER_CONSTANT)
    middle = (ink.shape[1] / 2, ink.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, dice.uniform(-20, 20), 1)
    return file(painted(cv2.warpAffine(ink, turn, ink.shape[::-1])))


KINDS: Mapping[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(
            sketchpad,
            blackboard,
            small,
            large,
            lost,
            in_a_corner,
            edge_to_edge,
            thick_pen,
            fine_pen,
            coloured,
            transparent,
        ),
        *(jpeg, specks, low_contrast, lamp, shadow, ruled, squared, framed, turned),
    )
}


def strokes(digit: Picture, height: int) -> Shares:
    """The digit's ink at `height` pixels for 28, with edges as sharp as a pen's."""
    smooth = cv2.resize(digit, (height, height), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    return np.asarray(np.clip((smooth - 0.5) * height / 28 + 0.5, 0, 1), dtype=np.float32)


def _placed(ink: Shares, width: int, height: int, dice: Generator, margin: int = 0) -> Shares:
    """The ink's own box somewhere on an empty sheet."""
    left, top, across, down = cv2.boundingRect((ink > 0.1).astype(np.uint8))
    sheet = np.zeros((height, width), np.float32)
    x = int(dice.integers(margin, width - across - margin + 1))
    y = int(dice.integers(margin, height - down - margin + 1))
    sheet[y : y + down, x : x + across] = ink[top : top + down, left : left + across]
    return sheet


def painted(ink: Shares, paper: object = PAPER, colour: object = INK) -> Picture:
    """Ink over paper, (h, w, 3)."""
    under, over = np.asarray(paper, np.float32), np.asarray(colour, np.float32)
    return (under + ink[..., None] * (over - under)).round().astype(np.uint8)


def _lined(side: int, dice: Generator, *, upright: bool) -> Picture:
    """Paper with thin blue lines."""
    picture = np.full((side, side, 3), PAPER, np.uint8)
    step, first = int(dice.integers(28, 50)), int(dice.integers(5, 25))
    for place in range(first, side, step):
        cv2.line(picture, (0, place), (side, place), (120, 150, 210), 2)
        if upright:
            cv2.line(picture, (place, 0), (place, side), (120, 150, 210), 2)
    return picture


def _slope(shape: tuple[int, ...], dice: Generator, low: float) -> Shares:
    """From 1 down to `low`, in a random direction across the picture."""
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    angle = dice.uniform(0, 2 * np.pi)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    return np.asarray(1 - (1 - low) * (along - along.min()) / np.ptp(along), dtype=np.float32)


def _grainy(picture: object, dice: Generator, spread: float) -> Picture:
    values = np.asarray(picture, np.float32)
    return (values + dice.normal(0, spread, values.shape)).round().clip(0, 255).astype(np.uint8)


def _disc(side: int) -> Picture:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def file(picture: Picture, form: str = "PNG", **options: int) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form, **options)
    return buffer.getvalue()
