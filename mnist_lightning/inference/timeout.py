"""A limit on the processor's time that one request may take, whatever its pictures are made of."""

import contextlib
import signal
from collections.abc import Iterator

from mnist_lightning.inference.errors import TooSlowError

SECONDS = 2.0  # of the processor; a PNG of 50 megapixels takes half of it
AGAIN = 0.1  # should a library swallow the error


@contextlib.contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raises TooSlowError inside the block once it has used up its time. For the main thread only.

    Decoders run in C for as long as they please, but come back to Python between two pieces of a file. `install`
    must have been called.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def install() -> None:
    """Make this process's profiling signal, of which it has no other use, the end of a request."""
    signal.signal(signal.SIGPROF, _expired)


def _expired(*_: object) -> None:
    raise TooSlowError("reading the request takes too long; send smaller or fewer pictures")
