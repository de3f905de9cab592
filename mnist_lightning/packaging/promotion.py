"""From a finished comparison to the archive in the model store: choose the champion, archive it, describe it."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from mnist_lightning.models.digitnet import DigitNet, from_checkpoint
from mnist_lightning.packaging.archiver import PackagingError, build
from mnist_lightning.tracking import comparisons, provenance, runs, selection
from mnist_lightning.tracking.comparisons import Candidate
from mnist_lightning.training import config

CARD = "mnist.json"  # beside the archive
CARD_FIELDS = ("optimizer", "seed", "run_id", "validation_accuracy", "final_test_accuracy")


def missing(name: str) -> str:
    """What the shared comparison of this name still lacks of its recipe, as a sentence; empty when it is complete."""
    comparison_id = comparisons.named(name)
    recipe = config.Recipe.from_yaml(runs.text(comparison_id, runs.RECIPE))
    finished = {(candidate.optimizer, candidate.seed) for candidate in comparisons.finished(comparison_id)}
    statuses = comparisons.statuses(comparison_id)
    absent = [title for title, training in recipe.trainings().items() if training not in finished]
    listed = ", ".join(f"{title} ({statuses.get(title, 'not started')})" for title in absent)
    return listed and f"comparison {name!r} is not complete: it lacks {listed}"


def promote_shared(name: str, store: Path, parts: Path | None = None) -> None:
    """Promote the best of a comparison that machines share. Raises PackagingError if a training is missing."""
    if reason := missing(name):
        raise PackagingError(reason)
    comparison_id = comparisons.named(name)
    with runs.run(again=comparison_id):
        promote(comparison_id, store, parts)


def promote(comparison_id: str, store: Path, parts: Path | None = None) -> None:
    """Make the best of a comparison, whose run is open, the champion, archive it, and print the leaderboard."""
    ranking = selection.leaderboard(comparison_id)
    version, winner = selection.promote(ranking), selection.winner(ranking)
    archive = archive_run(winner.run_id, store, parts)
    selection.report(ranking)
    print(f"champion: {winner.optimizer}, version {version} of the registered model mnist, archived to {archive}")


def archive_run(run_id: str, store: Path, parts: Path | None = None) -> Path:
    """Archive a run's best checkpoint into `store`, whole or not at all; the path of the .mar.

    With `parts`, what goes into the archive is also copied there. Raises TrackingError for an unknown run,
    PackagingError for a run that did not finish or when the archiver fails.
    """
    ranked = comparisons.finished(comparisons.of_run(run_id))
    chosen = next((candidate for candidate in ranked if candidate.run_id == run_id), None)
    if chosen is None:
        raise PackagingError(
            f"run {run_id} did not finish, or has no out-of-distribution head; choose another, or train it again: "
            f"python -m mnist_lightning.train --from-run {run_id}"
        )
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".packaging-") as scratch:
        folder = Path(scratch)
        archive = build(_network(chosen, folder), folder)
        if parts is not None:
            shutil.copytree(folder / "parts", parts, dirs_exist_ok=True)
        card = folder / CARD
        card.write_text(json.dumps(describe(chosen, comparisons.newest(ranked)), indent=2) + "\n")
        archive.replace(store / archive.name)
        card.replace(store / CARD)
    return store / archive.name


def describe(chosen: Candidate, ranked: Sequence[Candidate]) -> dict[str, object]:
    """The content of mnist.json: a run's figures, and those of every run that it was chosen from."""
    return {
        **{name: getattr(chosen, name) for name in (*CARD_FIELDS, "temperature", "is_digit_threshold")},
        "candidates": [{name: getattr(found, name) for name in (*CARD_FIELDS, "seconds")} for found in ranked],
        "git_commit": runs.tags(chosen.run_id).get("git_commit", "unknown"),
        "versions": provenance.versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _network(chosen: Candidate, folder: Path) -> DigitNet:
    """A run's best network with calibrated logits."""
    checkpoint = torch.load(runs.checkpoint(chosen.run_id, folder), weights_only=True, map_location="cpu")
    try:
        return from_checkpoint(checkpoint, "network.").with_temperature(chosen.temperature)
    except RuntimeError as error:
        raise PackagingError(f"the weights of run {chosen.run_id} do not fit this network: {error}") from error
