"""The rate at which the client reads a folder, beside the rate that the server gives a load generator.

    .venv/bin/python -m benchmarks.bulk
    .venv/bin/python -m benchmarks.bulk --pictures 5000 --concurrency 8 --kinds drawing

Starts a server with the store's archive, writes MNIST's test digits into a temporary folder, and lets wrk, or else
threads, post the same pictures for some seconds, one a request. Then the command line reads the folder into a table,
with the server and offline, in processes of its own, whose start counts. The rounds alternate; medians are printed, and
the last line is JSON. The exit code is 1 if the client's rate is less than --least of the load generator's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import conditions, make_parser
from mnist_lightning.client.many import CONCURRENCY
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import samples
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.loadtest.generators import LoadError, Target, generate_load, generator_name
from mnist_lightning.serving.model_store import choose_store
from mnist_lightning.serving.torchserve import ServerError, free_port, running

WARM_UP_SECONDS = 2


class BulkError(RuntimeError):
    """The client does not read all pictures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    options = _parser().parse_args(arguments)
    try:
        report = _measure(options)
    except (BulkError, LoadError, MnistUnavailableError, ServerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = Table("", "pictures/s", "share", title=f"{options.pictures} pictures, concurrency {options.concurrency}")
    for name in ("load_generator", "client", "offline"):
        table.add_row(name.replace("_", " "), f"{report[name]:,.0f}", f"{report[name] / report['load_generator']:.0%}")
    print(conditions(), f"load by {generator_name()}", sep="\n")
    Console().print(table)
    print(json.dumps(report))
    return int(report["client"] < options.least * report["load_generator"])


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "data")
    parser.add_argument("--store", type=Path, help=f"folder of {ARCHIVE} (as serve chooses it)")
    parser.add_argument("--pictures", type=int, default=5000, help="in the folder (%(default)s)")
    kinds = list(samples.PRESENTATIONS)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=["mnist"], help="of pictures (mnist)")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="connections at a time (%(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of each load (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of all measurements (%(default)s)")
    parser.add_argument("--least", type=float, default=0.8, help="share of the server's own rate (%(default)s)")
    return parser


def _measure(options: argparse.Namespace) -> dict[str, float]:
    """Pictures a second: of the load generator, of the client, and offline; medians of the rounds."""
    store = choose_store(options.store)
    with tempfile.TemporaryDirectory(prefix="mnist-bulk-") as name, running(store, free_port()) as server:
        folder = Path(name)
        target = Target(f"{server.url}/predictions/mnist", _write_pictures(options, folder / "pictures"))
        generate_load(target, options.concurrency, WARM_UP_SECONDS)
        rounds = []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            online = ["--url", server.url, "--concurrency", str(options.concurrency)]
            rounds.append(
                {
                    "load_generator": _load_rate(target, options),
                    "client": _client_rate(folder, online),
                    "offline": _client_rate(folder, ["--offline", "--store", str(store)]),
                }
            )
    return {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}


def _write_pictures(options: argparse.Namespace, folder: Path) -> list[bytes]:
    """Write the pictures into a folder; their contents."""
    digits = samples.presented_digits(options.data, options.kinds, -(-options.pictures // len(options.kinds)))
    folder.mkdir()
    for sample in digits[: options.pictures]:
        (folder / f"{sample.name}.png").write_bytes(sample.content)
    return [sample.content for sample in digits[:200]]  # wrk reads each from a file of its own


def _load_rate(target: Target, options: argparse.Namespace) -> float:
    stats = generate_load(target, options.concurrency, options.seconds)
    return (stats.responses - stats.error_responses - stats.timeouts) / stats.seconds


def _client_rate(folder: Path, flags: Sequence[str]) -> float:
    """Pictures a second of the command line, its start included. Raises BulkError unless it reads all."""
    out = folder / "out.csv"
    words = ["-m", "mnist_lightning.client", str(folder / "pictures"), "--csv", str(out), "--json", *flags]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise BulkError(f"the client ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    out.unlink()
    return int(json.loads(done.stdout)["read"]) / seconds


if __name__ == "__main__":
    sys.exit(main())
