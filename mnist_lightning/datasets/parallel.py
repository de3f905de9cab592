"""Generate data on all processor cores; the result does not depend on how many there are."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar, cast

import cv2

from mnist_lightning.serving.resources import available_cores

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Made = TypeVar("Made")


class GenerationError(RuntimeError):
    """A process that generates data was killed, as the system does where memory runs out."""


def generate(make: Callable[[Shared, Task], Made], shared: Shared, tasks: Sequence[Task]) -> Iterator[Made]:
    """``make(shared, task)`` for each task, in order.

    `make` is a function of a module, and `shared` is sent to each process once.
    Raises GenerationError if a process is killed.
    """
    if len(tasks) == 1:  # takes less time than to start a process
        yield make(shared, tasks[0])
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads could hang
    with ProcessPoolExecutor(available_cores(), context, _prepare, (make, shared)) as pool:
        try:
            yield from cast(Iterator[Made], pool.map(_run, tasks))
        except BrokenProcessPool as error:
            raise GenerationError("a process that draws images was killed; free memory, and start again") from error
        finally:
            pool.shutdown(cancel_futures=True)  # after an error, the rest is not made


_prepared: list[tuple[Callable[..., object], object]] = []  # in a process that generates


def _prepare(make: Callable[..., object], shared: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _prepared.append((make, shared))


def _end_with_parent() -> None:
    """A pool's processes would wait for tasks for ever if their parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(task: object) -> object:
    make, shared = _prepared[0]
    return make(shared, task)
