"""Run a peer: start it, wait for it, compare its answers with the network's, and stop all of its processes."""

import contextlib
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import requests

from benchmarks.peers.predictor import ARCHIVE_VARIABLE
from benchmarks.peers.registry import Peer
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.paths import PACKAGE
from mnist_lightning.loadtest.generators import Target
from mnist_lightning.loadtest.measure import process_tree
from mnist_lightning.serving import torchserve

WORKERS = 2  # one for each core of the machine that the documentation's figures come from
START_TIMEOUT, STOP_TIMEOUT, EXIT_TIMEOUT = 120, 10, 2  # seconds
POLL_SECONDS, REQUEST_TIMEOUT = 0.2, 30
LOG_LINES = 12  # shown if a peer fails


class PeerError(RuntimeError):
    """A peer cannot be measured; the message says why."""


@contextlib.contextmanager
def running(
    peer: Peer, store: Path, pictures: list[bytes], digits: Sequence[int], workers: int = WORKERS
) -> Iterator[tuple[Target, int]]:
    """Run a peer with the archive of `store` while the block runs.

    Yields its target and process id as soon as it classifies each of the `pictures` as the digit expected. `workers`
    is the number of processes of those peers that this project configures; the others choose it themselves.

    Raises:
        PeerError: a package is missing, the peer does not start, or an answer differs.
    """
    if missing := [name for name in peer.needs if importlib.util.find_spec(name) is None]:
        raise PeerError(f"{', '.join(missing)} not installed: pip install . -r benchmarks/requirements-peers.txt")
    with tempfile.TemporaryDirectory(prefix="mnist-peer-", ignore_cleanup_errors=True) as folder:
        log, port = Path(folder, "log"), torchserve.free_port()
        values = {"python": sys.executable, "store": store.resolve(), "folder": folder, "port": port}
        values["workers"] = workers
        *preparations, server = [shlex.split(command.format(**values)) for command in peer.commands]
        environment = _environment(folder, store)
        with log.open("wb") as output:
            for command in preparations:
                done = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=output, check=False)
                if done.returncode:
                    raise PeerError(f"preparation failed:\n{_last_lines(log)}")
            process = subprocess.Popen(
                server,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            target = peer.target(port, pictures)
            _wait_until_ready(target, process, log)
            if peer.classifies:
                _check_answers(target, digits)
            yield target, process.pid
        finally:
            _stop(process)


def _environment(folder: str, store: Path) -> dict[str, str]:
    """One thread per worker, since there is a worker for each core; no telemetry; files in `folder` only."""
    return {
        **os.environ,
        "PYTHONPATH": str(PACKAGE.parent),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "JAVA_HOME": str(torchserve.java_home()),
        "TMPDIR": folder,
        "OMP_NUM_THREADS": "1",
        ARCHIVE_VARIABLE: str((store / ARCHIVE).resolve()),
        "BENTOML_HOME": folder,
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }


def _wait_until_ready(target: Target, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return after the first successful answer."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if _post(target, target.bodies[0]).ok:
                return
        time.sleep(POLL_SECONDS)
    reason = "the server exited" if process.poll() is not None else f"no answer within {START_TIMEOUT} s"
    raise PeerError(f"{reason}:\n{_last_lines(log)}")


def _check_answers(target: Target, digits: Sequence[int]) -> None:
    for body, digit in zip(target.bodies, digits, strict=True):
        answer = _post(target, body)
        found = re.search(r'"prediction":\s*(\d)', answer.text)
        if not answer.ok or found is None or int(found[1]) != digit:
            raise PeerError(f"answered {answer.status_code}, but not {digit}: {answer.text[:200]}")


def _post(target: Target, body: bytes) -> requests.Response:
    return requests.post(target.url, body, headers=target.headers, timeout=REQUEST_TIMEOUT)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Terminate the server, then kill the processes that it leaves behind."""
    descendants = process_tree(process.pid)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    for descendant in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            descendant.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(descendants, EXIT_TIMEOUT)  # otherwise they would compete with the next peer


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
