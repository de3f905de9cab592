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
