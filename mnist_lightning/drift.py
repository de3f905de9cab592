"""Compare the pictures that a server is asked about with its reference, by the population stability index (PSI).

    python -m mnist_lightning.drift                                     # the next minute, by the metrics port
    python -m mnist_lightning.drift --url http://127.0.0.1:8082/metrics --seconds 0    # all since the server's start
    python -m mnist_lightning.drift --prometheus http://127.0.0.1:9090  # the last hour and day
    python -m mnist_lightning.drift --record reference.json             # make this traffic a reference

An index below 0.1 means stable, from 0.1 a moderate change, from 0.25 a large one. The exit code is 1 after a large
change or an error, else 0. `serve --reference FILE` makes a server use a recorded reference.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from mnist_lightning.common import reference
from mnist_lightning.common.arguments import MAX_SECONDS
from mnist_lightning.common.files import check_output, write_atomic
from mnist_lightning.common.reference import BadReferenceError
from mnist_lightning.monitoring.report import advice, as_table, measure_drift
from mnist_lightning.monitoring.sources import SourceError, Window, query_prometheus, watch_metrics

DEFAULT_URL = "http://127.0.0.1:8082/metrics"
MIN_RECORDED = 500  # pictures: the chance in a smaller reference stays in every comparison with it


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.record:
            check_output(options.record)
        replaced = (
            reference.parse(options.reference.read_bytes(), str(options.reference)) if options.reference else None
        )
        windows = _windows(options)
        if options.record:
            return _record(windows[-1], options.record)
        return _report(windows if replaced is None else [replace(one, reference=replaced) for one in windows], options)
    except (SourceError, BadReferenceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _windows(options: argparse.Namespace) -> list[Window]:
    if options.prometheus:
        return query_prometheus(options.prometheus)
    if options.seconds:
        print(f"counting pictures for {options.seconds:g} s", file=sys.stderr)
    return [watch_metrics(options.url, options.seconds)]


def _record(window: Window, path: Path) -> int:
    """Write a window's traffic as a reference."""
    if window.pictures < MIN_RECORDED:
        print(
            f"error: {window.period} has {window.pictures} pictures, and a reference needs {MIN_RECORDED}; "
            "count longer with --seconds",
            file=sys.stderr,
        )
        return 1
    counts = {name: {each: round(count) for each, count in bins.items()} for name, bins in window.traffic.items()}
    write_atomic(path, reference.dump(counts))
    print(path)
    return 0


def _report(windows: list[Window], options: argparse.Namespace) -> int:
    """Print the drift of every window; 1 if any is large."""
    drifts = [measure_drift(window) for window in windows]
    if options.json:
        made = [
            {"period": window.period, "pictures": window.pictures, "features": [asdict(drift) for drift in found]}
            for window, found in zip(windows, drifts, strict=True)
        ]
        print(json.dumps(made))
    else:
        for window, found in zip(windows, drifts, strict=True):
            Console().print(as_table(window, found))
            print(advice(found))
    return int(any(drift.is_large for found in drifts for drift in found))


def _seconds(text: str) -> float:
    """Parse a duration, which may be 0. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text) <= MAX_SECONDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 0 to {MAX_SECONDS:,}")
    return float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.drift",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default=DEFAULT_URL, help="URL of a server's metrics (%(default)s)")
    where.add_argument("--prometheus", metavar="URL", help="URL of a Prometheus server that collects the metrics")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=60.0,
        help="how long to count, with --url; 0 takes all counts since the server's start (60)",
    )
    parser.add_argument("--reference", type=Path, metavar="FILE", help="compare with this file's distributions instead")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the traffic's distributions to FILE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
