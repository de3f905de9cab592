"""A peer as processes of ours: started, waited for, held to the right answers, stopped with all that it started."""

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

from benchmarks.peers.reader import ARCHIVE
from benchmarks.peers.registry import Peer
from mnist_lightning.common.paths import PACKAGE
from mnist_lightning.loadtest import measure
from mnist_lightning.loadtest.generators import Target
from mnist_lightning.serving import torchserve

START_SECONDS, STOP_SECONDS, GONE_SECONDS = 120, 10, 2
LOG_LINES = 12  # of a peer that failed


class PeerError(RuntimeError):
    """A peer cannot be measured; the message says why."""


@contextlib.contextmanager
def running(peer: Peer, store: Path, pictures: list[bytes], digits: Sequence[int]) -> Iterator[tuple[Target, int]]:
    """The peer's target and process id, once it read each of the pictures as the network does: as one of `digits`.

    Raises PeerError.
    """
    if missing := [name for name in peer.needs if importlib.util.find_spec(name) is None]:
        raise PeerError(f"{', '.join(missing)} not installed: pip install -r benchmarks/requirements-peers.txt")
    with tempfile.TemporaryDirectory(prefix="mnist-peer-", ignore_cleanup_errors=True) as folder:
        log, port = Path(folder, "log"), torchserve.free_port()
        places = {"python": sys.executable, "store": store.resolve(), "folder": folder, "port": port}
        *first, last = [shlex.split(command.format(**places)) for command in peer.commands]
        with log.open("wb") as output:
            settings = {"cwd": folder, "env": _environment(folder, store), "stdout": output, "stderr": output}
            for command in first:
                if subprocess.run(command, check=False, **settings).returncode:
                    raise PeerError(f"could not be prepared:\n{_last_lines(log)}")
            process = subprocess.Popen(last, stdin=subprocess.DEVNULL, start_new_session=True, **settings)
        try:
            target = peer.target(port, pictures)
            _wait(target, process, log)
            if peer.reads:
                _hold_to(digits, target)
            yield target, process.pid
        finally:
            _stop(process)


def _environment(folder: str, store: Path) -> dict[str, str]:
    """One thread a worker, as each of the two cores has one; nothing sent home, nothing written elsewhere."""
    return {
        **os.environ,
        "PYTHONPATH": str(PACKAGE.parent),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "JAVA_HOME": str(torchserve.java_home()),
        "TMPDIR": folder,
        "OMP_NUM_THREADS": "1",
        ARCHIVE: str((store / "mnist.mar").resolve()),
        "BENTOML_HOME": folder,
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }


def _wait(target: Target, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return once a picture was answered."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if _post(target, target.bodies[0]).ok:
                return
        time.sleep(0.2)
    ended = "ended" if process.poll() is not None else f"gave no answer within {START_SECONDS} s"
    raise PeerError(f"{ended}:\n{_last_lines(log)}")


def _hold_to(digits: Sequence[int], target: Target) -> None:
    for body, digit in zip(target.bodies, digits, strict=True):
        answer = _post(target, body)
        found = re.search(r'"prediction":\s*(\d)', answer.text)
        if not answer.ok or found is None or int(found[1]) != digit:
            raise PeerError(f"answered {answer.status_code} and not {digit}: {answer.text[:200]}")


def _post(target: Target, body: bytes) -> requests.Response:
    return requests.post(target.url, body, headers=target.headers, timeout=30)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end; then end whatever it leaves of its family and its process group."""
    family = measure.family(process.pid)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, GONE_SECONDS)  # so that the next one finds the machine to itself


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
