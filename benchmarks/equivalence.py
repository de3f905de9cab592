"""Compare the answers of this checkout and another one on the same archive: they should not differ.

    .venv/bin/python -m benchmarks.equivalence ../other-checkout ../other-checkout/model_store/mnist.mar

Each checkout's handler answers MNIST's test digits in five formats, in a process of its own and without TorchServe: the
other one with the archive as it is, this one with its network exported. The archive must be one that both read: take
the older one's. Prints the differences and, last, one line of JSON; the exit code is 1 if
a status, a prediction or a note differs, or a probability by more than the tolerance.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import handler_answers
from benchmarks.common import make_parser
from mnist_lightning.common.constants import EXPORTED, WEIGHTS
from mnist_lightning.common.paths import PACKAGE
from mnist_lightning.datasets import samples
from mnist_lightning.models.archive import ArchiveError, load_network
from mnist_lightning.models.digitnet import save
from mnist_lightning.packaging.export import to_onnx

PROJECT = PACKAGE.parent
FORMATS = list(samples.PRESENTATIONS)
TIMEOUT_SECONDS = 600
Answer = tuple[int, Mapping[str, Any]]  # HTTP status and JSON


class EquivalenceError(RuntimeError):
    """The answers of a checkout cannot be computed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and print."""
    options = _parser().parse_args(arguments)
    try:
        report = compare(*_both_answers(options))
    except (EquivalenceError, ArchiveError, OSError, KeyError, zipfile.BadZipFile, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, value in report.items():
        print(f"{name.replace('_', ' '):40}{value:g}")
    print(json.dumps(report))
    differ = report["different_statuses"] or report["different_predictions"] or report["different_notes"]
    return int(bool(differ) or report["largest_probability_difference"] > options.tolerance)


def compare(ours: Sequence[Answer], theirs: Sequence[Answer]) -> dict[str, float]:
    """Count the differences between two lists of answers to the same pictures."""
    pairs = list(zip(ours, theirs, strict=True))
    answered = [(one, other) for (status, one), (other_status, other) in pairs if status == other_status == 200]
    return {
        "pictures": len(pairs),
        "different_statuses": sum(one[0] != other[0] for one, other in pairs),
        "different_predictions": _count_different(answered, "prediction"),
        "different_notes": _count_different(answered, "note"),
        "largest_probability_difference": max((_distance(*pair) for pair in answered), default=0.0),
    }


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "data")
    parser.add_argument("checkout", type=Path, help="folder of the other checkout")
    parser.add_argument("archive", type=Path, help="a .mar whose weights both checkouts read")
    parser.add_argument("--pictures", type=int, default=1000, help=f"in {len(FORMATS)} formats together (%(default)s)")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of probabilities (%(default)s)")
    return parser


def _both_answers(options: argparse.Namespace) -> list[Sequence[Answer]]:
    with tempfile.TemporaryDirectory(prefix="mnist-equivalence-") as folder:
        own, other, pictures = (Path(folder, name) for name in ("own", "other", "pictures"))
        with zipfile.ZipFile(options.archive) as archive:
            archive.extractall(other)
        export(options.archive, own)
        pictures.mkdir()
        digits = samples.presented_digits(options.data, FORMATS, -(-options.pictures // len(FORMATS)))
        for index, sample in enumerate(digits[: options.pictures]):
            (pictures / f"{index:06}").write_bytes(sample.content)
        return [answers(PROJECT, own, pictures), answers(options.checkout.resolve(), other, pictures)]


def export(archive: Path, folder: Path) -> None:
    """Write an archive's network into a folder, in the form that this checkout's handler loads."""
    network = load_network(archive)
    (folder / "MAR-INF").mkdir(parents=True)
    save(network, folder / WEIGHTS)
    (folder / EXPORTED).write_bytes(to_onnx(network, (folder / WEIGHTS).read_bytes()))
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": {"serializedFile": EXPORTED}}))


def answers(checkout: Path, model_dir: Path, pictures: Path) -> Sequence[Answer]:
    """The answers of a checkout's handler to the pictures of a folder. Raises EquivalenceError."""
    command = [sys.executable, "-P", handler_answers.__file__, str(checkout), str(model_dir), str(pictures)]
    done = subprocess.run(
        command,
        cwd=model_dir,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise EquivalenceError(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    found: Sequence[Answer] = json.loads(done.stdout)
    return found


def _count_different(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], field: str) -> int:
    return sum(one.get(field) != other.get(field) for one, other in pairs)


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The largest difference between two answers' probabilities, `is_digit` included."""
    values: list[list[float]] = [[*answer["probabilities"], answer["is_digit"]] for answer in (one, other)]
    return max(round(abs(a - b), 9) for a, b in zip(values[0], values[1], strict=True))  # both have six decimals


if __name__ == "__main__":
    sys.exit(main())
