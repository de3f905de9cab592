"""Load a file again whenever it is replaced, while the process uses it."""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Loaded = TypeVar("Loaded")
Version = tuple[int, int]  # inode and modification time: differs for every file that takes the path
POLL_SECONDS = 0.5
START_ATTEMPTS = 3


class FileReloader(Generic[Loaded]):
    """Loads a file now, and again in the background whenever another takes its place.

    A file that cannot be loaded is logged and changes nothing.

    Args:
        path: the file.
        load: makes an object of the file's content. If it fails at first, it is tried again for a while, because the
            file and what belongs to it may just be replaced; then the constructor raises its error.
    """

    def __init__(self, path: Path, load: Callable[[bytes], Loaded]) -> None:
        self.path, self.load = path, load
        # Two threads share it: the watcher appends and the worker pops, each in one atomic step.
        self.new = deque([self._load_first()], maxlen=1)
        self.logged = ""

    def start(self) -> None:
        """Watch the file for as long as the process lives."""
        threading.Thread(target=self._watch, daemon=True).start()

    def take_new(self) -> Loaded | None:
        """The latest object loaded since the last call, once; None if there is none."""
        return self.new.pop() if self.new else None

    def poll(self) -> None:
        """Load the file if it is another one. Never raises; an error that persists is logged once."""
        message = ""
        try:
            if _version(self.path.stat()) != self.version:
                self.new.append(self._load())
        except Exception as error:  # the boundary: whatever takes the file's place, the loaded object stays in use
            message = str(error)
            if message != self.logged:
                logging.getLogger(__name__).error("the new %s is not loaded: %s", self.path.name, message)
        self.logged = message

    def _load_first(self) -> Loaded:
        for _ in range(START_ATTEMPTS - 1):
            with contextlib.suppress(Exception):
                return self._load()
            time.sleep(POLL_SECONDS)
        return self._load()

    def _load(self) -> Loaded:
        self.version, content = _read(self.path)
        return self.load(content)

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            self.poll()


def _read(path: Path) -> tuple[Version, bytes]:
    """A file's content and the version of that very content, even if it is replaced meanwhile. Raises OSError."""
    with path.open("rb") as file:
        return _version(os.fstat(file.fileno())), file.read()


def _version(status: os.stat_result) -> Version:
    return status.st_ino, status.st_mtime_ns
