"""Load on a server, and what came of it: throughput, latencies, errors, memory."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil
import requests

from mnist_lightning.loadtest.generators import TIMEOUT, LoadError, Target, make

COLUMNS = ("connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "memory MB")
SETTLE = 1.0  # seconds for a server to be done with what the warm-up left unanswered in its queue
REFUSED = 400  # what a server answers to no picture: an error that is counted, and no reason not to measure


@dataclass(frozen=True)
class Load:
    """What came of one load."""

    connections: int
    requests_per_second: float  # answered well
    p50_ms: float  # from a request to its answer, whatever that was
    p95_ms: float
    p99_ms: float
    errors: int  # other answers, none within TIMEOUT, and broken connections
    memory_mb: float | None  # resident, as the load ended; None where the processes cannot be seen


def probe(target: Target) -> None:
    """Ask once. Raises LoadError unless pictures can be posted there."""
    try:
        answer = requests.post(
            target.url, target.bodies[0], headers=target.headers, timeout=TIMEOUT, allow_redirects=False
        )
    except requests.Timeout as error:
        raise LoadError(f"no answer from {target.url} within {TIMEOUT} s") from error
    except requests.ConnectionError as error:
        raise LoadError(f"no server at {target.url}; start it with: python -m mnist_lightning.serve") from error
    except (requests.RequestException, ValueError) as error:
        raise LoadError(f"{target.url} cannot be asked: {error}; see --url") from error
    if not 200 <= answer.status_code < 300 and answer.status_code != REFUSED:
        raise LoadError(f"{target.url} answered {answer.status_code}, and not as a model server would; see --url")


def measure(target: Target, connections: int, seconds: int, warm_up: int, roots: Iterable[int]) -> Load:
    """Load for `seconds`, after `warm_up` seconds of the same that are not counted.

    `roots` are the server's processes, for its memory, in which all that descend from them count as well.

    Raises LoadError where nothing is answered at all.
    """
    make(target, connections, warm_up)
    time.sleep(SETTLE)
    told = make(target, connections, seconds)
    if not told.answers:
        raise LoadError(f"{target.url} answered nothing for {seconds} s over {connections} connections")
    good = max(0, told.answers - told.refused - told.late)
    errors = told.refused + told.late + told.broken
    rate = round(good / told.seconds, 1)
    return Load(connections, rate, told.p50, told.p95, told.p99, errors, resident(roots))


def cells(load: Load) -> Sequence[str]:
    """A load as a row of a table with COLUMNS."""
    latencies = (f"{value:.1f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
    memory = "n/a" if load.memory_mb is None else f"{load.memory_mb:,.0f}"
    return (str(load.connections), f"{load.requests_per_second:,.0f}", *latencies, f"{load.errors:,}", memory)


def resident(roots: Iterable[int]) -> float | None:
    """Megabytes of memory (RSS) of some processes and of all that descend from them; None if none can be seen.

    What processes share, as code of libraries, counts once for each.
    """
    members = {member.pid: member for root in roots for member in family(root)}
    sizes = [_size(member) for member in members.values()]
    return round(sum(sizes) / 1e6, 1) if any(sizes) else None


def family(root: int) -> list[psutil.Process]:
    """A process and all that descend from it, as far as they live."""
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _size(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it ended meanwhile, or is another user's
        return 0
