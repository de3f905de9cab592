"""The verb `serve` as a process of its own, with a check that it stops cleanly."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from mnist_lightning.serving.torchserve import free_port
from tests.support import PROJECT

SECONDS = 60.0  # until a test gives up


@dataclass(frozen=True)
class ServeProcess:
    """A running `serve`. Its runtime folder is `folder`, and its stderr goes to a file."""

    process: subprocess.Popen[str]
    port: int
    store: Path
    folder: Path
    stderr: Path
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == f"ready: {self.url}/predictions/mnist\n", self.stderr.read_text()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, how: signal.Signals) -> None:
        """Send a signal and check that the process ends with 0, without processes or files of its own left."""
        family = self.children()
        assert len(family) >= 2, "Java and a worker"
        self.process.send_signal(how)
        assert self.process.wait(SECONDS) == 0
        assert psutil.wait_procs(family, timeout=SECONDS)[1] == []
        assert [path for path in self.folder.rglob("*") if path.is_file()] == []
        assert list(self.folder.rglob("server-*")) == []


@contextlib.contextmanager
def serve(
    store: Path,
    folder: Path,
    *flags: str,
    cwd: Path = PROJECT,
    umask: int = -1,
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServeProcess]:
    """Start `serve`, with its stderr in `folder`; it is stopped with the block if it still runs."""
    port, stderr = free_port(), folder / "stderr"
    temporary = Path(tempfile.mkdtemp())  # pytest's own folders have paths too long for sockets
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "mnist_lightning.serve", "--port", str(port), "--store", str(store), *flags],
            cwd=cwd,
            umask=umask,
            env={**os.environ, "XDG_RUNTIME_DIR": str(temporary), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            host = dict(pairwise(flags)).get("--host", "127.0.0.1")
            yield ServeProcess(process, port, store, temporary, stderr, host)
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(temporary)


def wait_until(happened: Callable[[], object], what: str) -> None:
    """Fail with `what` unless it happens within SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
