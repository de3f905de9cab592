"""Evaluate the archived network, or a running server, on labelled pictures or on MNIST's test set.

    python -m mnist_lightning.evaluate test
    python -m mnist_lightning.evaluate pictures FOLDER
    python -m mnist_lightning.evaluate pictures FOLDER --url http://127.0.0.1:8080 --json

A picture's label is the digit that its file name starts with, or the name of its folder if that is one digit.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mnist_lightning.client import ClientError
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.tokens import TokenError, resolve_token
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.samples import Sample, SampleError, load_folder, mnist_test_set
from mnist_lightning.evaluation.classify import Classifier, network_classifier, server_classifier
from mnist_lightning.evaluation.report import classify_samples, make_report, print_report, save_figures
from mnist_lightning.models.archive import ArchiveError, load_network

ERRORS = (SampleError, ClientError, ArchiveError, MnistUnavailableError, TokenError, OSError)


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        results = classify_samples(_samples(options), _classifier(options))
        for path in save_figures(results, options.out):
            print(f"see {path}", file=sys.stderr)
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    report = make_report(results)
    print(json.dumps(asdict(report))) if options.json else print_report(report)
    return 0


def _samples(options: argparse.Namespace) -> Sequence[Sample]:
    return mnist_test_set(options.data) if options.source == "test" else list(load_folder(options.folder))


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
    pictures = sources.add_parser("pictures", parents=[shared], help="a folder of labelled pictures")
    pictures.add_argument("folder", type=Path, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
