"""A limit on the processor time that a request takes in the worker."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mnist_lightning.inference.errors import TooSlowError

REQUEST_SECONDS = 0.3  # the largest accepted picture takes two thirds of it
BATCH_SECONDS = 2 * REQUEST_SECONDS  # the requests of a batch wait for one another; one does not use up all of it
MIN_SECONDS = 0.05  # an ordinary request, which takes a millisecond, is served after any others of its batch
CHECK_SECONDS = 0.01
HEIF_SECONDS = 0.3  # after this time a batch begins no other HEIC or AVIF; one may take a second

TOO_SLOW = "the request takes too much processor time; send smaller or fewer pictures"

_deadline = math.inf  # by time.thread_time(), of the current request; the worker has one thread that processes them


@dataclass
class CpuBudget:
    """Processor time in seconds that a batch may use, or one of its requests in all stages of its processing."""

    left: float

    @contextlib.contextmanager
    def spend(self, batch: "CpuBudget", minimum: float = 0.0) -> Iterator[None]:
        """Raise TooSlowError in the block once this budget or the batch's is used up. Main thread only.

        Decoders run in C without bound, but return to Python between two parts of a file. Other threads' time does
        not count. `install_handler` must have been called.

        Args:
            batch: the budget of the batch that the request belongs to.
            minimum: seconds that the block may use in any case.
        """
        global _deadline
        started, allowed = time.thread_time(), max(min(self.left, batch.left), minimum)
        _deadline = started + allowed
        signal.setitimer(signal.ITIMER_PROF, max(allowed, CHECK_SECONDS), CHECK_SECONDS)
        try:
            yield
        except TooSlowError:
            raise
        except Exception as error:
            if time.thread_time() < _deadline:
                raise
            raise TooSlowError(TOO_SLOW) from error  # a library has replaced the signal's exception by its own
        finally:
            _deadline = math.inf
            signal.setitimer(signal.ITIMER_PROF, 0)
            used = time.thread_time() - started
            self.left -= used
            batch.left -= used


def install_handler() -> None:
    """Make the profiling signal, which nothing else in the worker uses, end a request that has used up its budget."""
    signal.signal(signal.SIGPROF, _raise_if_too_slow)


def _raise_if_too_slow(*_: object) -> None:
    # The timer counts all threads, so it is never late; it repeats, also in case a library swallows the exception.
    if time.thread_time() >= _deadline:
        raise TooSlowError(TOO_SLOW)
