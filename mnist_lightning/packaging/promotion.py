"""From a finished comparison to the model store: promote the champion, archive it, describe it in mnist.json."""

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from mnist_lightning.common.constants import (
    ARCHIVE,
    DESCRIPTION,
    PREVIOUS_ARCHIVE,
    PREVIOUS_DESCRIPTION,
)
from mnist_lightning.common.digests import weights_digest
from mnist_lightning.common.files import copy_atomic, remove_stale, replace_all
from mnist_lightning.models.digitnet import DigitNet, from_checkpoint
from mnist_lightning.packaging.archiver import PackagingError, build
from mnist_lightning.packaging.reference import present_validation_set
from mnist_lightning.preprocessing.normalize import NormalizedImage
from mnist_lightning.tracking import comparisons, provenance, registry, runs, selection, served_model
from mnist_lightning.tracking.comparisons import Candidate
from mnist_lightning.tracking.runs import TrackingError
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.recipe_yaml import RecipeError

SCRATCH = ".packaging-"  # prefix of the folders in which archives are built, in the same file system
SUMMARY = ("optimizer", "seed", "run_id", "validation_accuracy", "final_test_accuracy")  # fields of every candidate


def missing(name: str) -> str:
    """A sentence with the unfinished trainings of a shared comparison; empty if the comparison is complete."""
    comparison_id = comparisons.find(name)
    recipe = Recipe.from_yaml(runs.load_text(comparison_id, runs.RECIPE))
    finished = {(candidate.optimizer, candidate.seed) for candidate in comparisons.finished(comparison_id)}
    statuses = comparisons.statuses(comparison_id)
    absent = [title for title, training in recipe.trainings().items() if training not in finished]
    listed = ", ".join(f"{title} ({statuses.get(title, 'not started')})" for title in absent)
    return listed and f"comparison {name!r} is not complete: it lacks {listed}"


def promote_shared(name: str, store: Path, parts: Path | None = None) -> None:
    """Promote the winner of a shared comparison. Raises PackagingError if the comparison is not complete."""
    if reason := missing(name):
        raise PackagingError(reason)
    comparison_id = comparisons.find(name)
    with runs.run(run_id=comparison_id):
        promote(comparison_id, store, parts)


def promote(comparison_id: str, store: Path, parts: Path | None = None) -> None:
    """Promote the winner of a comparison, whose run is open, archive it, and print the leaderboard."""
    ranking = selection.leaderboard(comparison_id)
    winner = selection.winner(ranking)
    with _build(winner.run_id, store) as folder:
        served_model.log(winner.run_id, folder / "parts")
        version = selection.promote(ranking, weights_digest(folder / ARCHIVE))
        _keep_previous(store)
        archive = _place(folder, store, parts)
    selection.report(ranking)
    print(f"champion: {winner.optimizer}, version {version} of the registered model mnist, archived to {archive}")


def archive_run(run_id: str, store: Path, parts: Path | None = None) -> Path:
    """Archive a run's best checkpoint and describe it, both in `store`; the path of the .mar.

    Both files are complete before either replaces a former one. With `parts`, the archive's content is also copied
    to that folder.

    Raises:
        TrackingError: MLflow has no such run.
        PackagingError: the run is not finished, its weights do not fit the network, or the archiver failed.
        OSError: a file cannot be written; the former ones remain.
    """
    with _build(run_id, store) as folder:
        return _place(folder, store, parts)


def roll_back(store: Path, reason: str) -> Path:
    """Make the previous champion the champion again, in MLflow and in `store`; the path of its archive.

    Raises TrackingError if there is none; PackagingError, OSError.
    """
    run_id = str(registry.previous().run_id)
    if not _is_kept(store, run_id):
        with _build(run_id, store) as folder:
            replace_all(
                {folder / ARCHIVE: store / PREVIOUS_ARCHIVE, folder / DESCRIPTION: store / PREVIOUS_DESCRIPTION}
            )
    registry.roll_back(weights_digest(store / PREVIOUS_ARCHIVE), reason)
    _exchange(store)
    return store / ARCHIVE


def _keep_previous(store: Path) -> None:
    """Keep the archive that is about to be replaced, and its description."""
    if (store / ARCHIVE).is_file() and (store / DESCRIPTION).is_file():
        copy_atomic(store / ARCHIVE, store / PREVIOUS_ARCHIVE)
        copy_atomic(store / DESCRIPTION, store / PREVIOUS_DESCRIPTION)


