"""Replace the weights of a running server: the server puts them in place when a process on this machine asks it to."""

import os
import signal
import sys
import time
import zipfile
from pathlib import Path

import requests

from mnist_lightning.common import tokens
from mnist_lightning.common.constants import EXPORTED, LOOPBACK, WEIGHTS
from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.files import write_atomic
from mnist_lightning.serving import pid_file
from mnist_lightning.serving.config import MODEL_CONFIG, OFFSETS
from mnist_lightning.serving.health import is_ready

# Differ between archives of the same code: the model and its weights, the build's date, and the configuration that
# `serve` adapts.
REPLACEABLE = frozenset({EXPORTED, WEIGHTS, "MAR-INF/MANIFEST.json", MODEL_CONFIG})
RELOAD_TIMEOUT = 30.0  # seconds


class ReloadError(RuntimeError):
    """The server cannot load the archive; it continues to serve its current weights."""


class ReloadHandler:
    """A signal handler that makes a server load its archive again.

    A signal that arrives before the server is ready is handled by `ready`.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._model_dir: Path | None = None
        self._pending = False

    def __call__(self, *_: object) -> None:
        """Replace the weights, or print why that is impossible."""
        if self._model_dir is None:
            self._pending = True
            return
        try:
            replace_weights(self._archive, self._model_dir)
        except (ReloadError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)

    def ready(self, server_folder: Path) -> None:
        """Start to handle signals: the server with this temporary folder has loaded its archive."""
        self._model_dir = model_dir(server_folder)
        if self._pending:
            self()


def model_dir(server_folder: Path) -> Path:
    """Return the folder in a server's temporary folder into which TorchServe has unpacked the archive."""
    return next(server_folder.glob(f"models/*/{EXPORTED}")).parent


def replace_weights(archive: Path, target: Path) -> None:
    """Replace the model in TorchServe's folder `target` by that of `archive`, and its weights before it.

    The workers watch the model, and load it with the weights.

    Raises ReloadError if the archive is missing or damaged, or if its code differs from the code that the server runs.
    """
    try:
        with zipfile.ZipFile(archive) as new:
            for name in set(new.namelist()) - REPLACEABLE:
                if not name.endswith("/") and _content(target / name) != new.read(name):
                    raise ReloadError(f"{archive} has a different {name} than the server runs; restart the server")
            weights, model = new.read(WEIGHTS), new.read(EXPORTED)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ReloadError(f"{archive} is missing or damaged: {error}") from error
    write_atomic(target / WEIGHTS, weights)
    write_atomic(target / EXPORTED, model)


def request_reload(archive: Path, port: int, token_file: Path | None = None, timeout: float = RELOAD_TIMEOUT) -> str:
    """Make the server on this machine's `port` load its archive again; return the weights' name once it serves them.

    `archive` is the file that the server was started with. Raises ReloadError if no server of this user runs on the
    port, or if it does not serve these weights within `timeout` seconds; TokenError.
    """
    try:
        with zipfile.ZipFile(archive) as new:
            name = short_digest(new.read(WEIGHTS))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ReloadError(f"{archive} is missing or damaged: {error}") from error
    token, deadline = tokens.resolve_token(token_file), time.monotonic() + timeout
    pid = pid_file.find(port)
    if pid is None:
        raise ReloadError(f"no mnist_lightning.serve of this user runs on port {port}; choose the port with --port")
    os.kill(pid, signal.SIGHUP)
    while time.monotonic() < deadline:
        # Workers switch to new weights between two requests.
        if is_ready(f"http://{LOOPBACK}:{port}", token=token) and name in _served_weights(port + OFFSETS["metrics"]):
            return name
        time.sleep(0.2)
    raise ReloadError(f"the server on port {port} did not load {archive} within {timeout:.0f} s; its output says why")


def _served_weights(metrics_port: int) -> str:
    """Return the lines of a server's metrics that name the served weights."""
    try:
        text = requests.get(f"http://{LOOPBACK}:{metrics_port}/metrics", timeout=10).text
    except requests.RequestException:
        return ""
    return "\n".join(x for x in text.splitlines() if x.startswith("mnist_model{") and x.endswith(" 1.0"))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
