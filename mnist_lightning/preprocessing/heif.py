"""HEIF and AVIF, the formats of phones, decoded by `heif_decoder` in a process of its own.

Their decoders are large C libraries that do not return to Python before a picture is complete, and take as much memory
as its stream asks for, whatever the header says. A process can be ended, and limited in memory.
"""

import contextlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.errors import BusyDecoderError, NotAPictureError, TooManyPixelsError

DECODER = Path(__file__).with_name("heif_decoder.py")
MAX_PIXELS = 25_000_000
MAX_SECONDS = 0.8  # of processor time, the start of the process included; the other requests of the batch wait
MAX_BYTES = 640_000_000  # of address space, of which the libraries take a third
MAX_WAIT = 5.0  # seconds
BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
TOO_SLOW = "the picture takes too much time or memory to decode; send a smaller one, or a JPEG"

_left = math.inf  # seconds that this batch's decoders may still take


def is_heif(content: bytes) -> bool:
    """Whether a file starts as HEIF and AVIF do."""
    return content[4:8] == b"ftyp" and content[8:12] in BRANDS


@contextlib.contextmanager
def limit_batch(seconds: float) -> Iterator[None]:
    """Begin no decoder in this block after they have taken that much time together. Not for several threads."""
    global _left
    _left = seconds
    try:
        yield
    finally:
        _left = math.inf


def decode_heif(content: bytes) -> NDArray[np.uint8]:
    """Decode a file to (H, W), (H, W, 3) or (H, W, 4) uint8, upright, at most 2048 pixels.

    Raises NotAPictureError, TooManyPixelsError or BusyDecoderError.
    """
    global _left
    if _left <= 0:
        raise BusyDecoderError("several pictures in HEIC or AVIF came at once; send this one again, or as a JPEG")
    command = [sys.executable, "-I", str(DECODER), str(MAX_PIXELS), str(MAX_SECONDS), str(MAX_BYTES)]
    started = time.monotonic()
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=MAX_WAIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise TooManyPixelsError(TOO_SLOW) from error
    finally:
        _left -= time.monotonic() - started
    if done.returncode:  # ended by a signal: SIGPROF, or what a decoder without memory ends with
        raise TooManyPixelsError(TOO_SLOW)
    line, _, pixels = done.stdout.partition(b"\n")
    header = json.loads(line)
    if message := header.get("too_large"):
        raise TooManyPixelsError(message)
    if message := header.get("unreadable"):
        raise NotAPictureError(message)
    return np.frombuffer(pixels, np.uint8).reshape(header["shape"])
