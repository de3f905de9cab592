"""Pictures of what is no digit, made for the network to learn what to refuse: letters, signs, scribbles and the like.

Each is drawn as a person might send it, dark on a light canvas or the other way round, and goes through the same
preprocessing as any picture. The fonts are those inside matplotlib's package: the same on every machine.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnist_lightning.datasets import sketches
from mnist_lightning.datasets.sketches import SIDE, Make
from mnist_lightning.preprocessing.decode import Bytes, NoDigitError
from mnist_lightning.preprocessing.normalize import Floats, normalise

DIGITS = "0123456789"
LOOK_ALIKES = "BDGIJOQSYZbgijloqsyz"  # letters that many people write as others write a digit
LETTERS = "ACEFHKLMNPRTUVWXacdefhkmnprtuvwx"
SIGNS = "+-=<>#%@*^~±×÷≠≤≥∞∴∈∪∩∧∨√∑∏ΓΔΛΞΠΣΨΩπψω←→↔⇒♠♣♥♦"
MORE = "ЖШЮЯФИЙЛПЦЩЪ☺☹☀☎☂☠♪✈✂✎✓✗★☆⌂⌘אבגדהמעפצשתابجدسصعكمن"  # of DejaVu Sans alone
FONTS = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmti10", "cmtt10"),
)


def made(kinds: Mapping[str, Make], each: int, seed: int) -> tuple[Floats, list[str]]:
    """`each` pictures of every kind as the network will see them, (N, 28, 28) in [0, 1], and what each is.

    What preprocessing refuses, being no picture of anything, is drawn anew.
    """
    seen: list[Floats] = []
    names: list[str] = []
    for name, make in kinds.items():
        dice = np.random.default_rng([seed, *name.encode()])
        while names.count(name) < each:
            try:
                seen.append(normalise(as_sent(make(dice), dice)))
                names.append(name)
            except NoDigitError:
                continue
    return np.stack(seen), names


def as_sent(ink: Bytes, dice: Generator) -> Bytes:
    """A canvas bent a little, as no hand draws twice the same, in one of the forms that people send."""
    canvas = _bent(ink, dice)
    if dice.random() < 0.2:
        canvas = np.asarray(cv2.resize(canvas, (28, 28), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return canvas if dice.random() < 0.3 else np.asarray(255 - canvas, dtype=np.uint8)


def _bent(ink: Bytes, dice: Generator) -> Bytes:
    """Turned, sized, slanted, moved, and bent by a smooth random field."""
    side = len(ink)
    angle, slant, (wide, high) = dice.normal(0, 0.1), dice.normal(0, 0.12), dice.uniform(0.6, 0.85, 2)
    turn = np.array([[np.cos(angle), slant - np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [wide, high]
    back = np.linalg.inv(turn)
    middle = side / 2 - 0.5
    place = np.stack(np.meshgrid(*[np.arange(side) - middle - shift for shift in dice.normal(0, 3, 2)]), axis=-1)
    knots = dice.normal(0, 1.5, (5, 5, 2)).astype(np.float32)
    source = place @ back.T + middle + cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
    edge = cv2.BORDER_REFLECT if ink[0].any() and ink[:, 0].any() else cv2.BORDER_CONSTANT  # all over, or a drawing
    columns, rows = source.astype(np.float32).transpose(2, 0, 1)
    return np.asarray(cv2.remap(ink, columns, rows, cv2.INTER_LINEAR, borderMode=edge), dtype=np.uint8)


@functools.cache
def glyph(font: str, text: str) -> Bytes:
    """A text in a font, its longest side most of the canvas."""
    drawn = ImageFont.truetype(str(path_of(font)), 64)
    left, top, right, bottom = drawn.getbbox(text)
    sheet = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
    ImageDraw.Draw(sheet).text((4 - left, 4 - top), text, fill=255, font=drawn)
    return placed(np.asarray(sheet))


def path_of(font: str) -> Path:
    """The file of one of matplotlib's fonts; a path stays what it is."""
    return Path(font) if "/" in font else Path(matplotlib.get_data_path(), "fonts/ttf", f"{font}.ttf")


