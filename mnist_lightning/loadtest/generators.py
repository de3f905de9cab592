"""Load generators: keep-alive connections that post bodies in turn, each as soon as the last one is answered.

`wrk` is used if it is installed, and takes a fraction of a core. Otherwise threads of this process are used, which take
up to one core from a server on the same machine, so the server measures slower than it is.
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
RECONNECT_DELAY = 0.05  # seconds before a broken connection is opened again


class LoadError(RuntimeError):
    """The load test cannot run; the message includes the remedy."""


@dataclass(frozen=True)
class Target:
    """The URL that bodies are posted to, their type, and the bearer token, if any."""

    url: str
    bodies: Sequence[bytes]
    content_type: str = "application/octet-stream"
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": self.content_type, **tokens.auth_headers(self.token)}


@dataclass(frozen=True)
class LoadStats:
    """The counts and latencies of one load; `wrk.lua` prints the same fields."""

    responses: int
    error_responses: int  # responses with an HTTP status of 400 or above
    timeouts: int  # responses that took longer than TIMEOUT
    connection_errors: int  # refused, reset or closed without a response
    seconds: float
    p50_ms: float  # latency of all responses
    p95_ms: float
    p99_ms: float


def generator_name() -> str:
    """Return the name and version of the generator that `generate_load` uses."""
    if not shutil.which("wrk"):
        return "threads of this process (install wrk for a load that does not compete with the server)"
    version = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)  # exits with 1
    return " ".join(version.stdout.split()[:2])


def generate_load(target: Target, connections: int, seconds: int) -> LoadStats:
    """Load the target for `seconds` over `connections` connections. Raises LoadError."""
    return (run_wrk if shutil.which("wrk") else run_threads)(target, connections, seconds)


def run_wrk(target: Target, connections: int, seconds: int) -> LoadStats:
    """Load with one thread of wrk, which corrects latencies for coordinated omission. Raises LoadError."""
    with tempfile.TemporaryDirectory(prefix="mnist-load-") as folder:
        paths = [Path(folder, str(index)) for index in range(len(target.bodies))]
        for path, body in zip(paths, target.bodies, strict=True):
            path.write_bytes(body)
        command = [
            *("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--timeout", f"{TIMEOUT}s", "--script", str(SCRIPT), target.url, "--"),
            *(target.content_type, *map(str, paths)),
        ]
        secret = {tokens.TOKEN_VARIABLE: target.token or ""}  # not in the command line, which other users can read
        done = subprocess.run(command, env={**os.environ, **secret}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return LoadStats(**json.loads(done.stdout.splitlines()[-1]))


@dataclass
class ConnectionStats:
    """The counts of one connection."""

    latencies: list[float] = field(default_factory=list)  # seconds
    error_responses: int = 0
    connection_errors: int = 0


def run_threads(target: Target, connections: int, seconds: int) -> LoadStats:
    """Load with one thread of this process per connection."""
    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        loops = [
            pool.submit(_post_until, started + seconds, target, first, connections) for first in range(connections)
        ]
        stats = [loop.result() for loop in loops]
    milliseconds = [1000 * latency for each in stats for latency in each.latencies]
    percentiles = np.percentile(milliseconds, (50, 95, 99)).round(3).tolist() if milliseconds else (0.0, 0.0, 0.0)
    return LoadStats(
        len(milliseconds),
        sum(each.error_responses for each in stats),
        0,  # http.client breaks the connection on a timeout
        sum(each.connection_errors for each in stats),
        time.perf_counter() - started,
        *percentiles,
    )


def _post_until(end: float, target: Target, first: int, step: int) -> ConnectionStats:
    """Post every `step`-th body, starting with the `first`, over one connection until the clock reaches `end`."""
    address = urlsplit(target.url)
    connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = connect(address.netloc, timeout=TIMEOUT)
    stats, turn = ConnectionStats(), first
    while (begun := time.perf_counter()) < end:
        body = target.bodies[turn % len(target.bodies)]
        turn += step
        try:
            connection.request("POST", address.path, body, target.headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            stats.connection_errors += 1
            connection.close()
            time.sleep(RECONNECT_DELAY)
            continue
        stats.latencies.append(time.perf_counter() - begun)
        stats.error_responses += response.status >= http.client.BAD_REQUEST
    connection.close()
    return stats
