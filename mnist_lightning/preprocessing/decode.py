"""Bytes of any picture -> an array of its pixels, or an error that says why not."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Bytes = NDArray[np.uint8]

MAX_PIXELS = 50_000_000  # checked in the header, before anything is decoded
WORKING_SIDE = 1024  # longest side of what is worked on; a larger picture is halved until it is no longer
MAX_SCANS = 100  # of a progressive JPEG, which has about ten; every one of thousands would pass over all pixels
DRAFT_SIDE = 360  # shortest side that a large JPEG is decoded at
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
# What Pillow's decoders raise on damaged files.
DAMAGE = (
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
    """What was sent cannot be read as a picture of a digit."""


class NotAPictureError(BadPictureError):
    """The bytes are no picture, or only part of one."""


class TooManyPixelsError(BadPictureError):
    """The picture is larger than is ever needed for a digit."""


class NoDigitError(BadPictureError):
    """A picture, but one without ink, or of nearly nothing but ink."""


def decode(content: bytes) -> Bytes:
    """A picture file -> (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, upright, at most about 1024 a side.

    Raises NotAPictureError or TooManyPixelsError.
    """
    if not content:
        raise NotAPictureError("the picture is empty (0 bytes)")
    if content.startswith(b"\xff\xd8") and (scans := content.count(b"\xff\xda")) > MAX_SCANS:
        raise NotAPictureError(f"the JPEG has {scans:,} scans; at most {MAX_SCANS} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are checked below
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                return pixels(picture)
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"the picture is too large: at most {MAX_PIXELS:,} pixels are read") from error
    except UnidentifiedImageError as error:
        raise NotAPictureError(f"not a picture ({', '.join(FORMATS)}): {len(content):,} bytes") from error
    except BadPictureError:
        raise
    except DAMAGE as error:
        raise NotAPictureError(f"the picture is damaged or cut: {error}") from error


def pixels(picture: Image.Image) -> Bytes:
    """A Pillow picture -> the arrays that `decode` gives. Raises TooManyPixelsError."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise TooManyPixelsError(f"the picture has {width} × {height} pixels; at most {MAX_PIXELS:,} are read")
    picture.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # a large JPEG is decoded at a half, a quarter or an eighth
    if "exif" in picture.info:
        picture = ImageOps.exif_transpose(picture)
    return halvings(_channels(picture), WORKING_SIDE)[-1]


def _channels(picture: Image.Image) -> Bytes:
    mode = picture.mode
    if mode.startswith(("I", "F")):  # 16 or 32 bits: what counts is the range that is used
        deep = np.asarray(picture, dtype=np.float32)
        low, high = float(np.nanmin(deep)), float(np.nanmax(deep))
        spread: Bytes = (np.nan_to_num(deep - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
        return spread
    if "A" in mode or "a" in mode or "transparency" in picture.info:
        return np.asarray(picture.convert("RGBA"))
    return np.asarray(picture if mode == "L" else picture.convert("L" if mode == "1" else "RGB"))


def halvings(array: Bytes, side: int) -> list[Bytes]:
    """The pixels, and as often as it takes to a longest side of at most `side`: a half of the last, by mean of 2×2.

    Halving is what OpenCV does ten times as fast as any other reduction; an odd last row or column is left out.
    """
    steps = [array]
    while max((array := steps[-1]).shape[:2]) > side:
        height, width = (max(length // 2, 1) for length in array.shape[:2])
        even = array[: 2 * height, : 2 * width]
        steps.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return steps
