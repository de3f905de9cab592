"""The user's runtime folder: PID files, and one folder for each running server.

On Linux it is ``$XDG_RUNTIME_DIR/mnist-lightning``, ``/run/user/UID/mnist-lightning``, or without both a private one in
the temporary folder.
"""

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import platformdirs

PREFIX = "server-"


def runtime_dir() -> Path:
    """The runtime folder, which only this user may enter; it is created if it does not exist. Raises OSError."""
    with warnings.catch_warnings(action="ignore"):  # platformdirs warns where XDG_RUNTIME_DIR is not set
        return Path(platformdirs.user_runtime_dir("mnist-lightning", ensure_exists=True))


@contextlib.contextmanager
def server_dir() -> Iterator[Path]:
    """A new folder for the files of one server, removed after the block.

    It is locked meanwhile. The lock ends with the process, however that ends, so the next server removes what a killed
    one left; and systemd's cleaner of temporary folders skips locked ones. Raises OSError.
    """
    parent = runtime_dir()
    with _locked(parent):
        _remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = contextlib.ExitStack()
        lock.enter_context(_locked(folder))
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the exclusive lock of a folder. Raises BlockingIOError if another process has it and `wait` is False."""
    import fcntl  # here, because a system without it can still import every verb

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
