"""What a challenger beside the served model costs: throughput and latency with and without it.

    python -m benchmarks.shadow --connections 1 32 64 --seconds 8 --kinds mnist
    python -m benchmarks.shadow --shadow 0.1 0.5 --rounds 5 --challenger new.mar

Starts a server without a challenger and one for each share, one after the other, and so for several rounds, because
neighbors on the machine change a figure by more than a shadow does. The cost is that of the median over the rounds.
Prints a table and, last, one line of JSON. Archives of release 0.1 and of earlier builds cannot run a challenger.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import OPTIONS, conditions
from mnist_lightning.common.arguments import positive_int, share
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.loadtest import options as loads
from mnist_lightning.loadtest.generators import LoadError, Target
from mnist_lightning.loadtest.measure import LoadResult, measure_load
from mnist_lightning.serving.challenger import Challenger
from mnist_lightning.serving.torchserve import ServerError, free_port, running

Results = dict[tuple[int, float], list[LoadResult]]  # by connections and share


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shadow",
        description=(__doc__ or "").partition("\n")[0],
        parents=[loads.load_parser()],
    )
    parser.add_argument("--store", **OPTIONS["store"])
    parser.add_argument("--challenger", type=Path, metavar="FILE", help="its archive (that of --store)")
    parser.add_argument("--shadow", type=share, nargs="+", default=[0.1], metavar="SHARE", help="shares (0.1)")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="rounds (%(default)s)")
    options = parser.parse_args(arguments)
    print(conditions() + "\n")
    try:
        report = compare(options)
    except (ServerError, LoadError, MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return 0


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Measure every share in every round, print a table, and return the report."""
    pictures = loads.load_pictures(options)
    results: Results = defaultdict(list)
    for number in range(options.rounds):
        for shadow in (0.0, *options.shadow):
            print(f"round {number + 1} of {options.rounds}, shadow {shadow:g}", file=sys.stderr)
            _measure(options, shadow, [content for _, content in pictures], results)
    rows = [_summary(connections, shadow, results) for connections in options.connections for shadow in options.shadow]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    return {**loads.conditions(options, pictures), "rounds": options.rounds, "shadow": rows}


def _measure(options: argparse.Namespace, shadow: float, bodies: list[bytes], results: Results) -> None:
    """Add a server's results under every load."""
    archive = options.challenger or options.store / ARCHIVE
    challenger = Challenger(archive, shadow=shadow) if shadow else None
    with running(options.store, free_port(), challenger=challenger) as server:
        target = Target(f"{server.url}/predictions/mnist", bodies)
        for connections in options.connections:
            loaded = measure_load(target, connections, options.seconds, options.warm_up, [server.process.pid])
            results[connections, shadow].append(loaded)


def _summary(connections: int, shadow: float, results: Results) -> dict[str, object]:
    """The medians with a share beside those without a challenger."""
    rates, latencies = (
        [statistics.median(getattr(one, name) for one in results[connections, each]) for each in (0.0, shadow)]
        for name in ("requests_per_second", "p99_ms")
    )
    return {
        "connections": connections,
        "shadow": shadow,
        "requests/s without": round(rates[0]),
        "requests/s with": round(rates[1]),
        "cost %": round(100 * (1 - rates[1] / rates[0]), 1),
        "p99 ms without": round(latencies[0], 1),
        "p99 ms with": round(latencies[1], 1),
        "errors": sum(one.errors for one in results[connections, shadow]),
    }


if __name__ == "__main__":
    sys.exit(main())
