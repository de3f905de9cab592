"""Things that are no digits, of kinds that nobody trained on: other fonts, scribbles, noise and blank paper."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.random import Generator

from mnist_lightning.datasets.outliers import LETTERS, LOOK_ALIKES, as_sent, of_digits, typed
from mnist_lightning.datasets.sketches import SIDE, Make, drawn
from mnist_lightning.preprocessing.decode import Bytes

FONTS = Path("/usr/share/fonts")
HANDS = {  # fonts that are somebody's handwriting, by Debian package
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
KLEE, SYMBOLA = "truetype/klee/KleeOne-Regular.ttf", "truetype/ancient-scripts/Symbola_hint.ttf"
KANA = "あいかきさたなはまやらをアエカケサチツテネヒホマムヤユ山川木火水金犬車学校雨花空"
PICTOGRAMS = "".join(
    chr(code) for first, last in ((0x1F600, 0x1F640), (0x1F400, 0x1F43E), (0x1F330, 0x1F36E), (0x1F680, 0x1F69F))
    for code in range(first, last + 1)
)  # fmt: skip


def kinds() -> dict[str, Make]:
    """Pictures as they are sent, by kind; a kind whose font is not installed is left out, and stderr says so."""
    hands = [str(FONTS / path) for package, paths in HANDS.items() for path in _there(package, paths)]
    found: dict[str, Make] = {}
    if hands:
        found |= {
            "letters by hand": _sent(typed(LETTERS, hands)),
            "look-alikes by hand": _sent(typed(LOOK_ALIKES, hands)),
        }
    for name, package, path, texts in (
        ("Japanese by pen", "fonts-klee", KLEE, KANA),
        ("pictograms, faces", "fonts-symbola", SYMBOLA, PICTOGRAMS),
    ):
        if _there(package, [path]):
            found[name] = _sent(typed(texts, [str(FONTS / path)]))
    lines = {"wandering line": _walk, "spiral": _spiral, "Lissajous figure": _lissajous, "loops": _loops}
    found |= {name: _sent(make) for name, make in {**lines, "hatching": _hatching}.items()}
    return found | {
        "Gaussian noise": _gauss,
        "uniform noise": _uniform,
        "pink noise": _pink,
        "rows": _rows,
        "blank": _blank,
    }


def of_test_digits(images: Bytes, labels: "np.ndarray") -> Mapping[str, Make]:
    """Several digits, and turned ones, of digits that nobody trained on."""
    return {f"{name}, test set": _sent(make) for name, make in of_digits(images, labels).items()}


def _there(package: str, paths: list[str]) -> list[str]:
    found = [path for path in paths if (FONTS / path).is_file()]
    if len(found) < len(paths):
        print(f"left out: a font of {package} (Debian: apt-get install {package})", file=sys.stderr)
    return found


def _sent(make: Make) -> Make:
    return lambda dice: as_sent(make(dice), dice)


def _walk(dice: Generator) -> Bytes:
    steps = np.cumsum(dice.normal(0, 1, (int(dice.integers(60, 250)), 2)), axis=0)
    return drawn([(steps - steps.min(axis=0)) / np.ptp(steps, axis=0).max()], dice)


def _spiral(dice: Generator) -> Bytes:
    angle = np.linspace(0, 2 * np.pi * dice.uniform(2.2, 5), 200)
    radius = angle / angle.max() / 2
    return drawn([0.5 + np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]], dice)


def _lissajous(dice: Generator) -> Bytes:
    time = np.linspace(0, 2 * np.pi, 300)
    across, down = dice.choice([(1, 3), (2, 3), (3, 4), (3, 2), (5, 2), (3, 5)])
    return drawn(
        [0.5 + 0.5 * np.stack([np.sin(across * time + dice.uniform(0, 3)), np.sin(down * time)], axis=1)], dice
    )


def _loops(dice: Generator) -> Bytes:
    time, count = np.linspace(0, 1, 300), dice.integers(3, 7)
    turn = 2 * np.pi * count * time
    return drawn([np.stack([time + 0.12 * np.cos(turn), 0.5 + dice.uniform(0.1, 0.4) * np.sin(turn)], axis=1)], dice)


def _hatching(dice: Generator) -> Bytes:
    count = int(dice.integers(5, 12))
    rows = np.linspace(0, 1, count) + dice.normal(0, 0.02, count)
    lines = [
        np.array([[dice.uniform(0, 0.15), row], [dice.uniform(0.85, 1), row + dice.normal(0, 0.05)]]) for row in rows
    ]
    return drawn(lines + [line[:, ::-1] for line in lines] * int(dice.integers(2)), dice)


def _gauss(dice: Generator) -> Bytes:
    return _paper(dice.normal(128, dice.uniform(20, 90), (SIDE, SIDE)))


def _uniform(dice: Generator) -> Bytes:
    return np.asarray(dice.integers(0, 256, (28, 28)), dtype=np.uint8)


def _pink(dice: Generator) -> Bytes:
    """Noise with the more power the longer its waves: clouds and stains."""
    waves = np.fft.fftfreq(SIDE)
    length = np.hypot(*np.meshgrid(waves, waves))
    length[0, 0] = 1
    field = np.fft.ifft2(np.fft.fft2(dice.normal(size=(SIDE, SIDE))) / length ** dice.uniform(0.6, 1.6)).real
    return _paper(128 + (field - field.mean()) / field.std() * dice.uniform(20, 90))


def _rows(dice: Generator) -> Bytes:
    """A scan that failed: whole rows of it dark."""
    field = dice.normal(230, 10, (SIDE, SIDE))
    field[dice.random(SIDE) < 0.3] = dice.uniform(0, 150)
    return _paper(field)


def _blank(dice: Generator) -> Bytes:
    """Paper under uneven light, with the grain of a camera."""
    down, across = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    light = dice.uniform(0, 40) * across + dice.uniform(0, 40) * down
    corners = dice.uniform(0, 60) * np.hypot(across - 0.5, down - 0.5)
    return _paper(250 - light - corners + dice.normal(0, dice.uniform(0, 6), light.shape))


def _paper(field: "np.ndarray") -> Bytes:
    return np.asarray(np.clip(field, 0, 255), dtype=np.uint8)
