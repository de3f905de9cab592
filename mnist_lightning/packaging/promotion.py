"""From a finished comparison to the model store: make the best run the champion or the challenger, and archive it."""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from mnist_lightning.common.constants import ARCHIVE, DESCRIPTION
from mnist_lightning.common.digests import weights_digest
from mnist_lightning.common.files import copy_atomic
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import DigitNet, from_checkpoint
from mnist_lightning.packaging import store as stores
from mnist_lightning.packaging.archiver import PackagingError, build
from mnist_lightning.packaging.reference import present_validation_set
from mnist_lightning.packaging.store import CHALLENGER, CHAMPION, PREVIOUS, Slot
from mnist_lightning.tracking import comparisons, history, provenance, registry, runs, selection, served_model
from mnist_lightning.tracking.comparisons import Candidate
from mnist_lightning.tracking.history import Kind
from mnist_lightning.tracking.registry import Version
from mnist_lightning.tracking.runs import TrackingError
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.recipe_yaml import RecipeError

SUMMARY = ("optimizer", "seed", "run_id", "validation_accuracy", "final_test_accuracy")  # fields of every candidate


def missing(name: str) -> str:
    """A sentence with the unfinished trainings of a shared comparison; empty if the comparison is complete."""
    comparison_id = comparisons.find(name)
    recipe = _recipe(comparison_id)
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
        promote(comparison_id, store, as_challenger=_recipe(comparison_id).makes_challenger, parts=parts)


def promote(comparison_id: str, store: Path, *, as_challenger: bool, parts: Path | None = None) -> None:
    """Archive the winner of a comparison, whose run is open, as the champion or as the challenger; report all runs."""
    ranking = selection.leaderboard(comparison_id)
    winner = selection.winner(ranking)
    former = stores.digest(store, CHAMPION)
    with archived(winner.run_id, store) as folder:
        served_model.log(winner.run_id, folder / "parts")
        selection.log(ranking)
        version, weights = registry.register(winner.run_id), weights_digest(folder / ARCHIVE)
        with stores.lock(store):
            if as_challenger:
                kind = Kind.CHALLENGER
                archive = _place(folder, store, CHALLENGER, parts)
                registry.make_challenger(version)
            else:
                kind = Kind.PROMOTION
                archive = make_champion(version, folder, store, former=store, parts=parts)
    history.record(kind, version, weights=weights, champion=former, reason=selection.reason(ranking))
    selection.report(ranking)
    role = registry.CHALLENGER if as_challenger else registry.CHAMPION
    print(f"{role}: {winner.optimizer}, version {version.version} of the registered model mnist, archived to {archive}")


def make_champion(version: Version, folder: Path, store: Path, *, former: Path, parts: Path | None = None) -> Path:
    """Make an archive the champion, first in the store and then in MLflow; the path of the .mar.

    If MLflow fails, the store has the former champion again.

    Args:
        version: of the registered model.
        folder: what `archived` has built of it.
        store: where it goes; `stores.lock` holds it.
        former: the folder of the champion that it replaces, which the store keeps.
        parts: as in `archive_run`.
    """
    stores.keep_previous(former, store)
    archive = _place(folder, store, CHAMPION, parts)
    with _exchanged_back_on_failure(store):
        registry.make_champion(version)
    return archive


