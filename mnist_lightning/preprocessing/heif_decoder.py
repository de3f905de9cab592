"""A program that decodes HEIF and AVIF files from stdin. It runs in a process of its own, whose limits end it.

    python heif_decoder.py MAX_PIXELS MAX_SECONDS MAX_BYTES

Each file follows its length, 8 bytes. For each the program prints a line of JSON, and the pixels, upright, at most
twice REDUCED_SIDE. The line is {"shape": [H, W, C], "side": SIDE}, where the shape of gray ones is [H, W], and SIDE is
the longest side of the file's own picture; if decoding fails, {"unreadable": MESSAGE} or {"too_large": MESSAGE}. It
imports nothing of this package, to start fast.
"""

import contextlib
import io
import json
import math
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

REDUCED_SIDE = 1024  # pixels: a picture at least twice as large is reduced


def main() -> int:
    """Decode files from stdin to stdout until it ends."""
    max_pixels, max_seconds = int(sys.argv[1]), float(sys.argv[2])
    limit_memory(int(sys.argv[3]))
    while length := sys.stdin.buffer.read(8):
        content = sys.stdin.buffer.read(int.from_bytes(length, "big"))
        with time_limit(max_seconds):
            header, pixels = decode_or_describe(content, max_pixels)
        sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pixels)
        sys.stdout.buffer.flush()
    return 0


def decode_or_describe(content: bytes, max_pixels: int) -> tuple[dict[str, object], bytes]:
    """The header and pixels of a file, or a header that says why there are none."""
    try:
        return decode(content, max_pixels)
    except ImportError as error:
        return {"unreadable": f"this installation cannot read HEIC or AVIF ({error}); install pi-heif"}, b""
    except MemoryError:
        return {"too_large": "the picture takes too much memory to decode"}, b""
    except Exception as error:  # no list is complete: decoders stumble over damaged files in many ways
        return {"unreadable": f"the picture is damaged or cut: {describe(error)}"}, b""


def describe(error: Exception) -> str:
    """An error's message in one line, without the addresses that Pillow prints."""
    return re.sub(r"<.*? at 0x[0-9a-f]+>", "", " ".join(str(error).split()))[:200].strip()


def limit_memory(max_bytes: int) -> None:
    """Refuse this process more address space. Nothing on Windows."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def time_limit(max_seconds: float) -> Iterator[None]:
    """End this process when the block has used its processor time. Nothing on Windows."""
    if sys.platform == "win32":
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, max_seconds)  # SIGPROF ends a process that does not handle it
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)


def decode(content: bytes, max_pixels: int) -> tuple[dict[str, object], bytes]:
    """The header and the pixels of a file."""
    from PIL import ImageOps

    picture = open_picture(content)
    if math.prod(picture.size) > max_pixels:
        width, height = picture.size
        return {"too_large": f"the picture has {width} × {height} pixels; the limit is {max_pixels:,}"}, b""
    side = max(picture.size)
    factor = max(side // REDUCED_SIDE, 1)
    picture = picture.reduce(factor) if factor > 1 else picture
    picture = ImageOps.exif_transpose(picture)
    mode = "RGBA" if "A" in picture.mode or "transparency" in picture.info else "L" if picture.mode == "L" else "RGB"
    channels = {"L": [], "RGB": [3], "RGBA": [4]}[mode]
    return {"shape": [picture.height, picture.width, *channels], "side": side}, picture.convert(mode).tobytes()


def open_picture(content: bytes) -> Any:
    """A Pillow image, not decoded yet. Raises various errors, and MemoryError."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # the caller has a limit of its own
    if b"avif" in content[8:64] or b"avis" in content[8:64]:
        from PIL import AvifImagePlugin, features

        if not features.check("avif"):
            raise ImportError("Pillow was built without AVIF")
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        return PIL.Image.open(io.BytesIO(content), formats=["AVIF"])
    import pi_heif  # type: ignore[import-untyped]

    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    return pi_heif.HeifImageFile(io.BytesIO(content))  # libheif turns it upright, and so does the tag it passes on


if __name__ == "__main__":
    sys.exit(main())
