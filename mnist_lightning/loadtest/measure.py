"""Measure a server under load: throughput, latencies, errors and memory."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil
import requests

from mnist_lightning.client.api import session
from mnist_lightning.loadtest.generators import TIMEOUT, LoadError, Target, generate_load

COLUMNS = ("connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "memory MB")
SETTLE_SECONDS = 1.0  # for the server to empty its queue after the warm-up
BAD_PICTURE = 400  # the status for a file that is not a picture: an error to count, not a reason to stop


@dataclass(frozen=True)
class LoadResult:
    """The measurements of one load."""

    connections: int
    requests_per_second: float  # successful responses
    p50_ms: float  # latency of all responses
    p95_ms: float
    p99_ms: float
    errors: int  # error statuses, timeouts and connection errors
    memory_mb: float | None  # resident set size at the end; None if the processes are not visible


def probe(target: Target) -> None:
    """Post once. Raises LoadError unless the target accepts pictures."""
    try:
        with session(target.url) as http:
            response = http.post(
                target.url, target.bodies[0], headers=target.headers, timeout=TIMEOUT, allow_redirects=False
            )
    except requests.Timeout as error:
        raise LoadError(f"no answer from {target.url} within {TIMEOUT} s") from error
    except requests.ConnectionError as error:
        raise LoadError(f"no server at {target.url}; start it with: python -m mnist_lightning.serve") from error
    except (requests.RequestException, ValueError) as error:
        raise LoadError(f"the URL {target.url} cannot be requested: {error}; see --url") from error
    if not 200 <= response.status_code < 300 and response.status_code != BAD_PICTURE:
        raise LoadError(f"{target.url} answered {response.status_code}; it is not a model server; see --url")


def measure_load(target: Target, connections: int, seconds: int, warm_up: int, roots: Iterable[int]) -> LoadResult:
    """Load the target for `seconds`, after a warm-up of `warm_up` seconds that is not counted.

    `roots` are the process ids of the server; the memory includes their descendants.

    Raises LoadError if there is no response at all.
    """
    generate_load(target, connections, warm_up)
    time.sleep(SETTLE_SECONDS)
    stats = generate_load(target, connections, seconds)
    if not stats.responses:
        raise LoadError(f"{target.url} gave no answer in {seconds} s over {connections} connections")
    failed_responses = stats.error_responses + stats.timeouts
    rate = round(max(0, stats.responses - failed_responses) / stats.seconds, 1)
    errors = failed_responses + stats.connection_errors
    return LoadResult(connections, rate, stats.p50_ms, stats.p95_ms, stats.p99_ms, errors, resident_memory_mb(roots))


def table_row(result: LoadResult) -> Sequence[str]:
    """Return a result as the cells of a table with COLUMNS."""
    latencies = (f"{value:.1f}" for value in (result.p50_ms, result.p95_ms, result.p99_ms))
    memory = "n/a" if result.memory_mb is None else f"{result.memory_mb:,.0f}"
    return (str(result.connections), f"{result.requests_per_second:,.0f}", *latencies, f"{result.errors:,}", memory)


def resident_memory_mb(roots: Iterable[int]) -> float | None:
    """Return the resident set size of processes and their descendants in megabytes; None if none is visible.

    Memory that processes share, such as the code of libraries, counts once for each process.
    """
    members = {member.pid: member for root in roots for member in process_tree(root)}
    sizes = [_resident_bytes(member) for member in members.values()]
    return round(sum(sizes) / 1e6, 1) if any(sizes) else None


def process_tree(root: int) -> list[psutil.Process]:
    """Return a process and its living descendants."""
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended, or belongs to another user
        return 0
