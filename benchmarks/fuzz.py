"""Requests that went wrong in every way, among good ones whose answers must stay what they are.

    .venv/bin/python -m benchmarks.fuzz --bodies 20000                  # on a server of its own
    .venv/bin/python -m benchmarks.fuzz --bodies 20000 --url http://127.0.0.1:8080
    .venv/bin/python -m benchmarks.fuzz --bodies 100000 --connections 64 --bad 0.05

Prints counts by status and, last, one line of JSON; exit code 1 if a request had a 5xx, no answer or one that is not
what it should be, if a good one's answer changed, or if a worker was restarted.
"""

import argparse
import contextlib
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import requests

from benchmarks.mutations import Ask, Generator, Maker, bad, files, good
from mnist_lightning.datasets import mnist
from mnist_lightning.serving import config, torchserve

TIMEOUT = 120  # seconds; above the server's own
SAME = 2e-5  # probabilities may differ by as much with the company that a picture has in its batch

Choice = Mapping[str, Maker] | list[tuple[Ask, Any]]  # requests that went wrong, or good ones and their answers


@dataclass
class Seen:
    """What happened; one for all connections."""

    bodies: int
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)  # by what went wrong, and status
    hurt: list[str] = field(default_factory=list)
    workers: list[dict[int, int]] = field(default_factory=list)  # pid: resident bytes; before, in the middle, after


def main() -> int:
    """Send, count, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bodies", type=int, default=20_000, help="requests in all (%(default)s)")
    parser.add_argument("--bad", type=float, default=0.8, help="share of them that went wrong (%(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="at once (%(default)s)")
    parser.add_argument("--url", help="a running server; otherwise one of its own, with the archive of --store")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same requests (%(default)s)")
    options = parser.parse_args()
    try:
        with contextlib.ExitStack() as stack:
            url = options.url or stack.enter_context(torchserve.running(options.store, torchserve.free_port())).url
            started = time.monotonic()
            seen = fuzz(url, options)
            report = told(seen, time.monotonic() - started)
    except (torchserve.ServerError, mnist.MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return int(bool(seen.hurt))


def fuzz(url: str, options: argparse.Namespace) -> Seen:
    """Send all requests over as many connections as asked for."""
    digits = mnist.load(options.data, train=False)[0][:200, 0].numpy()
    pictures = files(digits, options.seed)
    makers = bad(pictures, digits)
    known = [(ask, answer(url, ask)) for ask in good(pictures, digits, options.seed)]
    seen, turns = Seen(options.bodies, workers=[workers(url)]), itertools.count()

    def send() -> None:
        with contextlib.closing(_connection(url)) as connection:
            while (turn := next(turns)) < options.bodies:
                dice = np.random.default_rng([options.seed, turn])
                one(connection, turn, dice, makers if dice.random() < options.bad else known, seen)
                if turn == options.bodies // 2:
                    seen.workers.append(workers(url))

    with ThreadPoolExecutor(options.connections) as pool:
        try:
            for sender in [pool.submit(send) for _ in range(options.connections)]:
                sender.result()
        finally:
            options.bodies = 0  # on Ctrl-C the others end, too
    seen.workers.append(workers(url))
    if set(seen.workers[0]) != set(seen.workers[-1]):
        seen.hurt.append(f"workers were restarted: {list(seen.workers[0])}, now {list(seen.workers[-1])}")
    return seen


def one(connection: HTTPConnection, turn: int, dice: Generator, choice: Choice, seen: Seen) -> None:
    """One request, and what is to be said of its answer."""
    if isinstance(choice, list):
        kind, (ask, expected) = "good", choice[dice.integers(len(choice))]
    else:
        kind, expected = list(choice)[dice.integers(len(choice))], None
        ask = choice[kind](dice)
    try:
        status, content_type, body = sent(connection, ask)
        wrong = fault(status, content_type, body, expected)
    except (OSError, HTTPException) as error:
        connection.close()
        status, wrong = 0, f"no answer: {error!r}"
    seen.statuses[kind, status] += 1
    if wrong:
        seen.hurt.append(f"request {turn}, {kind}: {wrong}")


def fault(status: int, content_type: str | None, body: bytes, expected: Any) -> str | None:
    """What is wrong with an answer, None if nothing is."""
    if status >= 500 or content_type != "application/json":
        return f"{status}, {content_type}: {body[:200]!r}"
    try:
        told = json.loads(body)
    except ValueError:
        return f"{status} without JSON: {body[:200]!r}"
    if expected is not None:
        return None if status == 200 and alike(told, expected) else f"another answer than before: {body[:200]!r}"
    if status != 200 and (set(told) != {"code", "type", "message"} or told["code"] != status):
        return f"{status} with {body[:200]!r}"
    return None


def alike(told: Any, expected: Any) -> bool:
    """Whether two answers are the same but for the last digits of probabilities."""
    if isinstance(expected, dict):
        return isinstance(told, dict) and set(told) == set(expected) and all(alike(told[k], expected[k]) for k in told)
    if isinstance(expected, list):
        return isinstance(told, list) and len(told) == len(expected) and all(map(alike, told, expected))
    return bool(abs(told - expected) <= SAME if isinstance(expected, float) else told == expected)


def answer(url: str, ask: Ask) -> Any:
    """The answer to a good request while nothing else is asked."""
    with contextlib.closing(_connection(url)) as connection:
        status, _, body = sent(connection, ask)
    if status != 200:
        raise torchserve.ServerError(f"{url} answered {status} to a good request: {body[:200]!r}")
    return json.loads(body)


def sent(connection: HTTPConnection, ask: Ask) -> tuple[int, str | None, bytes]:
    """Status, Content-Type and body of the answer."""
    headers = {} if ask.content_type is None else {"Content-Type": ask.content_type}
    connection.request("POST", ask.path, ask.body, headers)
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type"), response.read()


def workers(url: str) -> dict[int, int]:
    """Pid and resident bytes of each worker, by the management API beside the inference API; empty where it is not."""
    address = urlsplit(url)
    port = (address.port or torchserve.DEFAULT_PORT) + config.OFFSETS["management"]
    with contextlib.suppress(requests.RequestException, psutil.Error):
        told = requests.get(f"http://{address.hostname}:{port}/models/mnist", timeout=TIMEOUT).json()
        return {worker["pid"]: psutil.Process(worker["pid"]).memory_info().rss for worker in told[0]["workers"]}
    return {}


def told(seen: Seen, seconds: float) -> dict[str, object]:
    """Print the table; the report for the last line."""
    statuses = sorted({status for _, status in seen.statuses})
    print(f"{'':28}" + "".join(f"{status or 'none':>8}" for status in statuses))
    for kind in sorted({kind for kind, _ in seen.statuses}):
        print(f"{kind:28}" + "".join(f"{seen.statuses[kind, status] or '':>8}" for status in statuses))
    for line in seen.hurt[:20]:
        print(line, file=sys.stderr)
    resident = [round(sum(found.values()) / 2**20) for found in seen.workers]
    print(f"workers {list(seen.workers[-1]) or 'unknown'}, MiB before, in the middle and after: {resident}")
    return {
        "bodies": seen.bodies,
        "seconds": round(seconds, 1),
        "statuses": dict(sorted(Counter(status for _, status in seen.statuses.elements()).items())),
        "hurt": len(seen.hurt),
        "resident_mib": resident,
    }


def _connection(url: str) -> HTTPConnection:
    address = urlsplit(url)
    return HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
