"""Images without a digit, of kinds that the out-of-distribution head was not trained on.

Other fonts than those of training, other scribbles, noise, and blank paper. Each function draws one image.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_lightning.datasets.outliers import LETTERS, LOOK_ALIKES, altered_digits, typeset, vary_canvas
from mnist_lightning.datasets.sketches import CANVAS_SIDE, DrawFunction, draw_strokes
from mnist_lightning.preprocessing.decode import Bytes

FONTS = Path("/usr/share/fonts")
HANDWRITING = {  # fonts made from handwriting, by Debian package
    "fonts-bwht": [
        f"opentype/bwht/BecauseWe{name}-Regular.otf"
        for name in ("Build", "Connect", "Create", "Learn", "Mentor", "Organize")
    ],
    "fonts-femkeklaver": ["truetype/femkeklaver/femkeklaver.ttf"],
    "fonts-breip": ["truetype/breip/Breip.ttf"],
    "fonts-dkg-handwriting": ["truetype/fifthhorseman/dkg.ttf"],
    "fonts-humor-sans": ["truetype/humor-sans/Humor-Sans.ttf"],
    "fonts-kristi": ["truetype/kristi/Kristi.ttf"],
}
KLEE = {"fonts-klee": ["truetype/klee/KleeOne-Regular.ttf"]}
SYMBOLA = {"fonts-symbola": ["truetype/ancient-scripts/Symbola_hint.ttf"]}
KANA = "あいかきさたなはまやらをアエカケサチツテネヒホマムヤユ山川木火水金犬車学校雨花空"
PICTOGRAMS = "".join(
    chr(code) for first, last in ((0x1F600, 0x1F640), (0x1F400, 0x1F43E), (0x1F330, 0x1F36E), (0x1F680, 0x1F69F))
    for code in range(first, last + 1)
)  # fmt: skip
# The names of all kinds seed the random numbers.
TYPESET_KINDS: Mapping[str, tuple[str, Mapping[str, list[str]]]] = {  # the characters and the fonts
    "letters by hand": (LETTERS, HANDWRITING),
    "look-alikes by hand": (LOOK_ALIKES, HANDWRITING),
    "Japanese by pen": (KANA, KLEE),
    "pictograms, faces": (PICTOGRAMS, SYMBOLA),
}


def unseen_kinds() -> dict[str, DrawFunction]:
    """Functions that draw images as users send them, by kind.

    A kind is left out, with a note on stderr, if none of its fonts is installed.
    """
    _note_missing_fonts()
    fonts = {name: _installed(packages) for name, (_, packages) in TYPESET_KINDS.items()}
    typeset_kinds = {name: typeset(TYPESET_KINDS[name][0], paths) for name, paths in fonts.items() if paths}
    strokes = {name: _stroke_kind(points) for name, points in STROKES.items()}
    return {name: _as_sent(draw) for name, draw in (typeset_kinds | strokes).items()} | TEXTURES


def altered_test_digits(images: Bytes, labels: NDArray[np.int64]) -> dict[str, DrawFunction]:
    """The altered digits of training, made from MNIST's test digits (N, 28, 28) instead."""
    return {f"{name}, test set": _as_sent(draw) for name, draw in altered_digits(images, labels).items()}


def _installed(packages: Mapping[str, list[str]]) -> list[str]:
    return [str(FONTS / path) for paths in packages.values() for path in paths if (FONTS / path).is_file()]


def _note_missing_fonts() -> None:
    for package, paths in {**HANDWRITING, **KLEE, **SYMBOLA}.items():
        if len(_installed({package: paths})) < len(paths):
            print(f"left out: a font of {package} (Debian: apt-get install {package})", file=sys.stderr)


def _as_sent(draw: DrawFunction) -> DrawFunction:
    return lambda rng: vary_canvas(draw(rng), rng)


def _stroke_kind(points: Callable[[Generator], list[NDArray[np.float64]]]) -> DrawFunction:
    return lambda rng: draw_strokes(points(rng), rng)


