"""Make data of the corrections that the drawing page stores: list, check, settle and export them.

python -m mnist_lightning.feedback list
python -m mnist_lightning.feedback check                            # probably wrong labels, as contact sheets
python -m mnist_lightning.feedback settle 7 PICTURE ...             # decide on pictures: a digit, or ignore
python -m mnist_lightning.feedback export FOLDER                    # a copy that later corrections do not change
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from rich.console import Console
    from rich.table import Table

    from mnist_lightning.common.constants import ARCHIVE
    from mnist_lightning.datasets import feedback, mnist, samples
    from mnist_lightning.datasets.feedback import FeedbackError, FeedbackSet
    from mnist_lightning.datasets.mnist import MnistUnavailableError
    from mnist_lightning.datasets.samples import SampleError
    from mnist_lightning.models.archive import ArchiveError, load_network
    from mnist_lightning.serving.model_store import STORE_HELP, choose_store
    from mnist_lightning.web.feedback import FOLDER

ERRORS = (FeedbackError, SampleError, ArchiveError, MnistUnavailableError, OSError)


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return ACTIONS[options.action](options)
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _list(options: argparse.Namespace) -> int:
    """Print the pictures, or with --json their counts and version."""
    found = FeedbackSet.load(options.folder)
    left_out = {str(path): reason for path, reason in found.left_out.items()}
    if options.json:
        described = {"version": found.version, "pictures": found.counts(), "left_out": left_out}
        print(json.dumps(described))
        return 0
    corrections = feedback.read_corrections(options.folder)
    for name, share in found.shares.items():
        for picture in share:
            entry = corrections.get(picture.path.name, {})
            print(f"{picture.path}: {picture.label}, read as {entry.get('read')}, {entry.get('at')}, {name}")
    for path, reason in left_out.items():
        print(f"{path}: left out: {reason}")
    _print_counts(found)
    return 0


def _check(options: argparse.Namespace) -> int:
    """Report what a person should decide; 1 if there is such a picture."""
    from mnist_lightning.evaluation import label_doubts  # only here: importing it takes a second

    known = label_doubts.KNOWN_DIGITS
    found = FeedbackSet.load(options.folder)
    images, labels = mnist.load(options.data, train=True)
    network = load_network(choose_store(options.store) / ARCHIVE)
    doubts = label_doubts.find_doubts(network, found.pictures, (images[:known], labels[:known]))
    for doubt in doubts:
        print(f"{doubt.picture.path}: {doubt.reason}")
    for path in found.conflicts:
        print(f"{path}: {found.left_out[path]}")
    _print_counts(found)
    for path in label_doubts.save_contact_sheets(doubts, options.out):
        print(f"see {path}", file=sys.stderr)
    names = [*(doubt.picture.path.name for doubt in doubts), *(path.name for path in found.conflicts)]
    print(_advice(options.folder, names) or "no label is in doubt")
    return int(bool(doubts or found.conflicts))


def _settle(options: argparse.Namespace) -> int:
    for path in feedback.settle(options.folder, options.pictures, options.decision):
        print(f"{path}: {feedback.IGNORED if options.decision is None else options.decision}")
    return 0


def _export(options: argparse.Namespace) -> int:
    found = FeedbackSet.load(options.folder)
    feedback.export(found, options.target)
    print(f"{options.target}: {_summary(found)}")
    return 0


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "check": _check,
    "settle": _settle,
    "export": _export,
}


def _print_counts(found: FeedbackSet) -> None:
    counts = found.counts()
    table = Table("digit", *counts)
    for digit in map(str, range(10)):
        table.add_row(digit, *(str(share[digit]) for share in counts.values()))
    Console().print(table)
    for reason, count in Counter(found.left_out.values()).items():
        print(f"left out: {count}, {reason}")
    print(_summary(found))


def _summary(found: FeedbackSet) -> str:
    shares = ", ".join(f"{len(pictures)} {name}" for name, pictures in found.shares.items())
    return f"version {found.version}, {shares} pictures"


def _advice(folder: Path, names: Sequence[str]) -> str:
    """The command that settles the first of the pictures; empty if there is none."""
    if not names:
        return ""
    where = "" if folder == FOLDER else f" --folder {shlex.quote(str(folder))}"
    command = f"python -m mnist_lightning.feedback settle DIGIT{where} {shlex.quote(names[0])}"
    return f"{len(names)} pictures to settle, each with its digit or ignore: {command}"


def _decision(text: str) -> int | None:
    """Parse a digit, or `ignore`. Raises argparse.ArgumentTypeError."""
    if text == "ignore":
        return None
    if text not in samples.DIGITS or len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a digit nor 'ignore'")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.feedback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--folder", type=Path, default=FOLDER, help="folder of the pictures (%(default)s)")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", parents=[shared], help="the pictures, their shares and counts by digit")
    listing.add_argument("--json", action="store_true", help="print counts and version as one line of JSON")
    check = actions.add_parser("check", parents=[shared], help="labels that champion and second opinion doubt")
    check.add_argument("--store", type=Path, help=STORE_HELP)
    check.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    check.add_argument(
        "--out", type=Path, default=Path("build/feedback"), help="folder for contact sheets (%(default)s)"
    )
    settle = actions.add_parser("settle", parents=[shared], help="record what pictures show")
    settle.add_argument("decision", type=_decision, metavar="DIGIT|ignore", help="the digit, or ignore to leave it out")
    settle.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file name, or the start of a digest")
    export = actions.add_parser("export", parents=[shared], help="copy the pictures that are used to a new folder")
    export.add_argument("target", type=Path, metavar="FOLDER", help="the new folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
