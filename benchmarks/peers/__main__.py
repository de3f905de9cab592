"""Compare this project's server with others under the same load, with the same network and preprocessing behind each.

    python -m venv build/peers && build/peers/bin/pip install . -r benchmarks/requirements-peers.txt
    build/peers/bin/python -m benchmarks.peers --connections 1 32 64 --plot docs/peers.png
    build/peers/bin/python -m benchmarks.peers --only mnist-lightning flask --kinds mnist

Starts one server after the other on a free port, checks its answers, loads it and stops it. Prints a table and, last,
one line of JSON. If a server does not start, its last lines go to stderr, and the comparison continues.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.common import OPTIONS
from benchmarks.peers.predictor import Predictor
from benchmarks.peers.process import PeerError, running
from benchmarks.peers.registry import PEERS, THIS_PROJECT
from mnist_lightning.common import machine
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import plots
from mnist_lightning.loadtest import measure
from mnist_lightning.loadtest.generators import LoadError
from mnist_lightning.loadtest.measure import LoadResult
from mnist_lightning.loadtest.options import conditions, load_parser, load_pictures
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.serving.torchserve import ServerError


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and draw the figure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=(__doc__ or "").partition("\n")[0], parents=[load_parser()]
    )
    parser.add_argument("--store", **OPTIONS["store"])
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME", help="servers")
    options = parser.parse_args(arguments)
    print(machine.processor() + "\n")
    try:
        report = compare(options)
    except (archive.ArchiveError, mnist.MnistUnavailableError, BadPictureError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return int(not report["servers"])


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Measure all servers, print a table for each number of connections and plot the curves; the report."""
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(options)
    contents = [content for _, content in pictures]
    predictor = Predictor(options.store / ARCHIVE)
    digits = [int(str(answer["prediction"])) for content in contents for answer in predictor.predict_files([content])]
    results: dict[str, list[LoadResult]] = {}
    failures: dict[str, str] = {}
    for name in options.only:
        try:
            results[name] = _measure(name, options, contents, digits)
        except (PeerError, LoadError, ServerError) as error:
            failures[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
    for row in zip(*results.values(), strict=True):
        Console().print(_table(dict(zip(results, row, strict=True))))
    servers = {name: [asdict(result) for result in row] for name, row in results.items()}
    if options.plot and servers:
        plots.save(plots.load_curves(servers), options.plot)
    return {**conditions(options, pictures), "servers": servers, "failed": failures}


def _measure(name: str, options: argparse.Namespace, contents: list[bytes], digits: list[int]) -> list[LoadResult]:
    """Measure one server under each number of connections."""
    print(f"{name}: starting", file=sys.stderr)
    results = []
    with running(PEERS[name], options.store, contents, digits) as (target, pid):
        for connections in options.connections:
            result = measure.measure_load(target, connections, options.seconds, options.warm_up, [pid])
            results.append(result)
            print(f"{name}: " + "  ".join(measure.table_row(result)), file=sys.stderr)
    return results


def _table(results: Mapping[str, LoadResult]) -> Table:
    """All servers under the same number of connections, the fastest first."""
    connections, rate, p50, _, p99, errors, memory = measure.COLUMNS
    table = Table("server", title=f"{next(iter(results.values())).connections} {connections}")
    for column in (rate, "relative", p50, p99, errors, memory):
        table.add_column(column, justify="right")
    own_rate = results[THIS_PROJECT].requests_per_second if THIS_PROJECT in results else None
    for name, result in sorted(results.items(), key=lambda pair: -pair[1].requests_per_second):
        _, rate, p50, _, p99, errors, memory = measure.table_row(result)
        relative = f"{result.requests_per_second / own_rate:.2f}" if own_rate else "n/a"
        table.add_row(name, rate, relative, p50, p99, errors, memory)
    return table


if __name__ == "__main__":
    sys.exit(main())