def _exchange(store: Path) -> None:
    """Exchange the archive and its description, if there are any, with the previous ones."""
    targets = {
        **{PREVIOUS_ARCHIVE: ARCHIVE, PREVIOUS_DESCRIPTION: DESCRIPTION},
        **{ARCHIVE: PREVIOUS_ARCHIVE, DESCRIPTION: PREVIOUS_DESCRIPTION},
    }
    with tempfile.TemporaryDirectory(dir=store, prefix=SCRATCH) as scratch:
        found = [name for name in targets if (store / name).is_file()]
        for name in found:
            copy_atomic(store / name, Path(scratch, name))
        replace_all({Path(scratch, name): store / targets[name] for name in found})


def _is_kept(store: Path, run_id: str) -> bool:
    """Whether the store has kept the archive of a run."""
    with contextlib.suppress(OSError, ValueError):
        described = json.loads((store / PREVIOUS_DESCRIPTION).read_text())
        return bool(described["run_id"] == run_id and (store / PREVIOUS_ARCHIVE).is_file())
    return False


@contextlib.contextmanager
def _build(run_id: str, store: Path) -> Iterator[Path]:
    """Archive and describe a run in a temporary folder in the store, which the block gets. Raises as `archive_run`."""
    candidates = comparisons.finished(comparisons.parent_of(run_id))
    chosen = next((candidate for candidate in candidates if candidate.run_id == run_id), None)
    if chosen is None:
        raise PackagingError(
            f"run {run_id} did not finish, or has no out-of-distribution head; choose another, or train it again: "
            f"python -m mnist_lightning.train --from-run {run_id}"
        )
    if not store.is_dir():
        store.mkdir(parents=True)
        store.chmod(0o755)  # as its files: the user of a container reads them
    remove_stale(store, SCRATCH)
    with tempfile.TemporaryDirectory(dir=store, prefix=SCRATCH) as scratch:
        folder = Path(scratch)
        validation = _load_validation_set(run_id)
        build(_load_network(chosen, folder), folder, validation)
        description = json.dumps(describe(chosen, comparisons.newest(candidates)), indent=2)
        (folder / DESCRIPTION).write_text(description + "\n")
        yield folder
    if validation is None:
        print(
            "warning: MNIST is missing, so the archive has no reference and its server finds no drift", file=sys.stderr
        )


def _place(folder: Path, store: Path, parts: Path | None) -> Path:
    """Move what `_build` has built to its places; the path of the .mar."""
    if parts is not None:
        shutil.copytree(folder / "parts", parts, copy_function=copy_atomic, dirs_exist_ok=True)
    replace_all({folder / name: store / name for name in (ARCHIVE, DESCRIPTION)})
    return store / ARCHIVE


def describe(chosen: Candidate, candidates: Sequence[Candidate]) -> dict[str, object]:
    """The content of mnist.json: the metrics of the archived run and of the candidates that it was chosen from."""
    return {
        **{name: getattr(chosen, name) for name in (*SUMMARY, "temperature", "is_digit_threshold")},
        "candidates": [{name: getattr(candidate, name) for name in (*SUMMARY, "seconds")} for candidate in candidates],
        "git_commit": runs.tags(chosen.run_id).get("git_commit", "unknown"),
        "versions": provenance.versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _load_validation_set(run_id: str) -> list[NormalizedImage] | None:
    """MNIST's validation images where the run had them; None if they are not there."""
    try:
        data = Recipe.from_yaml(runs.load_text(run_id, runs.RECIPE)).data_dir
    except (TrackingError, RecipeError):  # a run of an older release
        data = Recipe.data_dir
    return present_validation_set(data)


def _load_network(chosen: Candidate, folder: Path) -> DigitNet:
    """The network of a run's best checkpoint, with calibrated logits."""
    checkpoint = torch.load(runs.download_checkpoint(chosen.run_id, folder), weights_only=True, map_location="cpu")
    try:
        return from_checkpoint(checkpoint, "network.").with_temperature(chosen.temperature)
    except RuntimeError as error:
        raise PackagingError(f"the weights of run {chosen.run_id} do not fit this network: {error}") from error
