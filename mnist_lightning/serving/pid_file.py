"""PID files that say which process serves a port and how to reach it, one per port in the user's runtime folder."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from mnist_lightning.common import tokens
from mnist_lightning.common.files import write_atomic
from mnist_lightning.serving.runtime_dir import runtime_dir

CLOCK_TOLERANCE = 2.0  # seconds; a process's creation time shifts with corrections of the system clock


@dataclass(frozen=True)
class RunningServer:
    """A process that runs a server."""

    pid: int
    created: float  # when the process was created, in seconds since 1970
    port: int
    url: str
    token_file: str | None = None

    def token(self, token_file: Path | None) -> str | None:
        """The token of a file, or else the server's own. Raises TokenError."""
        return tokens.resolve_token(token_file or (Path(self.token_file) if self.token_file else None))


@contextlib.contextmanager
def registered(port: int, url: str, token_file: Path | None = None) -> Iterator[None]:
    """Keep a PID file of this process for `port` while the block runs.

    A live server's file stays as it is: this process then cannot bind the port either. If the file cannot be written,
    a warning is printed and the block runs without one.
    """
    path = None
    try:
        path = _write(port, url, token_file)
    except OSError as error:
        print(f"warning: no PID file, so `serve --reload` will not find this server: {error}", file=sys.stderr)
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def find(port: int | None = None) -> RunningServer | None:
    """Return the live server of this user that is registered for `port`, without a port the one of the lowest port.

    A file whose process has ended, or whose PID now belongs to another process, counts as none.
    """
    try:
        paths = [_path(port)] if port is not None else sorted(runtime_dir().glob("*.pid"), key=lambda path: path.name)
    except OSError:
        return None
    return next((server for server in map(_read, paths) if server is not None), None)


def _read(path: Path) -> RunningServer | None:
    try:
        server = RunningServer(**json.loads(path.read_text()))
        process = psutil.Process(server.pid)
        same = abs(process.create_time() - server.created) < CLOCK_TOLERANCE
        return server if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def _write(port: int, url: str, token_file: Path | None) -> Path | None:
    """Write this process's file and return its path; None if a live server is registered for the port."""
    if find(port) is not None:
        return None
    token = None if token_file is None else str(token_file.resolve())
    server = RunningServer(os.getpid(), psutil.Process().create_time(), port, url, token)
    write_atomic(_path(port), json.dumps(asdict(server)).encode())
    return _path(port)


def _path(port: int) -> Path:
    return runtime_dir() / f"{port}.pid"
