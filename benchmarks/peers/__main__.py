"""The same load on this project's server and on others, with the same network and preprocessing behind each.

    python -m venv build/peers && build/peers/bin/pip install -r benchmarks/requirements-peers.txt
    build/peers/bin/python -m benchmarks.peers --connections 1 32 64 --plot docs/peers.png
    build/peers/bin/python -m benchmarks.peers --only ours flask --kinds mnist

Starts them one after the other on free ports, holds each to the right answers, loads it, stops it. Prints a table and,
last, one line of JSON. One that cannot start is told with its last words, and the rest goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers.process import PeerError, running
from benchmarks.peers.reader import Reader
from benchmarks.peers.registry import OURS, PEERS
from mnist_lightning import benchmark
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import plots
from mnist_lightning.loadtest import measure
from mnist_lightning.loadtest.generators import LoadError
from mnist_lightning.loadtest.measure import Load
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import BadPictureError
from mnist_lightning.serving.torchserve import ServerError

Measured = dict[str, list[Load]]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[benchmark.flags()],
    )
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME", help="these")
    options = parser.parse_args(arguments)
    try:
        report = _run(options)
    except (archive.ArchiveError, mnist.MnistUnavailableError, BadPictureError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return int(not report["servers"])


def _run(options: argparse.Namespace) -> dict[str, object]:
    """Measure all, and show them as a table and a figure; the report."""
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
    pictures = benchmark.chosen(options)
    contents = [content for _, content in pictures]
    reader = Reader(options.store / "mnist.mar")
    digits = [int(str(answer["prediction"])) for content in contents for answer in reader.read([content])]
    measured: Measured = {}
    failed: dict[str, str] = {}
    for name in options.only:
        try:
            measured[name] = _measure(name, options, contents, digits)
        except (PeerError, LoadError, ServerError) as error:
            failed[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
    described = benchmark.conditions(options, pictures)
    for loads in zip(*measured.values(), strict=True):
        Console().print(_table(dict(zip(measured, loads, strict=True))))
    rows = {name: [asdict(one) for one in loads] for name, loads in measured.items()}
    if options.plot and rows:
        plots.load_curves(rows).savefig(options.plot, dpi=120)
    return {**described, "servers": rows, "failed": failed}


def _measure(name: str, options: argparse.Namespace, contents: list[bytes], digits: list[int]) -> list[Load]:
    """One server under each number of connections."""
    print(f"{name}: starting", file=sys.stderr)
    loads = []
    with running(PEERS[name], options.store, contents, digits) as (target, pid):
        for connections in options.connections:
            loads.append(measure.measure(target, connections, options.seconds, options.warm_up, [pid]))
            print(f"{name}: " + "  ".join(measure.cells(loads[-1])), file=sys.stderr)
    return loads


def _table(loads: Mapping[str, Load]) -> Table:
    """Every server under the same number of connections, fastest first."""
    number, rate, p50, _, p99, errors, memory = measure.COLUMNS
    table = Table("server", title=f"{next(iter(loads.values())).connections} {number}")
    for column in (rate, "of ours", p50, p99, errors, memory):
        table.add_column(column, justify="right")
    ours = loads[OURS].requests_per_second if OURS in loads else None
    for name, one in sorted(loads.items(), key=lambda pair: -pair[1].requests_per_second):
        _, rate, p50, _, p99, errors, memory = measure.cells(one)
        share = f"{one.requests_per_second / ours:.2f}" if ours else "n/a"
        table.add_row(name, rate, share, p50, p99, errors, memory)
    return table


if __name__ == "__main__":
    sys.exit(main())
