"""The canary: which clients get the challenger's answers, and when that ends by itself.

Each worker watches the requests that it answers. The one that finds the challenger too slow or failing writes a file,
which the others, and workers that start later, find.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnist_lightning.common.files import write_atomic

CHECK_SECONDS = 0.5
WINDOW = 500  # requests, the latest ones, that are judged
MIN_ERRORS, MAX_ERROR_RATE = 3, 0.01
MIN_TIMED = 50  # requests
QUANTILE = 0.9  # of the times: the bound holds for the slower requests, and a single slow one does not count
MAX_SLOWDOWN, MAX_DELAY = 2.0, 0.001  # the challenger's time is at most the champion's twice, and a millisecond more
CLIENT_ID = "x-client-id"
FORWARDED = "x-forwarded-for"
KEY_BYTES = 1 << 16  # of a picture, that tell it apart from others


class Outcome(NamedTuple):
    """Both models' times for the pictures of one request; None for the challenger's if it failed."""

    champion_seconds: float
    challenger_seconds: float | None


class Canary:
    """Gives a share of the clients to the challenger.

    Args:
        share: of the clients, from 0 to 1.
        challenger: the digest of its weights; another challenger gets other clients.
        end_file: ends the canary of every worker as soon as it exists. It holds the reason.
        on_end: called when the canary ends.
    """

    def __init__(self, share: float, challenger: str, end_file: Path, on_end: Callable[[], None]) -> None:
        self.share, self.salt, self.end_file, self.on_end = share, challenger.encode(), end_file, on_end
        self.outcomes: deque[Outcome] = deque(maxlen=WINDOW)
        self.is_running = share > 0 and not end_file.exists()

    def start(self) -> None:
        """Check every CHECK_SECONDS whether the canary has to end, for as long as it runs."""
        if self.is_running:
            threading.Thread(target=self._watch, daemon=True).start()

    def takes(self, client: bytes) -> bool:
        """Whether a client, named by `client_key`, gets the challenger's answers."""
        return self.is_running and _position(self.salt + client) < self.share

    def check(self) -> None:
        """End the canary if another worker has ended it, or if the outcomes are beyond the bounds. Raises OSError."""
        is_ended = self.end_file.exists()
        reason = None if is_ended else judge([*self.outcomes])
        if is_ended or reason:
            self.is_running = False
            self.on_end()
        if reason:
            write_atomic(self.end_file, reason.encode())

    def _watch(self) -> None:
        while self.is_running:
            time.sleep(CHECK_SECONDS)
            try:
                self.check()
            except OSError as error:  # the disk is full
                logging.getLogger(__name__).error("the canary ends in this worker only: %s", error)


def judge(outcomes: Sequence[Outcome]) -> str | None:
    """Why a canary with these outcomes has to end; None if it may go on."""
    times = np.array([(one, other) for one, other in outcomes if other is not None])
    errors = len(outcomes) - len(times)
    if errors >= MIN_ERRORS and errors > MAX_ERROR_RATE * len(outcomes):
        return f"the challenger failed on {errors} of {len(outcomes)} requests; the champion answered these"
    if len(times) < MIN_TIMED:
        return None
    champion, challenger = np.quantile(times, QUANTILE, axis=0)
    if challenger <= MAX_SLOWDOWN * champion + MAX_DELAY:
        return None
    return (
        f"the challenger needs {1000 * challenger:.1f} ms where the champion needs {1000 * champion:.1f} ms "
        f"(percentile {100 * QUANTILE:.0f} of {len(times)} requests)"
    )


def client_key(headers: Mapping[str, object], parts: Mapping[str, object]) -> bytes:
    """What identifies the client of a request: its header X-Client-Id, else the address that a proxy has forwarded,
    else the picture itself, because a worker does not know the address that a request comes from."""
    names = {name.lower(): str(value) for name, value in headers.items()}
    if known := names.get(CLIENT_ID):
        return b"id " + known.encode()
    if forwarded := names.get(FORWARDED):
        return b"address " + forwarded.split(",")[0].strip().encode()
    return b"parts " + b"".join(_first_bytes(value) for value in parts.values())


def _first_bytes(value: object) -> bytes:
    return bytes(value[:KEY_BYTES]) if isinstance(value, bytes | bytearray) else str(value)[:KEY_BYTES].encode()


def _position(key: bytes) -> float:
    """A number in [0, 1) for a key, as evenly distributed over all keys as if by chance."""
    return int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64
