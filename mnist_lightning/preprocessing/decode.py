"""The bytes of a picture file -> an array of pixels."""

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from mnist_lightning.preprocessing.errors import BadPictureError, NotAPictureError, TooManyPixelsError
from mnist_lightning.preprocessing.heif import decode_heif, is_heif

Bytes = NDArray[np.uint8]
Scalar = TypeVar("Scalar", np.uint8, np.uint16, np.float32)

MAX_BYTES = 100_000_000  # of memory for decoding a picture, by its header; more is refused before decoding
# Memory of Pillow's decoders and of the conversion, at most, by format. JPEG is decoded at a reduced size, and so is
# MPO, which is Pillow's name for a JPEG with further pictures after the first, as phones write them.
BYTES_PER_PIXEL = {"JPEG": 2, "MPO": 2, "PNG": 12, "BMP": 10, "GIF": 12, "TIFF": 12, "WEBP": 10, "PPM": 12}
PROGRESSIVE_BYTES_PER_PIXEL = 8  # of a JPEG whose coefficients are all kept until its last scan
REDUCED_PIXELS = 4_000_000  # larger pictures are reduced before their conversion
WORKING_SIDE = 1024  # longest side of the result; larger pictures are halved until they fit
MAX_SCANS = 100  # of a progressive JPEG, which usually has ten; each scan passes over all pixels
DRAFT_SIDE = 360  # a large JPEG is decoded at a reduced size whose shortest side is at least this
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM")
FORMATS = (*PILLOW_FORMATS, "WEBP", "HEIC", "AVIF")
TILE_SIDES = (322, 323)  # TIFF's tags TileWidth and TileLength
REDUCIBLE = ("L", "RGB", "RGBA", "CMYK", "YCbCr")  # modes
# Binary PBM, PGM and PPM, of 8 bits or gray of 16. Pillow decodes others, and skips long comments, in Python.
NETPBM_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
NETPBM_HEADER = re.compile(
    rb"(?:P4|P5(?=%(any)s(?:255|65535)\s)|P6(?=%(any)s255\s))%(gap)s\d+%(gap)s\d+\s"
    % {b"gap": NETPBM_GAP, b"any": NETPBM_GAP + rb"\d+" + NETPBM_GAP + rb"\d+" + NETPBM_GAP}
)
MAX_NETPBM_HEADER = 1000  # bytes
NO_NETPBM = "not a picture: {:,} bytes; of PBM, PGM and PPM, only binary files of 8 bits, or gray of 16, are read"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_START = PNG_SIGNATURE + b"\x00\x00\x00\rIHDR"  # the header of 13 bytes and its checksum follow
PLAIN_CHUNKS = {b"IDAT", b"sRGB", b"IEND"}  # of a PNG without palette, transparency and metadata, as browsers write it
PLAIN_COLORS = {0, 2, 6}  # color types: gray, RGB, RGBA
# How to turn pixels upright, by the EXIF tag Orientation.
UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


class Decoded(NamedTuple):
    """The pixels of a picture file."""

    pixels: Bytes  # (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA, upright, WORKING_SIDE at most
    scale: float  # pixels of the file's picture for each of them, along a side


def decode(content: bytes) -> Bytes:
    """Decode a picture file to (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA uint8, upright, WORKING_SIDE at most.

    Raises NotAPictureError, TooManyPixelsError or BusyDecoderError.
    """
    return decode_with_scale(content).pixels


