"""Evaluate the archived network, or a running server, on labelled pictures, on numbers or on MNIST's test set.

    python -m mnist_lightning.evaluate test
    python -m mnist_lightning.evaluate pictures FOLDER
    python -m mnist_lightning.evaluate pictures FOLDER --url http://127.0.0.1:8080 --json
    python -m mnist_lightning.evaluate numbers FOLDER

A picture's label is the digit that its file name starts with, or the name of its folder if that is one digit. That of a
number is the part of its file name before the first "-" or the suffix: 3450.png, 3450-a.png. "_" joins the lines of a
number: 12_345-a.png. The digit error rate is the number of edits from what is read to the labels, of which a line feed
is one character, for each digit in the labels.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from mnist_lightning.client import ClientError
    from mnist_lightning.common.constants import ARCHIVE
    from mnist_lightning.common.tokens import TokenError, resolve_token
    from mnist_lightning.datasets.mnist import MnistUnavailableError
    from mnist_lightning.datasets.samples import SampleError, load_folder, load_numbers, mnist_test_set
    from mnist_lightning.evaluation import numbers, report
    from mnist_lightning.evaluation.classify import Classifier, network_classifier, server_classifier
    from mnist_lightning.models.archive import ArchiveError, load_network

ERRORS = (SampleError, ClientError, ArchiveError, MnistUnavailableError, TokenError, OSError)


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        made, print_tables = _evaluate_numbers(options) if options.source == "numbers" else _evaluate_digits(options)
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(asdict(made))) if options.json else print_tables()
    return 0


def _evaluate_digits(options: argparse.Namespace) -> tuple[report.Report, Callable[[], None]]:
    """The report, and a function that prints it as tables. Writes the figures."""
    samples = mnist_test_set(options.data) if options.source == "test" else list(load_folder(options.folder))
    results = report.Results(samples, report.classify_samples(samples, _classifier(options)))
    _name_files(report.save_figures(results, options.out))
    made = report.make_report(results)
    return made, partial(report.print_report, made)


def _evaluate_numbers(options: argparse.Namespace) -> tuple[numbers.NumberReport, Callable[[], None]]:
    """As `_evaluate_digits`."""
    samples = list(load_numbers(options.folder))
    results = numbers.NumberResults(samples, report.classify_samples(samples, _classifier(options)))
    _name_files(numbers.save_figures(results, options.out))
    made = numbers.make_report(results)
    return made, partial(numbers.print_report, made)


def _name_files(paths: list[Path]) -> None:
    for path in paths:
        print(f"see {path}", file=sys.stderr)


def _classifier(options: argparse.Namespace) -> Classifier:
    if options.url:
        return server_classifier(options.url, resolve_token())
    return network_classifier(load_network(options.store / ARCHIVE))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--url", help="ask this server instead of classifying with the archive")
    shared.add_argument("--store", type=Path, default=Path("model_store"), help="folder of mnist.mar (%(default)s)")
    shared.add_argument("--out", type=Path, default=Path("build/evaluate"), help="folder for figures (%(default)s)")
    shared.add_argument("--json", action="store_true", help="print one line of JSON instead of tables")
    sources = parser.add_subparsers(dest="source", required=True)
    test = sources.add_parser("test", parents=[shared], help="MNIST's 10,000 test digits")
    test.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    folders = {"pictures": "a folder of labelled pictures", "numbers": "a folder of numbers, labelled by file name"}
    for name, description in folders.items():
        sources.add_parser(name, parents=[shared], help=description).add_argument("folder", type=Path, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
