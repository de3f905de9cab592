"""New weights for a server that runs: put in its place by the server, asked for by who made them."""

import os
import signal
import time
import zipfile
from pathlib import Path

import psutil
import requests

from mnist_lightning.common import tokens
from mnist_lightning.common.constants import LOOPBACK, WEIGHTS
from mnist_lightning.common.digests import short_digest
from mnist_lightning.serving import resources
from mnist_lightning.serving.config import OFFSETS
from mnist_lightning.serving.health import answers

MANIFEST = "MAR-INF/MANIFEST.json"
TAILORED = "model-config.yaml"  # fitted to the machine when the server started
SECONDS = 30.0


class ReplacementError(RuntimeError):
    """The archive does not replace what is served; the server goes on with that."""


def served_by(folder: Path) -> Path:
    """Where the TorchServe whose temporary folder this is has unpacked the archive."""
    return next(folder.glob(f"models/*/{WEIGHTS}")).parent


def replace(archive: Path, served: Path) -> None:
    """Put the weights of `archive` into TorchServe's folder `served`, in one step; its workers look there.

    Raises ReplacementError for an archive that is none, or whose code is not what the server runs.
    """
    try:
        with zipfile.ZipFile(archive) as new:
            for name in set(new.namelist()) - {WEIGHTS, MANIFEST, TAILORED}:
                if not name.endswith("/") and _content(served / name) != new.read(name):
                    raise ReplacementError(f"{archive} has another {name} than the server runs; restart it instead")
            weights = new.read(WEIGHTS)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ReplacementError(f"{archive} is absent or damaged: {error}") from error
    unfinished = served / f".{WEIGHTS}.unfinished"
    unfinished.write_bytes(weights)
    unfinished.replace(served / WEIGHTS)


def ask_for(archive: Path, port: int, token_file: Path | None = None, seconds: float = SECONDS) -> str:
    """Have the server on this machine's `port` take its archive anew; the weights' name, once they answer.

    `archive` is the one it serves, as it is by now. Raises ReplacementError where no such server runs, or where it
    does not serve these weights within `seconds`; TokenError.
    """
    try:
        with zipfile.ZipFile(archive) as new:
            name = short_digest(new.read(WEIGHTS))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ReplacementError(f"{archive} is absent or damaged: {error}") from error
    token, deadline = tokens.chosen(token_file), time.monotonic() + seconds
    os.kill(_serving(port), signal.SIGHUP)
    while time.monotonic() < deadline:
        # Workers change between two requests.
        if answers(f"http://{LOOPBACK}:{port}", token=token) and name in _named(port + OFFSETS["metrics"]):
            return name
        time.sleep(0.2)
    raise ReplacementError(f"the server on port {port} did not take {archive} in {seconds:.0f} s; it says why")


def _serving(port: int) -> int:
    """The `serve` whose TorchServe listens on a port."""
    for java in resources.listening(port):
        parent = psutil.Process(java).parent()
        if parent is not None and any(word.endswith("mnist_lightning.serve") for word in parent.cmdline()):
            return parent.pid
    raise ReplacementError(f"no mnist_lightning.serve of yours answers on port {port}; name its port with --port")


def _named(port: int) -> str:
    """The weights that a server's metrics name as served."""
    try:
        told = requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=10).text
    except requests.RequestException:
        return ""
    lines = [line for line in told.splitlines() if line.startswith("mnist_model{") and line.endswith(" 1.0")]
    return "\n".join(lines)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
