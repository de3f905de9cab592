"""Images that show no digit, generated for the out-of-distribution head: letters, symbols, scribbles and others.

Each is drawn as a user might send it, dark on a light canvas or light on dark, and goes through the preprocessing
that the server applies. The fonts are those of matplotlib's package, the same on every machine.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnist_lightning.datasets import parallel, sketches
from mnist_lightning.datasets.sketches import CANVAS_SIDE, DrawFunction
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.normalize import normalize
from mnist_lightning.preprocessing.strokes import Floats

DIGITS = "0123456789"
LOOK_ALIKES = "BDGIJOQSYZbgijloqsyz"  # letters that many people write as others write a digit
LETTERS = "ACEFHKLMNPRTUVWXacdefhkmnprtuvwx"
SYMBOLS = "+-=<>#%@*^~±×÷≠≤≥∞∴∈∪∩∧∨√∑∏ΓΔΛΞΠΣΨΩπψω←→↔⇒♠♣♥♦"
OTHER_SCRIPTS = "ЖШЮЯФИЙЛПЦЩЪ☺☹☀☎☂☠♪✈✂✎✓✗★☆⌂⌘אבגדהמעפצשתابجدسصعكمن"  # only DejaVu Sans has all of these
FONTS = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
IN_ONE_PROCESS = 4_000  # images that are drawn before other processes would have started


@dataclass(frozen=True)
class OutlierSet:
    """What to draw: so many images of each kind, from a seed."""

    kinds: Mapping[str, DrawFunction]
    n_per_kind: int
    seed: int


class _Task(NamedTuple):
    """A kind of one of several sets."""

    place: int  # of the set
    kind: str


def generate(kinds: Mapping[str, DrawFunction], n_per_kind: int, seed: int) -> tuple[Floats, list[str]]:
    """Draw `n_per_kind` images of every kind.

    A canvas in which preprocessing finds no ink is replaced by another one.

    Returns:
        Preprocessed images (N, 28, 28) in [0, 1], and the kind of each.
    """
    (images,) = generate_all([OutlierSet(kinds, n_per_kind, seed)])
    return images, [kind for kind in kinds for _ in range(n_per_kind)]


def generate_all(sets: Sequence[OutlierSet]) -> list[Floats]:
    """The images of several sets, (N, 28, 28) in [0, 1] each; many are drawn on all processor cores.

    Raises GenerationError if a process is killed.
    """
    tasks = [_Task(place, kind) for place, one in enumerate(sets) for kind in one.kinds]
    tasks.sort(key=lambda task: -sets[task.place].n_per_kind)  # the longest first, so that no core waits for the last
    total = sum(len(one.kinds) * one.n_per_kind for one in sets)
    drawn = (
        map(partial(_draw_kind, sets), tasks) if total < IN_ONE_PROCESS else parallel.generate(_draw_kind, sets, tasks)
    )
    images = dict(zip(tasks, drawn, strict=True))
    return [np.concatenate([images[_Task(place, kind)] for kind in one.kinds]) for place, one in enumerate(sets)]


def _draw_kind(sets: Sequence[OutlierSet], task: _Task) -> Floats:
    """The images of one kind, whatever else is drawn."""
    one = sets[task.place]
    draw, rng = one.kinds[task.kind], np.random.default_rng([one.seed, *task.kind.encode()])
    images: list[Floats] = []
    while len(images) < one.n_per_kind:
        try:
            images.append(normalize(vary_canvas(draw(rng), rng)))
        except NoDigitError:
            continue
    return np.stack(images)


def vary_canvas(ink: Bytes, rng: Generator) -> Bytes:
    """Deform a canvas a little, then invert and shrink it as users' images vary."""
    canvas = _deform(ink, rng)
    if rng.random() < 0.2:
        canvas = np.asarray(cv2.resize(canvas, (28, 28), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return canvas if rng.random() < 0.3 else np.asarray(255 - canvas, dtype=np.uint8)


def _deform(ink: Bytes, rng: Generator) -> Bytes:
    """Apply a random affine map and a smooth random displacement field."""
    side = len(ink)
    angle, slant, (width, height) = rng.normal(0, 0.1), rng.normal(0, 0.12), rng.uniform(0.6, 0.85, 2)
    forward = np.array([[np.cos(angle), slant - np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [width, height]
    backward = np.linalg.inv(forward)
    middle = side / 2 - 0.5
    target = np.stack(np.meshgrid(*[np.arange(side) - middle - shift for shift in rng.normal(0, 3, 2)]), axis=-1)
    control_points = rng.normal(0, 1.5, (5, 5, 2)).astype(np.float32)
    displacement = cv2.resize(control_points, (side, side), interpolation=cv2.INTER_CUBIC)
    source = target @ backward.T + middle + displacement
    fills_canvas = ink[0].any() and ink[:, 0].any()  # a texture, which continues beyond the canvas
    border = cv2.BORDER_REFLECT if fills_canvas else cv2.BORDER_CONSTANT
    columns, rows = source.astype(np.float32).transpose(2, 0, 1)
    return np.asarray(cv2.remap(ink, columns, rows, cv2.INTER_LINEAR, borderMode=border), dtype=np.uint8)


@functools.cache
def render_glyph(font: str, text: str) -> Bytes:
    """A canvas with a text in a font, its longest side three quarters of the canvas."""
    typeface = ImageFont.truetype(str(font_path(font)), 64)
    left, top, right, bottom = typeface.getbbox(text)
    sheet = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
    ImageDraw.Draw(sheet).text((4 - left, 4 - top), text, fill=255, font=typeface)
    return center_on_canvas(np.asarray(sheet))


def font_path(font: str) -> Path:
    """The file of one of matplotlib's fonts, by name; a path is returned as it is."""
    return Path(font) if "/" in font else Path(matplotlib.get_data_path(), "fonts/ttf", f"{font}.ttf")


def center_on_canvas(image: Bytes, share: float = 0.75) -> Bytes:
    """Place an image (H, W) in the middle of a canvas, its longest side scaled to that share of the canvas."""
    scale = share * CANVAS_SIDE / max(image.shape)
    width, height = (max(1, round(length * scale)) for length in image.shape[::-1])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (CANVAS_SIDE - height) // 2, (CANVAS_SIDE - width) // 2
    canvas = np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8)
    canvas[top : top + height, left : left + width] = small
    return canvas


def typeset(texts: Sequence[str], fonts: Sequence[str] = FONTS) -> DrawFunction:
    """Draws a random text in a random font, with thinner or thicker strokes."""
    return partial(_draw_text, texts, fonts)


def _draw_text(texts: Sequence[str], fonts: Sequence[str], rng: Generator) -> Bytes:
    canvas = render_glyph(str(rng.choice(fonts)), texts[int(rng.integers(len(texts)))])
    change = int(rng.integers(-2, 4))
    method = cv2.dilate if change > 0 else cv2.erode
    changed = method(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1,) * 2))
    return np.asarray(changed if np.count_nonzero(changed) > 200 else canvas, dtype=np.uint8)


OUTLIER_KINDS: Mapping[str, DrawFunction] = {  # the names seed the random numbers
    "letter": typeset(LETTERS),
    "word": typeset(["ab", "no", "me", "AM", "xy", "hi", "UK", "ok", "the", "cat", "EXIT", "und", "Wm", "fh", "en"]),
    "sign": typeset(SYMBOLS, [font for font in FONTS if font.startswith("DejaVu")]),
    "other script": typeset(OTHER_SCRIPTS, ["DejaVuSans"]),
    "scribble": sketches.scribble,
    "zigzag": sketches.zigzag,
    "lines": sketches.lines,
    "face": sketches.face,
    "drawing": sketches.drawing,
    "texture": sketches.texture,
    "noise": sketches.noise,
    "blot": sketches.blot,
    "thing": sketches.shaded_object,
}


def altered_digits(images: Bytes, labels: NDArray[np.int64]) -> Mapping[str, DrawFunction]:
    """Outliers made of digits (N, 28, 28) in MNIST's format: several side by side, rotated or mirrored, crossed out."""
    kinds = {"several digits": _several_digits, "turned digit": _turned_digit, "crossed out": _crossed_out}
    return {name: partial(draw, partial(_random_digit, images, labels)) for name, draw in kinds.items()}


def _random_digit(images: Bytes, labels: NDArray[np.int64], rng: Generator, allowed: str = DIGITS) -> Bytes:
    while True:
        index = int(rng.integers(len(images)))
        if str(labels[index]) in allowed:
            return np.asarray(images[index])


def _several_digits(random_digit: Callable[..., Bytes], rng: Generator) -> Bytes:
    gap = int(rng.integers(-4, 6))
    row = [_crop_to_ink(random_digit(rng)) for _ in range(int(rng.integers(2, 5)))]
    height = max(len(digit) for digit in row)
    sheet = np.zeros((height + 4, sum(digit.shape[1] + gap for digit in row) + 8), np.uint8)
    left = 4
    for digit in row:
        top = (height - len(digit)) // 2 + int(rng.integers(0, 5))
        part = sheet[top : top + len(digit), left : left + digit.shape[1]]
        np.maximum(part, digit[: part.shape[0], : part.shape[1]], out=part)
        left += max(2, digit.shape[1] + gap)
    return center_on_canvas(sheet)


def _turned_digit(random_digit: Callable[..., Bytes], rng: Generator) -> Bytes:
    turn = int(rng.integers(4))
    digit = random_digit(rng, ("347", "23457", "23457", "34")[turn])  # those that become no other digit
    turned = (np.rot90(digit, 2), np.rot90(digit), np.rot90(digit, 3), digit[:, ::-1])[turn]
    return center_on_canvas(turned.copy(), 1)


def _crossed_out(random_digit: Callable[..., Bytes], rng: Generator) -> Bytes:
    lines = sketches.draw_strokes(list(rng.random((int(rng.integers(3, 6)), 2, 2)) * 1.1), rng)
    return np.asarray(np.maximum(center_on_canvas(random_digit(rng), 0.9), lines), dtype=np.uint8)


def _crop_to_ink(image: Bytes) -> Bytes:
    left, top, width, height = cv2.boundingRect(image)
    return image[top : top + height, left : left + width]


def redrawn_digits(images: Bytes) -> DrawFunction:
    """Draws a random digit of (N, 28, 28) in MNIST's format, enlarged and with sharp edges as drawn on a canvas."""
    return partial(_redrawn_digit, images)


def _redrawn_digit(images: Bytes, rng: Generator) -> Bytes:
    large = center_on_canvas(images[rng.integers(len(images))], 1)
    edge, sharpness = rng.uniform(60, 170), rng.uniform(1, 12)
    return np.asarray(np.clip((large.astype(np.float32) - edge) * sharpness + 128, 0, 255) * (large > 20), np.uint8)
