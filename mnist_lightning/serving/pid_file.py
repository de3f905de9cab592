"""PID files that name the process serving a port, one per port in the user's runtime folder.

On Linux the folder is ``$XDG_RUNTIME_DIR/mnist-lightning``, or a private one in the temporary folder without that.
"""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import psutil

from mnist_lightning.common.files import write_atomic

CLOCK_TOLERANCE = 2.0  # seconds; a process's creation time shifts with corrections of the system clock


@contextlib.contextmanager
def registered(port: int) -> Iterator[None]:
    """Keep a PID file of this process for `port` while the block runs.

    A live server's file stays as it is: this process then cannot bind the port either. If the file cannot be written,
    a warning is printed and the block runs without one.
    """
    path = None
    try:
        path = _write(port)
    except OSError as error:
        print(f"warning: no PID file, so `serve --reload` will not find this server: {error}", file=sys.stderr)
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def find(port: int) -> int | None:
    """Return the PID of the live process registered for `port`, or None.

    A file whose process has ended, or whose PID now belongs to another process, counts as none.
    """
    try:
        record = json.loads(_path(port).read_text())
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["created"]) < CLOCK_TOLERANCE
        return process.pid if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def _write(port: int) -> Path | None:
    """Write this process's file and return its path; None if a live server is registered for the port."""
    if find(port) is not None:
        return None
    path = _path(port)
    record = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    write_atomic(path, json.dumps(record).encode())
    return path


def _path(port: int) -> Path:
    """The PID file of a port, in a folder that only this user may enter. Raises OSError."""
    with warnings.catch_warnings(action="ignore"):  # platformdirs warns where XDG_RUNTIME_DIR is not set
        return Path(platformdirs.user_runtime_dir("mnist-lightning", ensure_exists=True), f"{port}.pid")