def _wandering_line(rng: Generator) -> list[NDArray[np.float64]]:
    steps = np.cumsum(rng.normal(0, 1, (int(rng.integers(60, 250)), 2)), axis=0)
    return [(steps - steps.min(axis=0)) / np.ptp(steps, axis=0).max()]


def _spiral(rng: Generator) -> list[NDArray[np.float64]]:
    angle = np.linspace(0, 2 * np.pi * rng.uniform(2.2, 5), 200)
    radius = angle / angle.max() / 2
    return [0.5 + np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]]


def _lissajous(rng: Generator) -> list[NDArray[np.float64]]:
    time = np.linspace(0, 2 * np.pi, 300)
    across, down = rng.choice([(1, 3), (2, 3), (3, 4), (3, 2), (5, 2), (3, 5)])
    return [0.5 + 0.5 * np.stack([np.sin(across * time + rng.uniform(0, 3)), np.sin(down * time)], axis=1)]


def _loops(rng: Generator) -> list[NDArray[np.float64]]:
    time, count = np.linspace(0, 1, 300), rng.integers(3, 7)
    angle = 2 * np.pi * count * time
    return [np.stack([time + 0.12 * np.cos(angle), 0.5 + rng.uniform(0.1, 0.4) * np.sin(angle)], axis=1)]


def _hatching(rng: Generator) -> list[NDArray[np.float64]]:
    count = int(rng.integers(5, 12))
    rows = np.linspace(0, 1, count) + rng.normal(0, 0.02, count)
    lines = [np.array([[rng.uniform(0, 0.15), row], [rng.uniform(0.85, 1), row + rng.normal(0, 0.05)]]) for row in rows]
    return lines + [line[:, ::-1] for line in lines] * int(rng.integers(2))


# The strokes of a drawing, each (n, 2) in [0, 1] as x, y.
STROKES: Mapping[str, Callable[[Generator], list[NDArray[np.float64]]]] = {
    "wandering line": _wandering_line,
    "spiral": _spiral,
    "Lissajous figure": _lissajous,
    "loops": _loops,
    "hatching": _hatching,
}


def _gaussian_noise(rng: Generator) -> Bytes:
    return _to_uint8(rng.normal(128, rng.uniform(20, 90), (CANVAS_SIDE, CANVAS_SIDE)))


def _uniform_noise(rng: Generator) -> Bytes:
    return np.asarray(rng.integers(0, 256, (28, 28)), dtype=np.uint8)


def _pink_noise(rng: Generator) -> Bytes:
    """Noise whose power decreases with frequency: clouds and stains."""
    frequencies = np.fft.fftfreq(CANVAS_SIDE)
    frequency = np.hypot(*np.meshgrid(frequencies, frequencies))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(CANVAS_SIDE, CANVAS_SIDE))) / frequency ** rng.uniform(0.6, 1.6)
    field = np.fft.ifft2(spectrum).real
    return _to_uint8(128 + (field - field.mean()) / field.std() * rng.uniform(20, 90))


def _dark_rows(rng: Generator) -> Bytes:
    """A failed scan: whole rows are dark."""
    field = rng.normal(230, 10, (CANVAS_SIDE, CANVAS_SIDE))
    field[rng.random(CANVAS_SIDE) < 0.3] = rng.uniform(0, 150)
    return _to_uint8(field)


def _blank_paper(rng: Generator) -> Bytes:
    """Paper under uneven light, with camera noise."""
    down, across = np.mgrid[0:CANVAS_SIDE, 0:CANVAS_SIDE] / CANVAS_SIDE
    light = rng.uniform(0, 40) * across + rng.uniform(0, 40) * down
    corners = rng.uniform(0, 60) * np.hypot(across - 0.5, down - 0.5)
    return _to_uint8(250 - light - corners + rng.normal(0, rng.uniform(0, 6), light.shape))


TEXTURES: dict[str, DrawFunction] = {
    "Gaussian noise": _gaussian_noise,
    "uniform noise": _uniform_noise,
    "pink noise": _pink_noise,
    "rows": _dark_rows,
    "blank": _blank_paper,
}


def _to_uint8(field: NDArray[Any]) -> Bytes:
    return np.asarray(np.clip(field, 0, 255), dtype=np.uint8)
