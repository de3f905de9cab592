"""The selection of a champion from a comparison: the leaderboard, and its report."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from mnist_lightning.evaluation import names, plots
from mnist_lightning.evaluation.significance import Mean, compare_top_two
from mnist_lightning.evaluation.tables import print_table
from mnist_lightning.tracking import comparisons, runs
from mnist_lightning.tracking.comparisons import Candidate

CURVES = (
    *(names.TRAIN_LOSS, names.VALIDATION_LOSS, names.VALIDATION_ACCURACY),
    *(names.LEARNING_RATE, names.GRADIENT_NORM),
)
COLUMNS = ("", "optimizer", "validation", "test", "seconds", "best run")
REPORT_WIDTH = 100  # characters at least
Leaderboard = Mapping[str, Sequence[Candidate]]  # the candidates of each optimizer, best first; best optimizer first


def leaderboard(comparison_id: str) -> Leaderboard:
    """The newest candidates of a comparison, ranked by validation; an optimizer's rank is that of its mean."""
    candidates: dict[str, list[Candidate]] = {}
    for candidate in comparisons.newest(comparisons.finished(comparison_id)):
        candidates.setdefault(candidate.optimizer, []).append(candidate)

    def sort_key(optimizer: str) -> tuple[float, float]:
        accuracy = statistics.fmean(candidate.validation_accuracy for candidate in candidates[optimizer])
        loss = statistics.fmean(candidate.validation_loss for candidate in candidates[optimizer])
        return accuracy, -loss

    return {optimizer: candidates[optimizer] for optimizer in sorted(candidates, key=sort_key, reverse=True)}


def winner(ranking: Leaderboard) -> Candidate:
    """The best candidate of the best optimizer."""
    return next(iter(ranking.values()))[0]


def log(ranking: Leaderboard) -> None:
    """Log the leaderboard and the training curves to the open run."""
    runs.log(figures={"comparison.png": plots.comparison_curves(_curves(ranking))}, description=summary(ranking))


def reason(ranking: Leaderboard) -> str:
    """Why the winner wins, in a phrase."""
    count, best = sum(map(len, ranking.values())), winner(ranking)
    return f"the best of {count} on validation, {100 * best.validation_accuracy:.2f} %"


def summary(ranking: Leaderboard) -> str:
    """The leaderboard as Markdown, with the margin of the best optimizer."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *_rows(ranking)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{_margin(ranking)}\n\n`comparison.png` among the artifacts shows the training curves."


def report(ranking: Leaderboard) -> None:
    """Print the leaderboard, and the margin of the best optimizer."""
    table = Table(*COLUMNS, title="best on validation first")
    for row in _rows(ranking):
        table.add_row(*row)
    print_table(table, REPORT_WIDTH)
    if margin := _margin(ranking):
        print(margin)


def _curves(ranking: Leaderboard) -> dict[str, dict[str, list[float]]]:
    """The training curves of each optimizer's best candidate."""
    return {
        optimizer: {curve: runs.metric_history(candidates[0].run_id, curve) for curve in CURVES}
        for optimizer, candidates in ranking.items()
    }


def _rows(ranking: Leaderboard) -> Iterator[list[str]]:
    for rank, (optimizer, candidates) in enumerate(ranking.items(), start=1):
        validation = Mean.from_values([candidate.validation_accuracy for candidate in candidates])
        test = Mean.from_values([candidate.final_test_accuracy for candidate in candidates])
        seconds = statistics.fmean(candidate.seconds for candidate in candidates)
        yield [str(rank), optimizer, str(validation), str(test), f"{seconds:.0f}", candidates[0].run_id]


def _margin(ranking: Leaderboard) -> str:
    """How far the best optimizer leads; empty if it is the only one."""
    return compare_top_two(
        {name: [candidate.validation_accuracy for candidate in candidates] for name, candidates in ranking.items()}
    )
