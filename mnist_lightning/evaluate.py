"""How well it reads: a folder of pictures, or MNIST's test set.

    python -m mnist_lightning.evaluate test
    python -m mnist_lightning.evaluate pictures FOLDER
    python -m mnist_lightning.evaluate pictures FOLDER --url http://127.0.0.1:8080 --json

A picture's label is the digit that its file name starts with, or the name of its folder where that is one digit.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mnist_lightning import client
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.tokens import TokenError, chosen
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.samples import Sample, SampleError, pictures, test_set
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.calibration import calibration_error
from mnist_lightning.inference import prediction
from mnist_lightning.inference.protocols import Answer
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.normalize import BadPictureError, from_bytes, look

Reader = Callable[[bytes], Answer]  # a picture file -> what a server answers; raises NoAnswerError
NOTHING = np.zeros(10)  # what an unanswered picture's probabilities are


class NoAnswerError(RuntimeError):
    """One picture got no answer."""


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        samples = test_set(options.data) if options.what == "test" else list(pictures(options.folder))
        read = partial(_asked, url=options.url, token=chosen()) if options.url else _offline(options.store)
        report, drawn = evaluate(samples, read)
        for name, figure in drawn.items():
            options.out.mkdir(parents=True, exist_ok=True)
            figure.savefig(options.out / name, dpi=120)
            print(f"see {options.out / name}", file=sys.stderr)
    except (SampleError, client.ClientError, archive.ArchiveError, mnist.MnistUnavailableError, TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report)) if options.json else _print(report)
    return 0


def evaluate(samples: Sequence[Sample], read: Reader) -> tuple[dict[str, object], dict[str, Figure]]:
    """What became of the samples, as a report for JSON and as figures by file name."""
    probabilities, notes, refused = _answers(samples, read)
    labels = np.array([sample.label for sample in samples])
    answers = np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)
    right = answers == labels
    given = np.flatnonzero(answers >= 0)
    report: dict[str, object] = {
        "pictures": len(samples),
        "accuracy": float(right.mean()),
        "calibration_error": calibration_error(torch.tensor(probabilities[given]), torch.tensor(labels[given]))
        if len(given)
        else None,
        "by_digit": {str(d): float(right[labels == d].mean()) for d in range(10) if (labels == d).any()},
        "by_folder": _by_group(samples, right),
        "confusion": plots.count_confusions(labels[given], answers[given]).tolist(),
        "misread": {samples[int(i)].name: int(answers[i]) for i in given if not right[i]},
        "no_digit": len(notes) / len(samples),
        "notes": notes,
        "refused": refused,
    }
    return report, {
        "confusion_matrix.png": plots.confusion_matrix(labels[given], answers[given]),
        "misread.png": _gallery(samples, labels, probabilities),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", help="ask this server, instead of reading with the archive of --store")
    common.add_argument("--store", type=Path, default=Path("model_store"), help="where mnist.mar is (%(default)s)")
    common.add_argument("--out", type=Path, default=Path("build/evaluate"), help="where figures go (%(default)s)")
    common.add_argument("--json", action="store_true", help="one line of JSON instead of tables")
    what = parser.add_subparsers(dest="what", required=True)
    test = what.add_parser("test", parents=[common], help="MNIST's 10,000 test digits")
    test.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    folder = what.add_parser("pictures", parents=[common], help="a folder of labelled pictures")
    folder.add_argument("folder", type=Path, metavar="FOLDER")
    return parser


def _offline(store: Path) -> Reader:
    """Read with the archive's own weights, in this process."""
    network = archive.load_network(store / ARCHIVE)

    def read(content: bytes) -> Answer:
        try:
            seen = look(decode(content))
        except BadPictureError as error:
            raise NoAnswerError(str(error)) from error
        found = prediction.predict_with_ood(network, seen.picture[None], at_once=1)
        return prediction.answers(*found, network.threshold, [seen])[0]

    return read


def _asked(content: bytes, url: str, token: str | None) -> Answer:
    try:
        return client.ask(content, url, token=token)
    except client.ClientError as error:
        if "no server at" in str(error):
            raise  # nor will there be one for the next picture
        raise NoAnswerError(str(error)) from error


def _answers(samples: Sequence[Sample], read: Reader) -> tuple[NDArray[np.float64], dict[str, str], dict[str, str]]:
    """Probabilities (N, 10), rows of zeros for pictures without an answer; the notes, and why there was no answer."""
    notes: dict[str, str] = {}
    refused: dict[str, str] = {}

    def one(sample: Sample) -> NDArray[np.float64]:
        try:
            answer = read(sample.content)
        except NoAnswerError as error:
            refused[sample.name] = str(error)
            return NOTHING
        if "note" in answer:
            notes[sample.name] = answer["note"]
        return np.array(answer["probabilities"])

    quiet = not sys.stderr.isatty()
    with ThreadPoolExecutor(8) as pool:
        done = track(pool.map(one, samples), "reading", len(samples), console=Console(stderr=True), disable=quiet)
        return np.stack(list(done)), dict(sorted(notes.items())), refused


def _by_group(samples: Sequence[Sample], right: NDArray[np.bool_]) -> dict[str, float]:
    groups = np.array([sample.group for sample in samples])
    return {str(group): float(right[groups == group].mean()) for group in np.unique(groups)}


def _gallery(
    samples: Sequence[Sample], labels: NDArray[np.int64], probabilities: NDArray[np.float64], most: int = 30
) -> Figure:
    """What was misread: as it was sent, and as the network saw it."""
    wrong = [i for i in np.argsort(-probabilities.max(axis=1)) if probabilities[i].argmax() != labels[i]]
    shown = [i for i in wrong if probabilities[i].any()][:most]
    sent = [np.asarray(Image.open(io.BytesIO(samples[i].content)).convert("RGBA")) for i in shown]
    seen = [from_bytes(samples[i].content) for i in shown]
    titles = [f"{labels[i]} → {probabilities[i].argmax()}, {100 * probabilities[i].max():.0f} %" for i in shown]
    return plots.sent_and_seen(sent, seen, titles)


def _print(report: dict[str, object]) -> None:
    """The report as tables."""
    console = Console()
    for name in ("by_digit", "by_folder"):
        table = Table(name.removeprefix("by_"), "accuracy")
        for key, accuracy in report[name].items():  # type: ignore[attr-defined]
            table.add_row(key, f"{100 * accuracy:.2f} %")
        console.print(table)
    for name, reason in report["refused"].items():  # type: ignore[attr-defined]
        print(f"refused {name}: {reason}")
    print(f"{100 * report['no_digit']:.2f} % do not look like one digit")  # type: ignore[operator]
    error = report["calibration_error"]
    calibrated = f", expected calibration error {100 * error:.2f} %" if isinstance(error, float) else ""
    print(f"{report['pictures']:,} pictures, accuracy {100 * report['accuracy']:.2f} %{calibrated}")  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
