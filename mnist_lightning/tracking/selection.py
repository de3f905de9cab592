"""The choice among a comparison's runs: how the optimizers stand, what is missing, and a table of it."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.significance import Mean, verdict
from mnist_lightning.tracking import comparisons
from mnist_lightning.tracking import runs as tracking
from mnist_lightning.tracking.comparisons import Candidate
from mnist_lightning.training.config import read
from mnist_lightning.training.module import VALIDATION_ACCURACY, VALIDATION_LOSS

CURVES = ["train_loss", VALIDATION_LOSS, VALIDATION_ACCURACY, "learning_rate", "gradient_norm"]
COLUMNS = ("", "optimizer", "validation", "test", "seconds", "best run")
Standings = Mapping[str, Sequence[Candidate]]


def standings(comparison_id: str) -> Standings:
    """Each optimizer's runs, best first; the optimizer of the highest mean validation accuracy first."""
    runs: dict[str, list[Candidate]] = {}
    for one in comparisons.newest(comparisons.finished(comparison_id)):
        runs.setdefault(one.optimizer, []).append(one)

    def merit(name: str) -> tuple[float, float]:
        accuracies, losses = zip(*((one.validation_accuracy, one.validation_loss) for one in runs[name]), strict=True)
        return statistics.fmean(accuracies), -statistics.fmean(losses)

    return {name: runs[name] for name in sorted(runs, key=merit, reverse=True)}


def missing(name: str) -> str:
    """What the comparison that is shared by this name still lacks of its recipe, as a sentence; empty for nothing."""
    comparison_id = comparisons.named(name)
    recipe, _ = read(["--config", tracking.text(comparison_id, tracking.RECIPE)])
    there = {(one.optimizer, one.seed) for one in comparisons.finished(comparison_id)}
    stand = comparisons.statuses(comparison_id)
    lacking = [title for title, training in recipe.trainings().items() if training not in there]
    told = ", ".join(f"{title} ({stand.get(title, 'not begun')})" for title in lacking)
    return told and f"comparison {name!r} is not complete: it lacks {told}"


def curves(found: Standings) -> dict[str, dict[str, list[float]]]:
    """Each optimizer's curves, of its best run."""
    return {name: {curve: tracking.history(runs[0].run_id, curve) for curve in CURVES} for name, runs in found.items()}


def crown(found: Standings) -> str:
    """The winner becomes the champion, the open run tells how all stand; the version of the registered model."""
    drawn = {"comparison.png": plots.comparison_curves(curves(found))}
    tracking.record(figures=drawn, description=summary(found))
    return tracking.crown(winner(found).run_id)


def winner(found: Standings) -> Candidate:
    """The best run of the best optimizer."""
    return next(iter(found.values()))[0]


def summary(found: Standings) -> str:
    """How the optimizers stand, and whether the lead is noise, as Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *_rows(found)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{_lead(found)}\n\nThe curves of all are in `comparison.png` among the artifacts."


def report(found: Standings) -> None:
    """Print the same."""
    table = Table(*COLUMNS, title="best on validation first")
    for row in _rows(found):
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 100)  # run ids whole, in a pipe too
    console.print(table)
    if lead := _lead(found):
        print(lead)


def _rows(found: Standings) -> Iterator[list[str]]:
    for place, (name, runs) in enumerate(found.items(), start=1):
        means = [Mean.of([getattr(run, f"{part}_accuracy") for run in runs]) for part in ("validation", "final_test")]
        seconds = statistics.fmean(run.seconds for run in runs)
        yield [str(place), name, *map(str, means), f"{seconds:.0f}", runs[0].run_id]


def _lead(found: Standings) -> str:
    return verdict({name: [run.validation_accuracy for run in runs] for name, runs in found.items()})
