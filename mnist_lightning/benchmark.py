"""How much a running server answers: requests a second, latencies, errors and memory, by number of connections.

    python -m mnist_lightning.benchmark
    python -m mnist_lightning.benchmark --connections 1 32 --seconds 5 --kinds mnist --plot measure.png
    python -m mnist_lightning.benchmark --picture mine.png yours.jpg

Prints a table and, last, one line of JSON. The load comes from wrk where that is installed (Debian: apt-get install
wrk), else from threads of this process; the output says from which. Its pictures are MNIST's test digits in several
kinds and sizes, in turn; --kinds and --picture choose others.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from mnist_lightning.client import DEFAULT_URL, TOKEN_HELP
from mnist_lightning.common import tokens
from mnist_lightning.common.arguments import positive
from mnist_lightning.datasets import mnist, samples
from mnist_lightning.evaluation import plots
from mnist_lightning.loadtest import generators, measure
from mnist_lightning.loadtest.generators import LoadError, Target
from mnist_lightning.serving import resources

EACH = 40  # digits of each kind
Picture = tuple[str, bytes]  # its kind, its file's content


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[flags()],
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="the server's address (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=TOKEN_HELP)
    options = parser.parse_args(arguments)
    try:
        report = _run(options)
    except (LoadError, mnist.MnistUnavailableError, tokens.TokenError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report))
    return 0


def flags() -> argparse.ArgumentParser:
    """What a load is made of, for every command that makes one."""
    parser = argparse.ArgumentParser(add_help=False)
    counts: dict[str, Any] = {"type": positive, "metavar": "N"}
    parser.add_argument("--connections", nargs="+", default=[1, 8, 32, 64], **counts, help="one load each (1 8 32 64)")
    parser.add_argument("--seconds", default=10, **counts, help="of each load (%(default)s)")
    parser.add_argument("--warm-up", default=2, **counts, help="seconds before each that do not count (%(default)s)")
    kinds = list(samples.KINDS)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="kinds of pictures (all of these)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--picture", type=Path, nargs="+", metavar="FILE", help="post these files, not MNIST's digits")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the curves into a picture file")
    return parser


def chosen(options: argparse.Namespace) -> list[Picture]:
    """The pictures to post. Raises MnistUnavailableError, or OSError for a file that cannot be read."""
    if options.picture:
        return [(path.suffix.removeprefix("."), path.read_bytes()) for path in options.picture]
    return [(sample.group, sample.content) for sample in samples.as_sent(options.data, options.kinds, EACH)]


def conditions(options: argparse.Namespace, pictures: Sequence[Picture]) -> dict[str, object]:
    """What the figures depend on besides the server."""
    return {
        "generator": generators.name(),
        "cores": os.cpu_count(),
        "seconds": options.seconds,
        "warm_up": options.warm_up,
        "pictures": dict(Counter(kind for kind, _ in pictures)),
        "mean_bytes": round(sum(len(content) for _, content in pictures) / len(pictures)),
    }


def _run(options: argparse.Namespace) -> dict[str, object]:
    """Measure, and show it as a table and a figure; the report."""
    pictures = chosen(options)
    address, token = f"{options.url.rstrip('/')}/predictions/mnist", tokens.chosen(options.token_file)
    target = Target(address, [content for _, content in pictures], token=token)
    measure.probe(target)
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
    described = conditions(options, pictures)
    table = Table(*measure.COLUMNS, title=f"{target.url}\nload by {described['generator']}")
    loads = []
    for connections in options.connections:
        print(f"{connections} connections for {options.warm_up} + {options.seconds} s", file=sys.stderr)
        loads.append(measure.measure(target, connections, options.seconds, options.warm_up, _processes(target.url)))
        table.add_row(*measure.cells(loads[-1]))
    Console().print(table)
    rows = [asdict(one) for one in loads]
    if options.plot:
        plots.load_curves({options.url: rows}).savefig(options.plot, dpi=120)
    return {"url": target.url, **described, "loads": rows}


def _processes(url: str) -> list[int]:
    """Those that listen at an address of this machine, none for another's."""
    address = urlsplit(url)
    return (
        resources.listening(address.port)
        if address.port and address.hostname in ("127.0.0.1", "localhost", "::1")
        else []
    )


if __name__ == "__main__":
    sys.exit(main())
