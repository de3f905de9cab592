"""What makes load: connections that are kept alive and post bodies in turn, each as soon as the last is answered.

`wrk` where it is installed: it takes a fraction of a core. Elsewhere threads of this process, which take up to a
whole one from a server on the same machine: then the server is faster than it seems.
"""

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mnist_lightning.common import tokens

SCRIPT = Path(__file__).with_name("wrk.lua")
TIMEOUT = 30  # seconds that an answer may take
PAUSE = 0.05  # seconds before a broken connection is tried again


class LoadError(RuntimeError):
    """There is nothing to measure; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """Where bodies are posted, and as what."""

    url: str
    bodies: Sequence[bytes]
    content_type: str = "application/octet-stream"
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": self.content_type, **tokens.headers(self.token)}


@dataclass(frozen=True)
class Told:
    """What a generator counted; the fields are those that its script prints."""

    answers: int
    refused: int  # of the answers, those with a status that is an error
    late: int  # of the answers, those that took longer than TIMEOUT
    broken: int  # connections refused, reset or cut
    seconds: float
    p50: float  # milliseconds of an answer, whatever it was
    p95: float
    p99: float


def name() -> str:
    """What will make the load, with its version."""
    if not shutil.which("wrk"):
        return "threads of this process (with wrk installed, the load would not compete with the server)"
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)  # its exit code is 1
    return " ".join(said.stdout.split()[:2])


def make(target: Target, connections: int, seconds: int) -> Told:
    """Load for so many seconds over so many connections. Raises LoadError."""
    return (_with_wrk if shutil.which("wrk") else _with_threads)(target, connections, seconds)


def _with_wrk(target: Target, connections: int, seconds: int) -> Told:
    """One thread of wrk. It weighs slow answers by the requests that they kept from being sent, as its author wants."""
    with tempfile.TemporaryDirectory(prefix="mnist-load-") as folder:
        paths = [Path(folder, str(index)) for index in range(len(target.bodies))]
        for path, body in zip(paths, target.bodies, strict=True):
            path.write_bytes(body)
        command = [
            *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--timeout", f"{TIMEOUT}s", "--script", str(SCRIPT), target.url, "--"),
            *(target.content_type, *map(str, paths)),
        ]
        secret = {tokens.VARIABLE: target.token or ""}  # not for the command line, which anybody can read
        done = subprocess.run(command, env={**os.environ, **secret}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return Told(**json.loads(done.stdout.splitlines()[-1]))


def _with_threads(target: Target, connections: int, seconds: int) -> Told:
    """A thread for each connection."""
    started = time.perf_counter()
    tallies = [_Tally() for _ in range(connections)]
    with ThreadPoolExecutor(connections) as pool:
        rounds = [
            pool.submit(_ask_in_turn, target, first, connections, started + seconds, tally)
            for first, tally in enumerate(tallies)
        ]
        for one in rounds:
            one.result()
    milliseconds = [1000 * second for tally in tallies for second in tally.seconds]
    percentiles = np.percentile(milliseconds, (50, 95, 99)).tolist() if milliseconds else (0.0, 0.0, 0.0)
    refused, broken = sum(tally.refused for tally in tallies), sum(tally.broken for tally in tallies)
    return Told(
        len(milliseconds),
        refused,
        0,
        broken,
        time.perf_counter() - started,
        *(round(value, 3) for value in percentiles),
    )


@dataclass
class _Tally:
    """What one connection counted."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0


def _ask_in_turn(target: Target, first: int, step: int, end: float, tally: _Tally) -> None:
    """One connection: every `step`th body from the `first` on, until the time is `end`."""
    address = urlsplit(target.url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=TIMEOUT)
    turn = first
    while (begun := time.perf_counter()) < end:
        body = target.bodies[turn % len(target.bodies)]
        turn += step
        try:
            connection.request("POST", address.path, body, target.headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            tally.broken += 1
            connection.close()
            time.sleep(PAUSE)
            continue
        tally.seconds.append(time.perf_counter() - begun)
        tally.refused += answer.status >= http.client.BAD_REQUEST
    connection.close()
