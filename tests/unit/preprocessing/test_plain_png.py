"""PNG files of the most common form take a faster path, with the same results."""

import io
import random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mnist_lightning.preprocessing import decode
from mnist_lightning.preprocessing.errors import NotAPictureError

COLORS = {"L": 1, "RGB": 3, "RGBA": 4}


def image(mode: str, seed: int = 0, side: int = 40) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 9, COLORS[mode]), dtype=np.uint8)
    return pixels[:, :, 0] if mode == "L" else pixels


def png(pixels: NDArray[np.uint8], **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **settings)
    return file.getvalue()


def decode_by_pillow(content: bytes) -> NDArray[np.uint8] | None:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return decode.pixels_of_image(picture)
    except Exception:
        return None


@pytest.mark.parametrize("mode", COLORS)
def test_plain_files_take_the_fast_path(mode: str) -> None:
    pixels = image(mode)
    found = decode._decode_plain_png(png(pixels))
    assert found is not None
    assert (found.scale, found.pixels.tolist()) == (1.0, pixels.tolist())
    assert np.array_equal(decode.decode(png(pixels)), pixels)


def test_other_files_are_left_to_pillow() -> None:
    pixels = image("L")
    palette, bilevel = Image.fromarray(pixels).convert("P"), Image.fromarray(pixels).convert("1")
    others = [png(np.asarray(one)) if one.mode == "L" else _saved(one) for one in (palette, bilevel)]
    others += [png(pixels, transparency=0), png(pixels) + b"more", png(pixels.astype(np.uint16)), b"", b"\x89PNG"]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    others.append(png(pixels, exif=exif))
    assert [decode._decode_plain_png(content) for content in others] == [None] * len(others)
    assert decode.decode(others[-1]).shape == pixels.T.shape
    assert decode._decode_plain_png(png(np.zeros((4000, 4000), np.uint8))) is None


def _saved(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_no_damaged_file_gets_other_pixels_than_by_pillow(capfd: pytest.CaptureFixture[str]) -> None:
    rng, fast = random.Random(0), 0  # noqa: S311 - not for cryptography
    for seed in range(1500):
        content = bytearray(png(image(rng.choice(list(COLORS)), seed, rng.randint(1, 40)), compress_level=1))
        for _ in range(rng.randint(0, 3)):
            place = rng.randrange(len(content))
            content[place : place + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 4))
        found, expected = decode._decode_plain_png(bytes(content)), decode_by_pillow(bytes(content))
        fast += found is not None
        assert found is None or (expected is not None and np.array_equal(found.pixels, expected)), seed
    assert fast > 300
    assert capfd.readouterr().err == ""


def test_damage_is_reported_as_for_other_files() -> None:
    content = bytearray(png(image("RGB")))
    content[200] ^= 1
    with pytest.raises(NotAPictureError, match="damaged or cut"):
        decode.decode(bytes(content))
