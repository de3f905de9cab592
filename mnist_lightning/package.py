"""The best run's checkpoint -> model_store/mnist.mar, ready for TorchServe, and mnist.json, which says what it is.

python -m mnist_lightning.package                     # the champion
python -m mnist_lightning.package --run RUN_ID
python -m mnist_lightning.package --comparison NAME   # choose the champion of a comparison that machines share
python -m mnist_lightning.package --parts build       # also leave what goes into the archive in build/
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from mnist_lightning import choice, comparisons, provenance, tracking
from mnist_lightning.configuration import PROJECT, WEIGHTS
from mnist_lightning.network import DigitNet

NAME = "mnist"
# The package as the archive carries it.
SERVED_CODE = [
    *("__init__.py", "network.py", "pictures.py", "ink.py", "strokes.py", "preprocessing.py"),
    *("refusals.py", "deadline.py", "tensors.py", "protocols.py", "verdict.py", "explanation.py", "worker.py"),
    *("metrics.py", "renewal.py", "model.py"),
]


class PackagingError(RuntimeError):
    """The archive could not be made; the one that was there is still there."""


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.package", description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="RUN_ID", help="archive this run's best checkpoint, not the champion's")
    which.add_argument("--comparison", metavar="NAME", help="make the best of this comparison the champion first")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where the archive goes (%(default)s)")
    parser.add_argument("--parts", type=Path, metavar="DIR", help="also leave the archive's ingredients in DIR")
    options = parser.parse_args(arguments)
    try:
        tracking.connect()
        if options.comparison:
            choose_shared(options.comparison, options.store, options.parts)
        else:
            print(archive(options.run or tracking.champion(), options.store, options.parts))
    except (tracking.TrackingError, PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def choose_shared(name: str, store: Path, parts: Path | None = None) -> None:
    """Choose in a comparison that machines share. Raises PackagingError where something of its recipe is missing."""
    if lacking := choice.missing(name):
        raise PackagingError(lacking)
    comparison_id = comparisons.named(name)
    with tracking.run(again=comparison_id):
        choose(comparison_id, store, parts)


def choose(comparison_id: str, store: Path, parts: Path | None = None) -> None:
    """Crown and archive the best of a comparison, whose run is open, and tell how all stand."""
    found = choice.standings(comparison_id)
    version, winner = choice.crown(found), choice.winner(found)
    made = archive(winner.run_id, store, parts)
    choice.report(found)
    print(f"champion: {winner.optimizer}, version {version} of the registered model mnist, archived to {made}")


def archive(run_id: str, store: Path, parts: Path | None = None) -> Path:
    """Archive a run's best checkpoint into `store`, whole or not at all; the path of the .mar.

    Raises TrackingError for a run that cannot be found, PackagingError where the archiver fails.
    """
    ranked = comparisons.finished(comparisons.of_run(run_id))
    chosen = next((found for found in ranked if found.run_id == run_id), None)
    if chosen is None:
        raise PackagingError(
            f"run {run_id} did not finish, or was never told what is no digit, so there is nothing to archive; "
            f"choose another, or train it again: python -m mnist_lightning.train --like {run_id}"
        )
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".packaging-") as scratch:
        folder = Path(scratch)
        ingredients = _gather(chosen, folder)
        if parts is not None:
            shutil.copytree(ingredients, parts, dirs_exist_ok=True)
        made = _run_archiver(ingredients, folder)
        (folder / "mnist.json").write_text(json.dumps(describe(chosen, comparisons.newest(ranked)), indent=2) + "\n")
        made.replace(store / made.name)
        (folder / "mnist.json").replace(store / "mnist.json")
    return store / made.name


def describe(chosen: comparisons.Candidate, ranked: Sequence[comparisons.Candidate]) -> dict[str, object]:
    """What mnist.json says of a run: its figures, and those of all that it was chosen from."""
    fields = ["optimizer", "seed", "run_id", "validation_accuracy", "final_test_accuracy", "seconds"]
    return {
        **{name: getattr(chosen, name) for name in [*fields[:5], "temperature", "is_digit_threshold"]},
        "candidates": [{name: getattr(found, name) for name in fields} for found in ranked],
        "git_commit": tracking.tags(chosen.run_id).get("git_commit", "unknown"),
        "versions": provenance.versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _gather(chosen: comparisons.Candidate, folder: Path) -> Path:
    """The archive's ingredients in one folder: weights that were seen to fit the network, and the served code."""
    checkpoint = torch.load(tracking.checkpoint(chosen.run_id, folder), weights_only=True, map_location="cpu")
    prefix = "network."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        network = DigitNet.of(weights).cooled(chosen.temperature)
    except RuntimeError as error:
        raise PackagingError(f"the weights of run {chosen.run_id} do not fit this network: {error}") from error
    ingredients = folder / "parts"
    package = ingredients / "code" / "mnist_lightning"
    package.mkdir(parents=True)
    torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, ingredients / WEIGHTS)
    for name in SERVED_CODE:
        shutil.copy(PROJECT / "mnist_lightning" / name, package)
    shutil.copy(PROJECT / "handlers" / "digit_handler.py", ingredients)
    shutil.copy(PROJECT / "config" / "model-config.yaml", ingredients)
    return ingredients


def _run_archiver(ingredients: Path, folder: Path) -> Path:
    command = [
        *(sys.executable, "-m", "model_archiver.model_packaging"),
        *("--model-name", NAME, "--version", "1.0"),
        *("--serialized-file", str(ingredients / WEIGHTS)),
        *("--handler", str(ingredients / "digit_handler.py")),
        *("--extra-files", str(ingredients / "code")),
        *("--config-file", str(ingredients / "model-config.yaml")),
        *("--export-path", str(folder), "--force"),
    ]
    # The archiver deletes the folder `mnist` of the system's temporary folder: give it one of its own.
    scratch = folder / "tmp"
    scratch.mkdir()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(scratch)}
    )
    made = folder / f"{NAME}.mar"
    if done.returncode or not made.is_file():
        raise PackagingError(f"torch-model-archiver failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return made


if __name__ == "__main__":
    sys.exit(main())
