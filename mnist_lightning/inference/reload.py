"""A file that may be replaced while it is in use, and what is made of it."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Made = TypeVar("Made")
EVERY = 0.5  # seconds


class Renewal(Generic[Made]):
    """Makes it anew in the background and has it ready for whoever comes for it; a bad file changes nothing."""

    def __init__(self, path: Path, make: Callable[[Path], Made]) -> None:
        self.path, self.make = path, make
        self.seen = self._mark()
        self.ready: Made | None = None

    def start(self) -> None:
        """Look after the file for as long as the process lives."""
        threading.Thread(target=self._watch, daemon=True).start()

    def pending(self) -> Made | None:
        """What was made since the last time, once."""
        made, self.ready = self.ready, None
        return made

    def look(self) -> None:
        """Make it anew if the file is another."""
        if (mark := self._mark()) == self.seen:
            return
        self.seen = mark
        try:
            self.ready = self.make(self.path)
        except Exception as error:  # the boundary: whatever was put there, what is in use goes on
            logging.getLogger(__name__).error("the new %s is not taken: %s", self.path.name, error)

    def _watch(self) -> None:
        while True:
            time.sleep(EVERY)
            self.look()

    def _mark(self) -> tuple[int, int]:
        """Another for every file that is put in its place."""
        told = self.path.stat()
        return told.st_ino, told.st_mtime_ns
