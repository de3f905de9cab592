"""Replace the weights of a running server: the server puts them in place when a process on this machine asks it to."""

import contextlib
import os
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import TextIO

import requests

from mnist_lightning.common.constants import EXPORTED, LOOPBACK, REFERENCE, WEIGHTS
from mnist_lightning.common.digests import weights_digest
from mnist_lightning.common.files import write_atomic
from mnist_lightning.serving import pid_file
from mnist_lightning.serving.config import ARCHIVE_ERRORS, MODEL_CONFIG, OFFSETS
from mnist_lightning.serving.health import is_ready, local_session

# Differ between archives of the same code: the model, its weights and its reference, the build's date, and the
# configuration that `serve` adapts.
REPLACEABLE = frozenset({EXPORTED, WEIGHTS, REFERENCE, "MAR-INF/MANIFEST.json", MODEL_CONFIG})
RELOAD_TIMEOUT = 30.0  # seconds


class ReloadError(RuntimeError):
    """The server cannot load the archive; it continues to serve its current weights."""


def model_dir(server_folder: Path) -> Path:
    """Return the folder in a server's temporary folder into which TorchServe has unpacked the archive."""
    return next(server_folder.glob(f"models/*/{EXPORTED}")).parent


def replace_weights(archive: Path, target: Path) -> None:
    """Replace the model in TorchServe's folder `target` by that of `archive`, and before it what belongs to it.

    The workers watch the model, and load it with its weights and its reference.

    Raises ReloadError if the archive is missing or damaged, or if its code differs from the code that the server runs.
    """
    try:
        with zipfile.ZipFile(archive) as new:
            for name in set(new.namelist()) - REPLACEABLE:
                if not name.endswith("/") and _content(target / name) != new.read(name):
                    raise ReloadError(f"{archive} has a different {name} than the server runs; restart the server")
            weights, model = new.read(WEIGHTS), new.read(EXPORTED)
            reference = new.read(REFERENCE) if REFERENCE in new.namelist() else None
    except ReloadError:
        raise
    except (OSError, *ARCHIVE_ERRORS) as error:
        raise ReloadError(f"{archive} is missing or damaged: {error}") from error
    write_atomic(target / WEIGHTS, weights)
    if reference is None:
        (target / REFERENCE).unlink(missing_ok=True)
    else:
        write_atomic(target / REFERENCE, reference)
    write_atomic(target / EXPORTED, model)


def reload_or_report(archive: Path, server_folder: Path) -> None:
    """Replace a running server's model by that of `archive`, or print why that is impossible."""
    try:
        replace_weights(archive, model_dir(server_folder))
    except ReloadError as error:
        report(f"error: {error}")
    except Exception as error:  # the boundary: a disk is full, a folder is gone; the server continues to serve
        report(f"error: {archive} cannot be loaded: {type(error).__name__}: {error}")


def report(message: str, stream: TextIO | None = None) -> None:
    """Print a line, by default to stderr. A log on a full disk, or a reader that is gone, does not end the server."""
    with contextlib.suppress(OSError):
        print(message, file=stream or sys.stderr, flush=True)


def request_reload(
    archive: Path, port: int | None = None, token_file: Path | None = None, timeout: float = RELOAD_TIMEOUT
) -> str:
    """Make a server on this machine load its archive again; return the weights' name once all workers serve them.

    `archive` is the file that the server was started with; without `port`, the user's server of the lowest port is
    meant. Raises ReloadError if there is no such server, or if it does not serve these weights within `timeout`
    seconds; TokenError.
    """
    try:
        name = weights_digest(archive)
    except (OSError, *ARCHIVE_ERRORS) as error:
        raise ReloadError(f"{archive} is missing or damaged: {error}") from error
    deadline = time.monotonic() + timeout
    server = pid_file.find(port)
    if server is None:
        where = "at all" if port is None else f"on port {port}"
        raise ReloadError(f"no mnist_lightning.serve of this user runs {where}; choose the port with --port")
    token = server.token(token_file)
    os.kill(server.pid, signal.SIGHUP)
    behind = {"all"}
    while time.monotonic() < deadline:
        # Workers switch to new weights between two requests.
        if is_ready(server.url, token=token) and not (behind := _workers_without(name, server.port)):
            return name
        time.sleep(0.2)
    raise ReloadError(
        f"the server on port {server.port} did not load {archive} within {timeout:.0f} s (workers without it: "
        f"{', '.join(sorted(behind))}); its output says why"
    )


def _workers_without(weights: str, port: int) -> set[str]:
    """Return the names of the workers that do not serve these weights, by the management and metrics ports."""
    try:
        with local_session() as http:
            described = http.get(f"http://{LOOPBACK}:{port + OFFSETS['management']}/models/mnist", timeout=10).json()
            metrics = http.get(f"http://{LOOPBACK}:{port + OFFSETS['metrics']}/metrics", timeout=10).text
        workers = {str(worker["id"]) for worker in described[0]["workers"]}
    except (requests.RequestException, LookupError, TypeError):
        return {"all"}
    served = [line for line in metrics.splitlines() if line.startswith("mnist_model{") and line.endswith(" 1.0")]
    return {
        worker for worker in workers if not any(f'"{weights}"' in line and f'"{worker}"' in line for line in served)
    }


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
