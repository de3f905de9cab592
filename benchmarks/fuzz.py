"""Fuzz the server: send invalid requests among valid ones, whose answers must not change.

    .venv/bin/python -m benchmarks.fuzz --bodies 20000                  # starts a server
    .venv/bin/python -m benchmarks.fuzz --bodies 20000 --url http://127.0.0.1:8080
    .venv/bin/python -m benchmarks.fuzz --bodies 100000 --connections 64 --bad 0.05

Prints counts by status and, last, one line of JSON. The exit code is 1 if a request gets a 5xx, no answer or a
malformed one, if the answer to a valid request changes, or if a worker restarts.
"""

import argparse
import contextlib
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import requests

from benchmarks.common import make_parser
from benchmarks.fuzz_requests import (
    FuzzRequest,
    Generator,
    RequestFactory,
    image_files,
    invalid_requests,
    valid_requests,
)
from mnist_lightning.datasets import mnist
from mnist_lightning.serving import config, torchserve

TIMEOUT = 120  # seconds; longer than the server's own
TOLERANCE = 2e-5  # of probabilities, which depend on the other pictures of a batch

# Invalid requests by kind, or valid requests with their answers.
Choices = Mapping[str, RequestFactory] | list[tuple[FuzzRequest, Any]]


@dataclass
class FuzzResult:
    """The outcome of all requests; the connections share one."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)  # by kind of request and status; 0: no answer
    faults: list[str] = field(default_factory=list)
    workers: list[dict[int, int]] = field(default_factory=list)  # pid: resident bytes; before, halfway and after


def main() -> int:
    """Send all requests, and print the outcome."""
    options = _parser().parse_args()
    try:
        with contextlib.ExitStack() as stack:
            url = options.url or stack.enter_context(torchserve.running(options.store, torchserve.free_port())).url
            started = time.monotonic()
            result = fuzz(url, options)
    except (torchserve.ServerError, mnist.MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _print(result)
    print(json.dumps(_report(result, options.bodies, time.monotonic() - started)))
    return int(bool(result.faults))


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "store", "data")
    parser.add_argument("--bodies", type=int, default=20_000, help="number of requests (%(default)s)")
    parser.add_argument("--bad", type=float, default=0.8, help="share of invalid requests (%(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="parallel connections (%(default)s)")
    parser.add_argument("--url", help="a running server; without it, one is started with the archive of --store")
    parser.add_argument("--seed", type=int, default=0, help="determines the requests (%(default)s)")
    return parser


def fuzz(url: str, options: argparse.Namespace) -> FuzzResult:
    """Send all requests over parallel connections."""
    digits = mnist.load(options.data, train=False)[0][:200, 0].numpy()
    files = image_files(digits, options.seed)
    invalid = invalid_requests(files, digits)
    valid = [(request, expected_answer(url, request)) for request in valid_requests(files, digits, options.seed)]
    result, numbers, stopped = FuzzResult(workers=[worker_memory(url)]), itertools.count(), threading.Event()

    def send_requests() -> None:
        with contextlib.closing(_connect(url)) as connection:
            while (number := next(numbers)) < options.bodies and not stopped.is_set():
                rng = np.random.default_rng([options.seed, number])
                choices: Choices = invalid if rng.random() < options.bad else valid
                send_random(connection, number, rng, choices, result)
                if number == options.bodies // 2:
                    result.workers.append(worker_memory(url))

    with ThreadPoolExecutor(options.connections) as pool:
        try:
            for sender in [pool.submit(send_requests) for _ in range(options.connections)]:
                sender.result()
        finally:
            stopped.set()  # after Ctrl-C or a failure, the other threads have to end, too
    result.workers.append(worker_memory(url))
    before, after = result.workers[0], result.workers[-1]
    if set(before) != set(after):
        result.faults.append(f"workers restarted: {list(before)}, now {list(after)}")
    return result


def send_random(connection: HTTPConnection, number: int, rng: Generator, choices: Choices, result: FuzzResult) -> None:
    """Send one random request and record its status and fault."""
    if isinstance(choices, list):
        kind, (request, expected) = "valid", choices[rng.integers(len(choices))]
    else:
        kind, expected = list(choices)[rng.integers(len(choices))], None
        request = choices[kind](rng)
    try:
        status, content_type, body = send(connection, request)
        fault = find_fault(status, content_type, body, expected)
    except (OSError, HTTPException) as error:
        connection.close()
        status, fault = 0, f"no answer: {error!r}"
    result.statuses[kind, status] += 1
    if fault:
        result.faults.append(f"request {number}, {kind}: {fault}")


def find_fault(status: int, content_type: str | None, body: bytes, expected: Any) -> str | None:
    """Describe the fault of an answer, or return None. `expected` is the answer to a valid request, None if invalid."""
    if status >= 500 or content_type != "application/json":
        return f"{status}, {content_type}: {body[:200]!r}"
    try:
        answer = json.loads(body)
    except ValueError:
        return f"{status} without JSON: {body[:200]!r}"
    if expected is not None:
        unchanged = status == 200 and is_close(answer, expected)
        return None if unchanged else f"{status} with a changed answer: {body[:200]!r}"
    if status != 200 and (set(answer) != {"code", "type", "message"} or answer["code"] != status):
        return f"{status} with {body[:200]!r}"
    return None


def is_close(answer: Any, expected: Any) -> bool:
    """Whether two JSON values are equal, floats within TOLERANCE."""
    if isinstance(expected, dict):
        same_keys = isinstance(answer, dict) and set(answer) == set(expected)
        return same_keys and all(is_close(answer[key], expected[key]) for key in answer)
    if isinstance(expected, list):
        return isinstance(answer, list) and len(answer) == len(expected) and all(map(is_close, answer, expected))
    return bool(abs(answer - expected) <= TOLERANCE if isinstance(expected, float) else answer == expected)


def expected_answer(url: str, request: FuzzRequest) -> Any:
    """The answer to a valid request when the server is otherwise idle. Raises ServerError for a status but 200."""
    with contextlib.closing(_connect(url)) as connection:
        status, _, body = send(connection, request)
    if status != 200:
        raise torchserve.ServerError(f"{url} answered {status} to a valid request: {body[:200]!r}")
    return json.loads(body)


def send(connection: HTTPConnection, request: FuzzRequest) -> tuple[int, str | None, bytes]:
    """Status, Content-Type and body of the answer."""
    headers = {} if request.content_type is None else {"Content-Type": request.content_type}
    connection.request("POST", request.path, request.body, headers)
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type"), response.read()


def worker_memory(url: str) -> dict[int, int]:
    """Resident bytes of each worker by process id, from the management API; empty if it cannot be reached."""
    address = urlsplit(url)
    port = (address.port or torchserve.DEFAULT_PORT) + config.OFFSETS["management"]
    with contextlib.suppress(requests.RequestException, psutil.Error):
        models = requests.get(f"http://{address.hostname}:{port}/models/mnist", timeout=TIMEOUT).json()
        return {worker["pid"]: psutil.Process(worker["pid"]).memory_info().rss for worker in models[0]["workers"]}
    return {}


def _resident_mib(result: FuzzResult) -> list[int]:
    return [round(sum(workers.values()) / 2**20) for workers in result.workers]


def _print(result: FuzzResult) -> None:
    statuses = sorted({status for _, status in result.statuses})
    print(f"{'':28}" + "".join(f"{status or 'none':>8}" for status in statuses))
    for kind in sorted({kind for kind, _ in result.statuses}):
        print(f"{kind:28}" + "".join(f"{result.statuses[kind, status] or '':>8}" for status in statuses))
    for line in result.faults[:20]:
        print(line, file=sys.stderr)
    workers = list(result.workers[-1]) or "unknown"
    print(f"workers {workers}, MiB before, halfway and after: {_resident_mib(result)}")


def _report(result: FuzzResult, n_requests: int, seconds: float) -> dict[str, object]:
    return {
        "bodies": n_requests,
        "seconds": round(seconds, 1),
        "statuses": dict(sorted(Counter(status for _, status in result.statuses.elements()).items())),
        "faults": len(result.faults),
        "resident_mib": _resident_mib(result),
    }


def _connect(url: str) -> HTTPConnection:
    address = urlsplit(url)
    return HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