@contextlib.contextmanager
def _exchanged_back_on_failure(store: Path) -> Iterator[None]:
    """Exchange the champion and the previous one in the store again if the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        stores.exchange(store)
        raise


def archive_run(run_id: str, store: Path, parts: Path | None = None) -> Path:
    """Archive a run's best checkpoint and describe it, both in `store`; the path of the .mar.

    Both files are complete before either replaces a former one. With `parts`, the archive's content is also copied
    to that folder.

    Raises:
        TrackingError: MLflow has no such run.
        PackagingError: the run is not finished, its weights do not fit the network, or the archiver failed.
        OSError: a file cannot be written; the former ones remain.
    """
    with archived(run_id, store) as folder:
        return _place(folder, store, CHAMPION, parts)


def archive_again(archive: Path, store: Path, parts: Path | None = None) -> Path:
    """Archive the network of another archive with the present code, and copy its description; the path of the .mar.

    It keeps its name if that is one of a store's, and becomes the champion's otherwise.

    Raises:
        ArchiveError: the archive holds no digit network.
        PackagingError: its description is missing, or the archiver failed.
        OSError: a file cannot be written; the former ones remain.
    """
    network, description = load_network(archive), archive.with_suffix(".json")
    if not description.is_file():
        raise PackagingError(f"{description} does not exist; an archive is moved together with its description")
    if not stores.is_description(description):
        raise PackagingError(f"{description} does not describe an archive; restore it from where the archive came")
    with stores.scratch_folder(store) as folder:
        _build(network, folder, Recipe.data_dir)
        copy_atomic(description, folder / DESCRIPTION)
        slot = next((slot for slot in (PREVIOUS, CHALLENGER) if slot.archive == archive.name), CHAMPION)
        return _place(folder, store, slot, parts)


def roll_back(store: Path, reason: str) -> Path:
    """Make the previous champion the champion again, in MLflow and in `store`; the path of its archive.

    Raises TrackingError if there is none; PackagingError, OSError.
    """
    with stores.lock(store):
        version = registry.find(registry.PREVIOUS)
        if version is None and not stores.digest(store, PREVIOUS):
            raise TrackingError(
                f"MLflow at {runs.tracking_uri()} has no previous champion; a second promotion makes one"
            )
        if version is not None and not stores.holds(store, PREVIOUS, str(version.run_id)):
            with archived(str(version.run_id), store) as folder:
                stores.put(folder, store, PREVIOUS)
        former = stores.digest(store, CHAMPION)
        stores.exchange(store)
        with _exchanged_back_on_failure(store):
            registry.exchange()
    history.record(Kind.ROLLBACK, version, weights=weights_digest(store / ARCHIVE), champion=former, reason=reason)
    return store / ARCHIVE


@contextlib.contextmanager
def archived(run_id: str, store: Path) -> Iterator[Path]:
    """A temporary folder in the store with the archive of a run and its description, and the archive's `parts`.

    Raises as `archive_run`.
    """
    candidates = comparisons.finished(comparisons.parent_of(run_id))
    chosen = next((candidate for candidate in candidates if candidate.run_id == run_id), None)
    if chosen is None:
        raise PackagingError(
            f"run {run_id} did not finish, or has no out-of-distribution head; choose another, or train it again: "
            f"python -m mnist_lightning.train --from-run {run_id}"
        )
    with stores.scratch_folder(store) as folder:
        _build(_load_network(chosen, folder), folder, _data_folder(run_id))
        description = json.dumps(describe(chosen, comparisons.newest(candidates)), indent=2)
        (folder / DESCRIPTION).write_text(description + "\n")
        yield folder


def _build(network: DigitNet, folder: Path, data: Path) -> None:
    """Build the archive of a network, with a reference if the folder `data` holds MNIST."""
    validation = present_validation_set(data)
    build(network, folder, validation)
    if validation is None:
        print(
            "warning: MNIST is missing, so the archive has no reference and its server finds no drift", file=sys.stderr
        )


def _place(folder: Path, store: Path, slot: Slot, parts: Path | None) -> Path:
    """Move what `archived` has built to its places; the path of the .mar."""
    if parts is not None:
        shutil.copytree(folder / "parts", parts, copy_function=copy_atomic, dirs_exist_ok=True)
    return stores.put(folder, store, slot)


def describe(chosen: Candidate, candidates: Sequence[Candidate]) -> dict[str, object]:
    """The content of mnist.json: the metrics of the archived run and of the candidates that it was chosen from."""
    return {
        **{name: getattr(chosen, name) for name in (*SUMMARY, "temperature", "is_digit_threshold")},
        "candidates": [{name: getattr(candidate, name) for name in (*SUMMARY, "seconds")} for candidate in candidates],
        "git_commit": runs.tags(chosen.run_id).get("git_commit", "unknown"),
        "versions": provenance.versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _recipe(run_id: str) -> Recipe:
    return Recipe.from_yaml(runs.load_text(run_id, runs.RECIPE))


def _data_folder(run_id: str) -> Path:
    """Where the run had MNIST's images."""
    try:
        return _recipe(run_id).data_dir
    except (TrackingError, RecipeError):  # a run of an older release
        return Recipe.data_dir


def _load_network(chosen: Candidate, folder: Path) -> DigitNet:
    """The network of a run's best checkpoint, with calibrated logits."""
    path = runs.download_checkpoint(chosen.run_id, folder)
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        return from_checkpoint(checkpoint, "network.").with_temperature(chosen.temperature)
    except Exception as error:  # a damaged file raises errors of many types
        raise PackagingError(f"the weights of run {chosen.run_id} do not fit this network: {error}") from error