def decode_with_scale(content: bytes) -> Decoded:
    """As `decode`, with the scale of the pixels."""
    if not content:
        raise NotAPictureError("the picture is empty (0 bytes)")
    if content.startswith(b"\xff\xd8") and (scans := content.count(b"\xff\xda")) > MAX_SCANS:
        raise NotAPictureError(f"the JPEG has {scans:,} scans; the limit is {MAX_SCANS}")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _decode_webp(content)
    if is_heif(content):
        pixels, side = decode_heif(content)
        return _reduced(pixels, side)
    if (plain := _decode_plain_png(content)) is not None:
        return plain
    if content[:1] == b"P" and not NETPBM_HEADER.match(content[:MAX_NETPBM_HEADER]):
        raise NotAPictureError(NO_NETPBM.format(len(content)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and about sizes that are checked below
            with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as picture:
                side = max(picture.size)
                pixels = pixels_of_image(picture)
                return Decoded(pixels, side / max(pixels.shape[:2]))
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(
            f"the picture is too large; a JPEG may have {_max_pixels('JPEG'):,} pixels, others fewer"
        ) from error
    except UnidentifiedImageError as error:
        raise NotAPictureError(f"not a picture ({', '.join(FORMATS)}): {len(content):,} bytes") from error
    except BadPictureError:
        raise
    except Exception as error:  # no list is complete: decoders stumble over damaged files in many ways
        raise NotAPictureError(f"the picture is damaged or cut: {error}") from error


def _reduced(pixels: Bytes, side: int) -> Decoded:
    """Pixels at WORKING_SIDE at most, of a picture whose longest side is `side`."""
    small = np.asarray(image_pyramid(pixels, WORKING_SIDE)[-1])
    return Decoded(small, side / max(small.shape[:2]))


def _decode_webp(content: bytes) -> Decoded:
    """Decode a WebP file, or the first picture of an animated one, with OpenCV.

    Pillow's decoder takes five times the memory, and keeps a kilobyte of every damaged file.
    """
    _check_size(*_webp_size(content), "WEBP")
    pixels = _decode_with_opencv(content, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise NotAPictureError("the picture is damaged or cut")
    small, scale = _reduced(pixels, max(pixels.shape[:2]))
    return Decoded(_turn_upright(_in_rgb_order(small), _webp_chunk(content, b"EXIF")), scale)


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height: RFC 9649. Raises NotAPictureError."""
    kind = content[12:16]
    if kind == b"VP8X" and len(content) >= 30:
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        return width, height
    if kind == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(content) >= 30:
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return width, height
    raise NotAPictureError("the WebP is damaged or cut")


def _webp_chunk(content: bytes, kind: bytes) -> bytes:
    """The content of a WebP's first chunk of a kind; empty if there is none."""
    place = len(b"RIFF....WEBP")
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if content[place : place + 4] == kind:
            return content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return b""


def _turn_upright(pixels: Bytes, exif_data: bytes) -> Bytes:
    """Turn pixels as a picture's EXIF data say. Data that cannot be read say nothing."""
    if not exif_data:  # as in most pictures
        return pixels
    exif = Image.Exif()
    try:
        exif.load(exif_data)
        turn = UPRIGHT.get(int(exif.get(ExifTags.Base.Orientation, 1)))
    except Exception:  # as above
        return pixels
    return pixels if turn is None else np.ascontiguousarray(turn(pixels), dtype=np.uint8)


def _decode_plain_png(content: bytes) -> Decoded | None:
    """Decode a PNG of the most common form with OpenCV, in half of Pillow's time.

    None for any other file, among them damaged ones: Pillow decodes those, or says what is wrong with them.
    """
    if content[: len(PNG_START)] != PNG_START or len(content) < len(PNG_START) + 17:
        return None
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, len(PNG_START))
    if bits != 8 or color not in PLAIN_COLORS or interlaced or width * height > _max_pixels("PNG"):
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
    pixels = _decode_with_opencv(content, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (height, width):
        return None
    small, scale = _reduced(pixels, max(width, height))
    return Decoded(_in_rgb_order(small), scale)


def _decode_with_opencv(content: bytes, flags: int) -> Bytes | None:
    """The pixels of a picture file, with blue first; None if it is damaged."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, dtype=np.uint8)


def _in_rgb_order(pixels: Bytes) -> Bytes:
    """OpenCV's gray, BGR or BGRA pixels as gray, RGB or RGBA."""
    if pixels.ndim == 2:
        return pixels
    conversion = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, conversion), dtype=np.uint8)


def pixels_of_image(picture: Image.Image) -> Bytes:
    """Convert a Pillow image to the arrays that `decode` returns. Raises TooManyPixelsError."""
    _check_size(*picture.size, picture.format or "PNG", progressive="progressive" in picture.info)
    if isinstance(picture, TiffImageFile):  # a tile is decoded whole, even if it is larger than the picture
        width, height = (int(picture.tag_v2.get(tag, 0)) for tag in TILE_SIDES)
        _check_size(width, height, "TIFF")
    picture.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # a large JPEG is decoded at a half, a quarter or an eighth
    return _turn_upright(image_pyramid(_channels(picture), WORKING_SIDE)[-1], picture.info.get("exif", b""))


def _check_size(width: int, height: int, kind: str, *, progressive: bool = False) -> None:
    if width * height > (limit := _max_pixels(kind, progressive=progressive)):
        raise TooManyPixelsError(
            f"the picture has {width} × {height} pixels; the limit for this kind of {kind} is {limit:,}"
        )


def _max_pixels(kind: str, *, progressive: bool = False) -> int:
    return MAX_BYTES // (PROGRESSIVE_BYTES_PER_PIXEL if progressive else BYTES_PER_PIXEL[kind])


def _channels(picture: Image.Image) -> Bytes:
    mode = picture.mode
    if mode.startswith(("I", "F")):  # 16 or 32 bits: scale the used range to 0..255
        stored = np.asarray(picture)
        if stored.dtype == np.uint16:
            stored = image_pyramid(stored, WORKING_SIDE)[-1]
        deep = image_pyramid(stored.astype(np.float32), WORKING_SIDE)[-1]
        low, high = float(np.nanmin(deep)), float(np.nanmax(deep))
        scaled: Bytes = (np.nan_to_num(deep - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
        return scaled
    has_alpha = "A" in mode or "a" in mode or "transparency" in picture.info
    target = "RGBA" if has_alpha else "L" if mode in ("1", "L") else "RGB"
    if math.prod(picture.size) <= REDUCED_PIXELS:
        return np.asarray(picture if mode == target else picture.convert(target))
    picture = picture if mode in REDUCIBLE else picture.convert(target)
    factor = max(max(picture.size) // (2 * WORKING_SIDE), 1)
    return np.asarray(picture.reduce(factor).convert(target))


def image_pyramid(array: NDArray[Scalar], side: int) -> list[NDArray[Scalar]]:
    """Halve an image by means of 2×2 pixels until its longest side is at most `side`; all levels, the largest first.

    OpenCV halves ten times as fast as it reduces by any other factor. An odd last row or column is dropped.
    """
    levels = [array]
    while max((array := levels[-1]).shape[:2]) > side:
        height, width = (max(length // 2, 1) for length in array.shape[:2])
        even = array[: 2 * height, : 2 * width]
        levels.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), dtype=array.dtype))
    return levels
