"""A limit on the processor time of reading one request."""

import contextlib
import signal
from collections.abc import Iterator

from mnist_lightning.inference.errors import TooSlowError

CPU_SECONDS = 2.0  # a PNG of 50 megapixels takes a quarter to half of it
REPEAT_SECONDS = 0.1  # the signal repeats in case a library swallows the exception


@contextlib.contextmanager
def cpu_limit(seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Raise TooSlowError in the block once the process has used `seconds` of processor time. Main thread only.

    Decoders run in C without bound, but return to Python between two parts of a file. `install_handler` must have
    been called.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def install_handler() -> None:
    """Make the process's profiling signal, which nothing else uses, end a request."""
    signal.signal(signal.SIGPROF, _raise_too_slow)


def _raise_too_slow(*_: object) -> None:
    raise TooSlowError("reading the request takes too long; send smaller or fewer pictures")
