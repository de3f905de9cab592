"""The bytes of a picture file -> an array of pixels."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Bytes = NDArray[np.uint8]

MAX_PIXELS = 50_000_000  # checked in the header, before decoding
WORKING_SIDE = 1024  # longest side of the result; larger pictures are halved until they fit
MAX_SCANS = 100  # of a progressive JPEG, which usually has ten; each scan passes over all pixels
DRAFT_SIDE = 360  # a large JPEG is decoded at a reduced size whose shortest side is at least this
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_START = PNG_SIGNATURE + b"\x00\x00\x00\rIHDR"  # the header of 13 bytes and its checksum follow
PLAIN_CHUNKS = {b"IDAT", b"sRGB", b"IEND"}  # of a PNG without palette, transparency and metadata, as browsers write it
PLAIN_COLORS = {0: None, 2: cv2.COLOR_BGR2RGB, 6: cv2.COLOR_BGRA2RGBA}  # color type -> what OpenCV's result needs
MAX_PLAIN_PIXELS = 4_000_000  # OpenCV decodes in one call, which no CPU limit interrupts
# Exceptions that Pillow's decoders raise on damaged files.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    struct.error,
    zlib.error,
)


class BadPictureError(ValueError):
    """The input cannot be read as a picture of a digit."""


class NotAPictureError(BadPictureError):
    """The bytes are not a picture, or a truncated or damaged one."""


class TooManyPixelsError(BadPictureError):
    """The picture has more than MAX_PIXELS pixels."""


class NoDigitError(BadPictureError):
    """The picture has no ink, or is almost entirely ink."""


def decode(content: bytes) -> Bytes:
    """Decode a picture file to (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA uint8, upright, WORKING_SIDE at most.

    Raises NotAPictureError or TooManyPixelsError.
    """
    if not content:
        raise NotAPictureError("the picture is empty (0 bytes)")
    if content.startswith(b"\xff\xd8") and (scans := content.count(b"\xff\xda")) > MAX_SCANS:
        raise NotAPictureError(f"the JPEG has {scans:,} scans; the limit is {MAX_SCANS}")
    if (plain := _decode_plain_png(content)) is not None:
        return image_pyramid(plain, WORKING_SIDE)[-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and about sizes that are checked below
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                return pixels_of_image(picture)
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"the picture is too large; the limit is {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise NotAPictureError(f"not a picture ({', '.join(FORMATS)}): {len(content):,} bytes") from error
    except BadPictureError:
        raise
    except DECODER_ERRORS as error:
        raise NotAPictureError(f"the picture is damaged or cut: {error}") from error


def _decode_plain_png(content: bytes) -> Bytes | None:
    """Decode a small PNG of the most common form with OpenCV, in half of Pillow's time.

    None for any other file, among them damaged ones: Pillow decodes those, or says what is wrong with them.
    """
    if content[: len(PNG_START)] != PNG_START or len(content) < len(PNG_START) + 17:
        return None
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, len(PNG_START))
    if bits != 8 or color not in PLAIN_COLORS or interlaced or width * height > MAX_PLAIN_PIXELS:
        return None
    place, kind, allowed = len(PNG_SIGNATURE), b"", {b"IHDR"}
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, place) if place + 12 <= len(content) else (0, b"")
        end = place + 8 + length
        # libpng would print what it finds wrong.
        if kind not in allowed or zlib.crc32(content[place + 4 : end]).to_bytes(4) != content[end : end + 4]:
            return None
        place, allowed = end + 4, PLAIN_CHUNKS
    if place != len(content):
        return None
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (height, width):
        return None
    conversion = PLAIN_COLORS[color]
    return np.asarray(pixels if conversion is None else cv2.cvtColor(pixels, conversion), dtype=np.uint8)


def pixels_of_image(picture: Image.Image) -> Bytes:
    """Convert a Pillow image to the arrays that `decode` returns. Raises TooManyPixelsError."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise TooManyPixelsError(f"the picture has {width} × {height} pixels; the limit is {MAX_PIXELS:,}")
    picture.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # a large JPEG is decoded at a half, a quarter or an eighth
    if "exif" in picture.info:
        picture = ImageOps.exif_transpose(picture)
    return image_pyramid(_channels(picture), WORKING_SIDE)[-1]


def _channels(picture: Image.Image) -> Bytes:
    mode = picture.mode
    if mode.startswith(("I", "F")):  # 16 or 32 bits: scale the used range to 0..255
        deep = np.asarray(picture, dtype=np.float32)
        low, high = float(np.nanmin(deep)), float(np.nanmax(deep))
        scaled: Bytes = (np.nan_to_num(deep - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
        return scaled
    if "A" in mode or "a" in mode or "transparency" in picture.info:
        return np.asarray(picture.convert("RGBA"))
    return np.asarray(picture if mode == "L" else picture.convert("L" if mode == "1" else "RGB"))


def image_pyramid(array: Bytes, side: int) -> list[Bytes]:
    """Halve an image by means of 2×2 pixels until its longest side is at most `side`; all levels, the largest first.

    OpenCV halves ten times as fast as it reduces by any other factor. An odd last row or column is dropped.
    """
    levels = [array]
    while max((array := levels[-1]).shape[:2]) > side:
        height, width = (max(length // 2, 1) for length in array.shape[:2])
        even = array[: 2 * height, : 2 * width]
        levels.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return levels
