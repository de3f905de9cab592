"""HEIF and AVIF, the formats of phones, decoded by `heif_decoder` in a process of its own.

Their decoders are large C libraries that do not return to Python before a picture is complete, and take as much memory
as its stream asks for, whatever the header says. A process can be ended, and limited in memory. It stays for the next
picture, because starting it takes longer than decoding a small one.
"""

import atexit
import contextlib
import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.errors import BusyDecoderError, NotAPictureError, TooManyPixelsError

DECODER = Path(__file__).with_name("heif_decoder.py")
MAX_PIXELS = 25_000_000
MAX_SECONDS = 1.0  # of processor time for a picture; one of 12 million pixels takes 0.7 on the processors measured
MAX_BYTES = 640_000_000  # of address space, of which the libraries take a third
MAX_WAIT = 5.0  # seconds
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
MAX_BRANDS = 16  # of a file that are looked at
TOO_SLOW = "the picture takes too much time or memory to decode; send a smaller one, or a JPEG"
TIME_LIMITS = {getattr(signal, name, 0) for name in ("SIGPROF", "SIGKILL", "SIGXCPU")}
SEVERAL = "several pictures in HEIC or AVIF take too long; send each in a request of its own, or as a JPEG"
BUSY = "pictures in HEIC or AVIF came from several clients at once; send this one again, or as a JPEG"


@dataclass
class _Budget:
    """Seconds that decoders may still take for a batch, and those that they have taken for the current request."""

    left: float = math.inf
    own: float = 0.0


_budget = _Budget()
_process: "subprocess.Popen[bytes] | None" = None
_lock = threading.Lock()  # there is one process, which decodes one picture at a time


def is_heif(content: bytes) -> bool:
    """Whether a file starts as HEIF and AVIF do: with a list of brands, one of which is known."""
    end = min(int.from_bytes(content[:4], "big"), 8 + 4 * MAX_BRANDS)
    return content[4:8] == b"ftyp" and any(content[at : at + 4] in BRANDS for at in range(8, end, 4))


@contextlib.contextmanager
def limit_batch(seconds: float) -> Iterator[None]:
    """Begin no decoder in this block after they have taken that much time together. For one thread only."""
    _budget.left, _budget.own = seconds, 0.0
    try:
        yield
    finally:
        _budget.left = math.inf


def begin_request() -> None:
    """What decoders take from here on is another request's."""
    _budget.own = 0.0


def decode_heif(content: bytes) -> tuple[NDArray[np.uint8], int]:
    """Decode a file to (H, W), (H, W, 3) or (H, W, 4) uint8, upright, at most 2048 pixels; and its own longest side.

    Raises NotAPictureError; TooManyPixelsError for a limit that this picture or its request exceeds; BusyDecoderError
    if other requests of the batch have used up its time; RuntimeError if the decoder cannot run.
    """
    if _budget.left <= 0:
        raise TooManyPixelsError(SEVERAL) if _budget.own else BusyDecoderError(BUSY)
    started = time.monotonic()
    try:
        with _lock:
            header, pixels = _ask(content)
    finally:
        taken = time.monotonic() - started
        _budget.left, _budget.own = _budget.left - taken, _budget.own + taken
    if message := header.get("too_large"):
        raise TooManyPixelsError(message)
    if message := header.get("unreadable"):
        raise NotAPictureError(message)
    return np.frombuffer(pixels, np.uint8).reshape(header["shape"]), header["side"]


def close() -> None:
    """End the decoder's process, if there is one. The next picture starts another."""
    global _process
    if _process is not None:
        _process.kill()
        _process.communicate()
        _process = None


def _ask(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Send a file to the decoder's process; the header and pixels that it answers with."""
    process = _start()
    stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    patience = threading.Timer(MAX_WAIT, process.kill)
    patience.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit code says why
            stdin.write(len(content).to_bytes(8, "big") + content)
            stdin.flush()
        if not (line := stdout.readline()):
            raise _ended_by(process.wait())
        header: dict[str, Any] = json.loads(line)
        return header, stdout.read(math.prod(header.get("shape", [0])))
    except BaseException:  # also a limit of time that ends the request: what the process answers is not read
        close()
        raise
    finally:
        patience.cancel()


def _start() -> "subprocess.Popen[bytes]":
    """The decoder's process, which is started for the first picture and after a limit has ended it."""
    global _process
    if _process is None or _process.poll() is not None:
        close()
        atexit.unregister(close)
        atexit.register(close)
        command = [sys.executable, "-I", str(DECODER), str(MAX_PIXELS), str(MAX_SECONDS), str(MAX_BYTES)]
        pipe = subprocess.PIPE
        _process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    return _process


def _ended_by(code: int) -> Exception:
    """The error of a decoder that has ended, by its exit code, which is negative for a signal."""
    if -code in TIME_LIMITS:
        return TooManyPixelsError(TOO_SLOW)
    if code < 0:
        return NotAPictureError(f"the picture cannot be decoded: its decoder ended with {signal.Signals(-code).name}")
    return RuntimeError(f"{DECODER.name} ended with exit code {code}")
