"""Every format and mode that is decoded, and the files that are rejected."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.attacks import tiled_tiff
from mnist_lightning.preprocessing.decode import PILLOW_FORMATS, WORKING_SIDE, decode
from mnist_lightning.preprocessing.errors import BadPictureError, NotAPictureError, TooManyPixelsError


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.fixture
def page() -> Image.Image:
    """A dark bar, upright and left of the middle, on white."""
    array = np.full((60, 80, 3), 255, np.uint8)
    array[10:50, 20:26] = (30, 20, 10)
    return Image.fromarray(array)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF"])
def test_every_format_gives_the_same_pixels(form: str, page: Image.Image) -> None:
    got = decode(saved(page, form))
    assert got.shape == (60, 80, 3)
    assert np.abs(got.astype(int) - np.asarray(page)).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_keeps_the_bar_dark(mode: str, page: Image.Image) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(page.convert("L")).astype(np.uint16) * 200)
    else:
        picture = page.convert("L").convert(mode) if mode in ("I", "F") else page.convert(mode)
    form = "TIFF" if mode in ("CMYK", "I", "F", "YCbCr") else "PNG"
    got = decode(saved(picture, form)).astype(int)
    colors = got[..., :3] if got.ndim == 3 else got[..., None]
    assert colors[10:50, 20:26].mean() < 60
    assert colors[:, 40:].mean() > 200


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        *(("PNG", mode, {}) for mode in ("L", "RGB", "RGBA")),
        ("JPEG", "RGB", {"quality": 100, "subsampling": 0}),
        *(("WEBP", mode, {"lossless": True}) for mode in ("RGB", "RGBA")),
        ("WEBP", "RGB", {"lossless": True, "save_all": True, "append_images": [Image.new("RGB", (80, 60))]}),
    ],
)
def test_the_camera_orientation_is_undone(
    orientation: int, form: str, mode: str, options: dict[str, object], page: Image.Image
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = page.convert(mode)
    if mode == "RGBA":
        stored.putalpha(100)
    got = decode(saved(stored, form, exif=exif.tobytes(), **options))
    tagged = Image.open(io.BytesIO(saved(stored, "PNG", exif=exif.tobytes())))
    expected = np.asarray(ImageOps.exif_transpose(tagged)).astype(int)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= (4 if form == "JPEG" else 0)


@pytest.mark.parametrize("value", [(0x010E, 5, 1), (0x0112, 5, 1), (0x0112, 2, 1), (0x8769, 4, 1), (0x0112, 3, 0)])
def test_exif_data_that_are_wrong_are_no_reason_to_refuse(value: tuple[int, int, int], page: Image.Image) -> None:
    """A tag of a type and count that it must not have."""
    tag, kind, count = value
    broken = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, tag, kind, count, 26) + bytes(4) + struct.pack("<II", 6, 0)
    whole = saved(page, "JPEG")
    tagged = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken + whole[2:]
    assert decode(tagged).shape == (60, 80, 3)


def test_the_first_picture_of_several_in_a_jpeg_is_read(page: Image.Image) -> None:
    several = saved(page, "MPO", save_all=True, append_images=[Image.new("RGB", (20, 20))])
    assert Image.open(io.BytesIO(several)).format == "MPO"
    assert np.array_equal(decode(several), decode(saved(page, "JPEG")))


def test_a_large_tile_is_refused() -> None:
    assert decode(tiled_tiff(28, 64)).shape == (28, 28)
    with pytest.raises(TooManyPixelsError):
        decode(tiled_tiff(28, 3000))


def test_large_pictures_are_reduced() -> None:
    assert decode(saved(Image.new("RGB", (3000, 1000)), "PNG")).shape == (250, 750, 3)
    assert max(decode(saved(Image.new("RGB", (4000, 3000)), "JPEG")).shape) <= WORKING_SIDE


def header_of_a_huge_png(width: int, height: int) -> bytes:
    """A PNG whose header declares a huge size, in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(50_000, 50_000), (10_000, 5_001), (60_000, 1_000)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    content = header_of_a_huge_png(*size)
    with pytest.raises(TooManyPixelsError, match=r"too large|pixels"):
        decode(content)


@pytest.mark.parametrize(
    ("header", "size", "shape"),
    [
        (b"P4 9 2\n", 4, (2, 9)),
        (b"P5\n# by hand\n3 2\n255\n", 6, (2, 3)),
        (b"P5 3 2 65535\n", 12, (2, 3)),
        (b"P6 3 2 255 ", 18, (2, 3, 3)),
    ],
)
def test_binary_netpbm_is_read(header: bytes, size: int, shape: tuple[int, ...]) -> None:
    assert decode(header + bytes(size)).shape == shape


@pytest.mark.parametrize(
    "content",
    [
        *(b"P2 2 2 255\n0 0 0 0", b"P3 1 1 255\n0 0 0", b"P5 2 2 15\n" + bytes(4), b"P6 2 2 65535\n" + bytes(24)),
        *(b"Pf 2 2 -1.0\n" + bytes(16), b"PyRGBA 2 2 255\n" + bytes(16), b"P5" + b"#\n" * 4_000_000),
        *(b"P5" + b" " * 9_000_000 + b"2 2 255\n" + bytes(4), b"P"),
    ],
)
def test_forms_of_netpbm_that_decode_slowly_are_refused_at_once(content: bytes) -> None:
    started = time.thread_time()
    with pytest.raises(NotAPictureError, match="only binary files"):
        decode(content)
    assert time.thread_time() - started < 1  # minutes otherwise


def test_a_file_that_is_not_a_picture(page: Image.Image) -> None:
    for content, said in (
        (b"", "0 bytes"),
        (b"hello", "5 bytes"),
        (b"%PDF-1.7 no", "not a picture"),
        (saved(page)[:60], "cut"),
        (saved(page, "JPEG")[:400], "cut"),
        (saved(page, "GIF")[:40], "cut"),
        (saved(page, "TIFF")[:500], "cut"),
        (saved(page, "EPS"), "not a picture"),
    ):
        with pytest.raises(NotAPictureError, match=said):
            decode(content)


def test_a_damaged_file_is_decoded_or_rejected(page: Image.Image) -> None:
    rng = np.random.default_rng(0)
    for form in PILLOW_FORMATS:
        whole = saved(page, form)
        for _ in range(200):
            content = bytearray(whole[: int(rng.integers(1, len(whole) + 1))])
            for place in rng.integers(0, len(content), 5):
                content[place] = int(rng.integers(256))
            try:
                assert decode(bytes(content)).dtype == np.uint8
            except BadPictureError as error:
                assert str(error)
