"""The gate: the challenger becomes the champion if it passes the comparison, and the decision is recorded."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.files import copy_atomic
from mnist_lightning.datasets.feedback import FeedbackPicture, FeedbackSet
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import gate, gate_report
from mnist_lightning.evaluation.gate import GateConfig, Verdict
from mnist_lightning.evaluation.gate_data import GateData
from mnist_lightning.packaging import store as stores
from mnist_lightning.packaging.promotion import archived, make_champion
from mnist_lightning.packaging.store import CHALLENGER, CHAMPION
from mnist_lightning.serving.model_store import choose_store
from mnist_lightning.tracking import history, registry
from mnist_lightning.tracking.history import Event, Kind
from mnist_lightning.tracking.registry import Version
from mnist_lightning.tracking.runs import TrackingError

REPORT, FIGURE = "report.md", "comparison.png"  # artifacts


@dataclass(frozen=True)
class GateRequest:
    """What to compare, and with what."""

    store: Path
    mnist: Path
    feedback: Path | None
    config: GateConfig
    force: str | None = None  # the reason to promote a challenger that does not pass


def run_gate(request: GateRequest) -> tuple[Event, Verdict]:
    """Compare the challenger with the champion; if it passes or is forced, it becomes the champion and is archived.

    Raises:
        TrackingError: there is no challenger.
        PackagingError, ArchiveError: an archive cannot be built or read.
        MnistUnavailableError, SampleError, FeedbackError, OSError: the pictures cannot be read.
    """
    challenger, champion = registry.find(registry.CHALLENGER), registry.find(registry.CHAMPION)
    if challenger is None:
        raise TrackingError("there is no challenger; train one: python -m mnist_lightning.train --challenger")
    data = GateData.build(MnistSplits.load(request.mnist), _held_out(request.feedback), request.config.sizes)
    with (
        _challengers_folder(str(challenger.run_id), request.store) as new,
        _champions_folder(champion, request.store) as current,
    ):
        before, after = gate.measure([current / ARCHIVE, new / ARCHIVE], data)
        verdict = gate.compare(before, after, request.config)
        kind, reason = _decide(verdict, request.force)
        weights, former = stores.digest(new, CHAMPION), stores.digest(current, CHAMPION)
        if kind != Kind.REJECTION:
            with stores.lock(request.store):
                _check_unchanged(challenger, champion)
                make_champion(challenger, new, request.store, former=current)
    report = gate_report.render(verdict, f"{kind} of {_name(challenger)}, compared with {_name(champion)}", reason)
    event = history.record(
        kind,
        challenger,
        weights=weights,
        champion=former,
        reason=reason,
        metrics=_metrics(verdict),
        texts={REPORT: report},
        figures={FIGURE: gate_report.figure(verdict)},
        description=report,
    )
    return event, verdict


def _check_unchanged(challenger: Version, champion: Version | None) -> None:
    """Raise TrackingError if MLflow has another champion or challenger than those that were compared."""
    now = _name(registry.find(registry.CHALLENGER)), _name(registry.find(registry.CHAMPION))
    if now != (_name(challenger), _name(champion)):
        raise TrackingError("another process has changed the champion or the challenger meanwhile; compare them again")


def _held_out(folder: Path | None) -> list[FeedbackPicture]:
    return [] if folder is None else list(FeedbackSet.load(folder).held_out)


@contextlib.contextmanager
def _challengers_folder(run_id: str, store: Path) -> Iterator[Path]:
    """A temporary folder with the challenger's archive: the store's, which has been tried as it is, or a new one if
    that is of another run or has other weights."""
    recorded = {event.weights for event in history.events() if event.run_id == run_id}
    if not stores.holds(store, CHALLENGER, run_id) or stores.digest(store, CHALLENGER) not in recorded:
        with archived(run_id, store) as folder:
            yield folder
        return
    with stores.scratch_folder(store) as folder:
        for source, target in zip(CHALLENGER, CHAMPION, strict=True):
            copy_atomic(store / source, folder / target)
        yield folder


@contextlib.contextmanager
def _champions_folder(version: Version | None, store: Path) -> Iterator[Path]:
    """A folder with the champion's archive: the store, or the one that is served instead if MLflow has no champion."""
    if version is None:
        yield store if (store / ARCHIVE).is_file() else choose_store(None)
    elif stores.holds(store, CHAMPION, str(version.run_id)):
        yield store
    else:
        with archived(str(version.run_id), store) as folder:
            yield folder


def _decide(verdict: Verdict, force: str | None) -> tuple[Kind, str]:
    if verdict.passed:
        return Kind.PROMOTION, verdict.summary
    if force is not None:
        return Kind.FORCED_PROMOTION, f"{force} ({verdict.summary})"
    return Kind.REJECTION, verdict.summary


def _name(version: Version | None) -> str:
    return "the model that is served" if version is None else f"version {version.version}"


def _metrics(verdict: Verdict) -> dict[str, float]:
    sides = {registry.CHAMPION: verdict.champion, registry.CHALLENGER: verdict.challenger}
    return {f"{side}.{name}": value for side, measured in sides.items() for name, value in measured.metrics().items()}