def placed(picture: Bytes, share: float = 0.75) -> Bytes:
    """A picture in the middle of a canvas, its longest side that share of it."""
    scale = share * SIDE / max(picture.shape)
    width, height = (max(1, round(length * scale)) for length in picture.shape[::-1])
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[top : top + height, left : left + width] = small
    return canvas


def typed(texts: Sequence[str], fonts: Sequence[str] = FONTS) -> Make:
    """Any of these texts in any of these fonts, its strokes thinner or thicker."""

    def make(dice: Generator) -> Bytes:
        canvas = glyph(str(dice.choice(fonts)), texts[int(dice.integers(len(texts)))])
        change = int(dice.integers(-2, 4))
        method = cv2.dilate if change > 0 else cv2.erode
        changed = method(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (abs(change) + 1,) * 2))
        return np.asarray(changed if np.count_nonzero(changed) > 200 else canvas, dtype=np.uint8)

    return make


DRAWN: Mapping[str, Make] = {
    "letter": typed(LETTERS),
    "word": typed(["ab", "no", "me", "AM", "xy", "hi", "UK", "ok", "the", "cat", "EXIT", "und", "Wm", "fh", "en"]),
    "sign": typed(SIGNS, [font for font in FONTS if font.startswith("DejaVu")]),
    "other script": typed(MORE, ["DejaVuSans"]),
    "scribble": sketches.scribble,
    "zigzag": sketches.zigzag,
    "lines": sketches.lines,
    "face": sketches.face,
    "drawing": sketches.drawing,
    "texture": sketches.texture,
    "noise": sketches.noise,
    "blot": sketches.blot,
    "thing": sketches.thing,
}


def of_digits(images: Bytes, labels: NDArray[np.int64]) -> Mapping[str, Make]:
    """What is no digit though made of digits, (N, 28, 28) in MNIST's form: several, turned, crossed out."""

    def any_of(dice: Generator, allowed: str = DIGITS) -> Bytes:
        while True:
            index = int(dice.integers(len(images)))
            if str(labels[index]) in allowed:
                return np.asarray(images[index])

    def several(dice: Generator) -> Bytes:
        apart = int(dice.integers(-4, 6))
        row = [_tight(any_of(dice)) for _ in range(int(dice.integers(2, 5)))]
        height = max(len(digit) for digit in row)
        sheet = np.zeros((height + 4, sum(digit.shape[1] + apart for digit in row) + 8), np.uint8)
        left = 4
        for digit in row:
            top = (height - len(digit)) // 2 + int(dice.integers(0, 5))
            part = sheet[top : top + len(digit), left : left + digit.shape[1]]
            np.maximum(part, digit[: part.shape[0], : part.shape[1]], out=part)
            left += max(2, digit.shape[1] + apart)
        return placed(sheet)

    def turned(dice: Generator) -> Bytes:
        way = int(dice.integers(4))
        chosen = any_of(dice, ("347", "23457", "23457", "34")[way])
        return placed((np.rot90(chosen, 2), np.rot90(chosen), np.rot90(chosen, 3), chosen[:, ::-1])[way].copy(), 1)

    def crossed_out(dice: Generator) -> Bytes:
        lines = sketches.drawn(list(dice.random((int(dice.integers(3, 6)), 2, 2)) * 1.1), dice)
        return np.asarray(np.maximum(placed(any_of(dice), 0.9), lines), dtype=np.uint8)

    return {"several digits": several, "turned digit": turned, "crossed out": crossed_out}


def _tight(picture: Bytes) -> Bytes:
    left, top, width, height = cv2.boundingRect(picture)
    return picture[top : top + height, left : left + width]


def redrawn(images: Bytes) -> Make:
    """Digits in MNIST's form, larger and with sharp edges, as a pen on a canvas leaves them."""

    def make(dice: Generator) -> Bytes:
        large = placed(images[dice.integers(len(images))], 1)
        edge, sharp = dice.uniform(60, 170), dice.uniform(1, 12)
        return np.asarray(np.clip((large.astype(np.float32) - edge) * sharp + 128, 0, 255) * (large > 20), np.uint8)

    return make
